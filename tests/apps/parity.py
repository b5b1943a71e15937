"""Says what an application sees of mod_wsgi, line by line, so that two servers can be compared.

Requests to `/plain` and the like leave events behind; `/dump` answers with everything that was seen.
What happens when the process ends is written beside this file. Every line is a fact that does not
depend on time, place or machine: names, types, messages.
"""

import io
import logging
import os
import signal
import sys
import threading

import apache
import mod_wsgi

LINES = []
STOPPING = os.path.join(os.path.dirname(__file__), "stopping.txt")


def kind(value, depth=1):
    """The type of a value, with those of its elements."""
    name = type(value).__qualname__
    if type(value).__module__ != "builtins":
        name = "%s.%s" % (type(value).__module__, name)
    if type(value) is tuple and depth:
        return "tuple(%s)" % ", ".join(kind(item, depth - 1) for item in value)
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, type):
        return "type"
    return name


def raised(function, *args, **kwargs):
    """What calling a function comes to."""
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        return "raises %s: %s" % (type(error).__name__, error)
    return "returns %s" % kind(result)


def add(subject, text):
    LINES.append("%s: %s" % (subject, text))


def attributes():
    for module in (mod_wsgi, apache):
        for name, value in ((name, getattr(module, name)) for name in dir(module)):
            subject = "%s.%s" % (module.__name__, name)
            dunder = name.startswith("__")
            add(subject, repr(value) if dunder and isinstance(value, str) else kind(value))
            if isinstance(value, type):
                add(subject, "module %s, name %s" % (value.__module__, value.__qualname__))
                add(subject, "bases %s" % ", ".join(base.__name__ for base in value.__bases__))
                add(subject, "doc %s" % kind(value.__doc__))
                own = [n for n in vars(value) if not n.startswith("_") or n == "__init__"]
                add(subject, "has %s" % ", ".join(sorted(own)))
            elif callable(value):
                names = (value.__name__, value.__qualname__, value.__module__)
                add(subject, "name %r, qualname %r, module %r" % names)
                add(subject, "doc %s" % kind(value.__doc__))
    add("mod_wsgi.version", repr(mod_wsgi.version))
    add("mod_wsgi.process_group", repr(mod_wsgi.process_group))
    add("mod_wsgi.application_group", repr(mod_wsgi.application_group))


def functions():
    for name in ("subscribe_events", "subscribe_shutdown", "subscribe_signals"):
        function = getattr(mod_wsgi, name)
        add("%s()" % name, raised(function))
        add("%s(1, 2)" % name, raised(function, 1, 2))
        add("%s(callback=1)" % name, raised(function, callback=1))
    for name in ("request_data", "request_metrics", "process_metrics", "server_metrics"):
        function = getattr(mod_wsgi, name, None)
        if function:
            add("%s()" % name, raised(function))
            add("%s(1)" % name, raised(function, 1))
            add("%s(x=1)" % name, raised(function, x=1))

    def elsewhere():
        add("request_data() in a thread", raised(mod_wsgi.request_data))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()


def wrappers():
    def wrapper(*args, **kwargs):
        return raised(mod_wsgi.FileWrapper, *args, **kwargs)

    add("FileWrapper()", wrapper())
    add("FileWrapper(1, -1)", wrapper(1, -1))
    add("FileWrapper(1, 'x')", wrapper(1, "x"))
    add("FileWrapper(filelike=1, blksize=1)", wrapper(filelike=1, blksize=1))
    add("FileWrapper(1, 2, 3)", wrapper(1, 2, 3))
    file = mod_wsgi.FileWrapper(io.BytesIO(b"abc"), 2)
    add("FileWrapper", "iterates %r" % (list(file),))
    add("FileWrapper", "is its iterator: %s" % (iter(file) is file))
    add("FileWrapper.blksize =", raised(setattr, file, "blksize", 1))
    add("FileWrapper.close()", raised(file.close))
    add("FileWrapper.close() again", raised(file.close))
    add("FileWrapper.filelike when closed", raised(getattr, file, "filelike"))
    add("FileWrapper.blksize when closed", raised(getattr, file, "blksize"))
    add("next(FileWrapper) when closed", raised(next, file))
    add("next(FileWrapper) of text", raised(next, mod_wsgi.FileWrapper(io.StringIO("abc"))))
    subclass = type("Sub", (mod_wsgi.FileWrapper,), {"__module__": "parity"})
    add("FileWrapper subclass", raised(subclass, io.BytesIO()))


def handlers():
    handler = mod_wsgi.LogHandler()
    add("LogHandler", "level %r" % handler.level)
    add("LogHandler(level)", "level %r" % mod_wsgi.LogHandler(30).level)
    add("LogHandler", "is a logging.Handler: %s" % isinstance(handler, logging.Handler))
    record = logging.LogRecord("x", 30, "/x.py", 3, "%d", ("x",), None)
    record.levelno = "x"
    add("LogHandler.emit() with a bad level", raised(handler.emit, record).split(":")[0])
    seen = []
    handler.handleError = seen.append
    handler.emit(logging.LogRecord("x", 50, "/x.py", 3, "%d", ("x",), None))
    add("LogHandler", "handleError is called: %s" % bool(seen))
    add("RequestTimeout", "is an Exception: %s" % issubclass(mod_wsgi.RequestTimeout, Exception))
    add("RequestTimeout('x')", raised(mod_wsgi.RequestTimeout, "x"))


def streams(environ):
    for name, stream in (
        ("sys.stdout", sys.stdout),
        ("sys.stderr", sys.stderr),
        ("wsgi.errors", environ["wsgi.errors"]),
    ):
        add(name, kind(stream))
        buffer = stream.buffer
        add(name, "over %s, name %r" % (kind(buffer), getattr(stream, "name", None)))
        settings = (stream.encoding, stream.errors, stream.line_buffering, stream.write_through)
        add(name, "settings %r" % (settings,))
        for method in ("isatty", "readable", "seekable", "writable", "fileno", "read"):
            add("%s.%s()" % (name, method), raised(getattr(stream, method)))
        add("%s.closed" % name, repr(stream.closed))
        add("%s.buffer.write(b'x\\n')" % name, raised(buffer.write, b"x\n"))
        add("%s.buffer.write(1)" % name, raised(buffer.write, 1))
        add("%s.buffer.writelines(1)" % name, raised(buffer.writelines, 1))
        for attribute in ("closed", "encoding", "errors", "name"):
            add("%s.buffer.%s" % (name, attribute), repr(getattr(buffer, attribute, "-")))


def methods(value):
    return ", ".join(sorted(name for name in dir(value) if not name.startswith("_")))


def request(environ, start_response):
    for key, value in environ.items():
        if key.split(".")[0] in ("mod_wsgi", "apache", "wsgi"):
            add("environ %s" % key, kind(value))
    add("wsgi.file_wrapper", "is FileWrapper: %s" % (environ["wsgi.file_wrapper"] is mod_wsgi.FileWrapper))
    add("wsgi.input", methods(environ["wsgi.input"]))
    add("start_response", kind(start_response))
    adapter = start_response.__self__
    add("start_response.__self__", kind(adapter))
    add("start_response.__self__", methods(adapter))
    add("ssl_is_https()", raised(adapter.ssl_is_https))
    add("ssl_var_lookup('HTTPS')", raised(adapter.ssl_var_lookup, "HTTPS"))
    add("ssl_var_lookup(b'HTTPS')", raised(adapter.ssl_var_lookup, b"HTTPS"))
    add("ssl_var_lookup(1)", raised(adapter.ssl_var_lookup, 1))
    data = mod_wsgi.request_data()
    id = environ["mod_wsgi.request_id"]
    add("active_requests", "has request_data(): %s" % (mod_wsgi.active_requests[id] is data))
    add("request_data()", repr(data))
    thread = threading.current_thread()
    add("thread", "%s, daemon %s" % (kind(thread), thread.daemon))
    add("thread", "is the main thread: %s" % (thread is threading.main_thread()))
    add("sys.argv", repr(sys.argv))
    add("signal.signal", kind(signal.signal))
    add("signal.signal()", raised(signal.signal))
    add("signal.signal(SIGUSR2, SIG_IGN)", raised(signal.signal, signal.SIGUSR2, signal.SIG_IGN))
    names = {"SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGPIPE"}
    for name in sorted(names):
        add("signal.getsignal(%s)" % name, kind(signal.getsignal(getattr(signal, name))))
    add("script", "__name__ starts with _mod_wsgi_: %s" % __name__.startswith("_mod_wsgi_"))
    for name in ("__file__", "__mtime__", "__package__", "__cached__", "__doc__", "__spec__", "__loader__"):
        add("script %s" % name, kind(globals().get(name, "missing")))
    add("script", "in sys.modules: %s" % (__name__ in sys.modules))


def shape(subject, value):
    """The types of everything in a dictionary, by the way to it; of lists, their first element."""
    if isinstance(value, dict):
        for key in sorted(value):
            shape("%s[%r]" % (subject, key), value[key])
    elif isinstance(value, list):
        kinds = {kind(item) for item in value}
        add(subject, "list of %d %s" % (len(value), ", ".join(sorted(kinds))))
        if value and isinstance(value[0], dict):
            shape("%s[0]" % subject, value[0])
    else:
        add(subject, kind(value))


def starts(environ, start_response):
    add("start_recording_metrics()", raised(mod_wsgi.start_recording_metrics))
    add("start_recording_metrics() again", raised(mod_wsgi.start_recording_metrics))
    for name in ("request_metrics", "process_metrics"):
        shape("%s() at first" % name, getattr(mod_wsgi, name)())
    return plain(environ, start_response)


def metrics(environ, start_response):
    for name in ("request_metrics", "process_metrics", "server_metrics"):
        shape("%s()" % name, getattr(mod_wsgi, name)())
    return tell(start_response)


SEQUENCES = {}
CASE = [None]


@mod_wsgi.subscribe_events
def event(name, **payload):
    if name == "request_started":
        CASE[0] = payload["request_environ"]["PATH_INFO"].strip("/")
    case = CASE[0]
    if case in ("dump", "starts", "metrics"):
        return
    # Times of the processor are left out when its clock shows nothing yet.
    count = sum(not key.startswith("cpu_") for key in payload)
    SEQUENCES.setdefault(case, []).append("%s with %d keys" % (name, count))
    for key in payload:
        add("event %s, %s" % (name, key), kind(payload[key]))


@mod_wsgi.subscribe_shutdown
def shutdown(name, **payload):
    with open(STOPPING, "a") as file:
        for key in sorted(payload):
            file.write("event %s, %s: %s\n" % (name, key, kind(payload[key])))


def fail():
    raise ValueError("told so")


def plain(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"plain"]


def raises(environ, start_response):
    fail()


def breaks(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"x"
    fail()


def recovers(environ, start_response):
    try:
        start_response("200 OK", [])
        fail()
    except ValueError:
        start_response("500 Oh", [], sys.exc_info())
    return [b"recovered"]


def never(environ, start_response):
    return []


def reads(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", "0")])
    return []


def wraps(environ, start_response):
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](open(__file__, "rb"))


class Closing:
    def __iter__(self):
        return iter([b"x"])

    def close(self):
        fail()


def closes(environ, start_response):
    start_response("200 OK", [("Content-Length", "1")])
    return Closing()


def dump(environ, start_response):
    add("events", "a callback that cannot be called: %s" % raised(mod_wsgi.subscribe_events, 1))
    mod_wsgi.event_callbacks.remove(1)
    for case, names in SEQUENCES.items():
        add("events in /%s" % case, ", ".join(names))
    attributes()
    functions()
    wrappers()
    handlers()
    streams(environ)
    request(environ, start_response)
    return tell(start_response)


def tell(start_response):
    body = "".join(line + "\n" for line in LINES).encode()
    LINES.clear()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


CASES = (plain, raises, breaks, recovers, never, reads, wraps, closes, dump, starts, metrics)


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    return next(case for case in CASES if case.__name__ == name)(environ, start_response)

"""Tells what an application can see of the process it is in: line by line, `what = value`.

Values that differ from machine to machine or run to run are replaced by a word.
"""

import grp
import locale
import os
import pwd
import signal
import sys
import threading

PREFIX = sys.prefix
SITE = os.environ["WSGI_TEST_SERVER"]


def clean(value):
    text = value if isinstance(value, str) else repr(value)
    for old, new in ((SITE, "SITE"), (PREFIX, "PREFIX"), (str(os.getpid()), "PID")):
        text = text.replace(old, new)
    return text


def environ():
    for name, value in os.environ.items():
        if name != "WSGI_TEST_LIMITS":
            yield name, value


def system():
    for name in (
        "argv", "orig_argv", "path", "flags", "warnoptions", "dont_write_bytecode", "executable",
        "_base_executable", "prefix", "base_prefix", "exec_prefix", "pycache_prefix", "platlibdir",
        "_xoptions",
    ):
        yield name, getattr(sys, name, "none")
    for name in (
        "getfilesystemencoding", "getfilesystemencodeerrors", "getdefaultencoding",
        "getrecursionlimit", "getswitchinterval", "gettrace", "getprofile",
    ):
        yield name, getattr(sys, name)()
    for name in ("excepthook", "unraisablehook", "displayhook"):
        yield name, getattr(sys, name) is getattr(sys, "__%s__" % name, None)
    yield "ps1", hasattr(sys, "ps1")
    yield "meta_path", [getattr(finder, "__name__", type(finder).__name__) for finder in sys.meta_path]
    yield "path_hooks", len(sys.path_hooks)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        yield name, [
            type(stream).__name__, getattr(stream, "encoding", None), getattr(stream, "errors", None),
            getattr(stream, "line_buffering", None), getattr(stream, "name", None),
        ]
        original = getattr(sys, "__%s__" % name)
        yield "__%s__" % name, [type(original).__name__, getattr(original, "encoding", None)]


def places():
    for name in ("LC_CTYPE", "LC_COLLATE", "LC_NUMERIC", "LC_TIME", "LC_MONETARY", "LC_MESSAGES"):
        yield name, locale.setlocale(getattr(locale, name), None)
    yield "getpreferredencoding", locale.getpreferredencoding(False)


def process():
    yield "cwd", os.getcwd()
    mask = os.umask(0)
    os.umask(mask)
    yield "umask", oct(mask)
    yield "user", pwd.getpwuid(os.getuid()).pw_name == pwd.getpwuid(os.geteuid()).pw_name
    yield "group", grp.getgrgid(os.getgid()).gr_name == grp.getgrgid(os.getegid()).gr_name
    yield "groups", sorted(os.getgroups()) == [os.getgid()]
    yield "as nice as its parent", os.getpriority(os.PRIO_PROCESS, 0) == os.getpriority(
        os.PRIO_PROCESS, os.getppid()
    )
    yield "session leader", os.getsid(0) == os.getpid()
    yield "group leader", os.getpgid(0) == os.getpid()
    yield "same session as its parent", os.getsid(0) == os.getsid(os.getppid())
    # The limits that Apache was started with come in the environment.
    started = os.environ["WSGI_TEST_LIMITS"].split("\n")
    for line, own in zip(started, open("/proc/self/limits")):
        yield line[:25].strip().lower(), "as Apache's" if own.split() == line.split() else own.split()
    status = {}
    for line in open("/proc/self/status"):
        name, _, value = line.partition(":")
        status[name] = value.strip()
    # (In 6.1.1, too, SIGPIPE is Apache's business.)
    for name in ("SigBlk", "SigIgn", "SigCgt"):
        # Signals 32 and 33 are the C library's own.
        yield name, "%016x" % (int(status[name], 16) & ~(3 << 31))
    yield "CapEff", status["CapEff"]
    own, parent = (open("/proc/%s/comm" % pid).read().strip() for pid in ("self", os.getppid()))
    yield "comm", "as its parent's" if own == parent else own
    command = open("/proc/self/cmdline", "rb").read()
    # Where Apache is differs from machine to machine.
    yield "command line", command.replace(b"\0", b" ").decode().strip().rpartition("/")[2]
    kinds = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            kinds.add("%s %s" % (number if int(number) < 3 else "other", os.readlink("/proc/self/fd/" + number).split(":")[0]))
        except OSError:
            pass
    yield "descriptors 0 to 2", sorted(kind for kind in kinds if not kind.startswith("other"))


def handlers():
    for number in sorted(signal.valid_signals()):
        handler = signal.getsignal(number)
        yield signal.Signals(number).name if number < 32 else number, getattr(handler, "name", handler)
    yield "mask of this thread", sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    yield "wakeup descriptor", threading.current_thread() is threading.main_thread()


def threads():
    main, own = threading.main_thread(), threading.current_thread()
    yield "main is this", main is own
    yield "main", [type(main).__name__, main.name, main.daemon, main.is_alive()]
    yield "main is the process", main.native_id == os.getpid()
    yield "this", [type(own).__name__, own.name.split("-")[0], own.daemon, own.is_alive()]
    yield "others", sorted(
        [type(t).__name__, t.name.split("-")[0]] for t in threading.enumerate() if t not in (main, own)
    )
    yield "stack size", threading.stack_size()


def main_module():
    module = sys.modules["__main__"]
    for name in sorted(vars(module)):
        value = getattr(module, name)
        yield name, value if isinstance(value, (str, int, type(None))) else type(value).__name__
    yield "annotations", hasattr(module, "__annotations__")


def dump():
    for part in (environ, system, places, process, handlers, threads, main_module):
        for name, value in part():
            yield "%s: %s = %s" % (part.__name__, name, clean(value))


def application(environ, start_response):
    text = "".join(line.replace("\n", "\\n") + "\n" for line in dump())
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [text.encode("utf-8", "backslashreplace")]

"""The application that the conformance suite drives a server with.

One file, nothing but the standard library, for any WSGI server: `gunicorn probe:application`.
A request carries a *plan* (JSON in the query), so that what a case does and what it expects stand
together in the suite; this file only carries plans out. What happens when nobody looks any more
(`close()` after the client left) is written to a file per token and read back by another request,
which another process may answer.

<https://peps.python.org/pep-3333/>
"""

import hashlib
import io
import json
import os
import re
import sys
import tempfile
import time
from urllib.parse import parse_qs

PLACE = os.path.join(tempfile.gettempdir(), "wsgi-probe.%d" % os.getuid())


class Events:
    """Lines appended to a file, safe from several processes."""

    def __init__(self, token):
        if token and not re.fullmatch(r"[0-9a-z]{1,40}", token):
            raise ValueError("not a token")
        self.path = token and os.path.join(PLACE, token)

    def add(self, text):
        if self.path:
            os.makedirs(PLACE, mode=0o700, exist_ok=True)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(handle, (text.replace("\n", " ") + "\n").encode("utf-8", "replace"))
            finally:
                os.close(handle)

    def read(self):
        try:
            with open(self.path, encoding="utf-8") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []


def value(spec):
    """A Python value out of JSON: {"bytes": "x"}, {"tuple": [...]}, {"float": 1}, or itself."""
    if isinstance(spec, dict):
        if "bytes" in spec:
            return spec["bytes"].encode("latin-1") * spec.get("times", 1)
        if "tuple" in spec:
            return tuple(value(item) for item in spec["tuple"])
        if "str" in spec:
            return spec["str"] * spec.get("times", 1)
        if "list" in spec:
            return [value(item) for item in spec["list"]]
        raise ValueError("unknown value %r" % (spec,))
    return spec


def headers_of(spec):
    """Headers: [["name", "value"], ...], {"many": n}, or any other value."""
    if isinstance(spec, dict) and "many" in spec:
        return [("X-Many-%d" % number, str(number)) for number in range(spec["many"])]
    if isinstance(spec, list):
        return [tuple(map(value, item)) if isinstance(item, list) else value(item) for item in spec]
    return value(spec)


ERRORS = {
    "ValueError": ValueError,
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "MemoryError": MemoryError,
    "BaseException": BaseException,
}


class Run:
    """One request's plan being carried out."""

    def __init__(self, environ, start_response, plan, events):
        self.environ = environ
        self.start_response = start_response
        self.plan = plan
        self.events = events
        self.write = None

    def steps(self, steps):
        """Carries out steps; yields what they say is to be yielded."""
        for step in steps:
            name, args = step[0], step[1:]
            if name == "yield":
                yield value(args[0])
            elif name == "endless":
                block = value(args[0])
                while True:
                    yield block
            elif name == "repeat":
                for _ in range(args[0]):
                    yield value(args[1])
            elif name == "count":
                for number in range(args[0]):
                    yield b"%d," % number
            elif name == "times":
                for _ in range(args[0]):
                    yield from self.steps(args[1])
            elif name == "try":
                try:
                    for item in self.steps(args[0]):
                        yield item
                    self.events.add("passed")
                except GeneratorExit:
                    raise
                except BaseException as error:
                    self.events.add("raised %s %s" % (type(error).__name__, error))
            else:
                self.step(name, *args)

    def step(self, name, *args):
        if name == "start":
            self.write = self.start_response(value(args[0]), headers_of(args[1]))
        elif name == "restart":
            # With the exception information of an error being handled, as the PEP shows.
            try:
                raise ERRORS[args[2]]("told so")
            except BaseException:
                self.write = self.start_response(value(args[0]), headers_of(args[1]), sys.exc_info())
        elif name == "write":
            self.write(value(args[0]))
        elif name == "raise":
            raise ERRORS[args[0]]("told so")
        elif name == "sleep":
            time.sleep(args[0])
        elif name == "event":
            self.events.add(args[0])
        elif name == "read":
            try:
                data = self.environ["wsgi.input"].read(*args)
                self.events.add("read %d" % len(data))
            except Exception as error:
                self.events.add("failed %s %s" % (type(error).__name__, error))
                raise
        elif name == "errors":
            self.environ["wsgi.errors"].write(args[0])
        else:
            raise ValueError("unknown step %r" % (name,))

    def result(self):
        for item in self.steps(self.plan.get("call", ())):
            raise ValueError("only a body yields")
        kind = self.plan.get("kind", "object")
        body = self.steps(self.plan.get("body", ()))
        if kind == "object":
            return Body(self, body)
        if kind == "generator":
            return body
        if kind == "list":
            return list(body)
        if kind == "tuple":
            return tuple(body)
        if kind == "sequence":
            return Sequence(self, list(body))
        if kind == "unclosable":
            return iter(list(body))
        if kind == "file":
            return self.file()
        return value(self.plan["value"])

    def file(self):
        """Something given to wsgi.file_wrapper."""
        spec = self.plan["file"]
        data = value(spec["data"])
        if spec.get("real", True):
            file = tempfile.TemporaryFile()
            file.write(data)
            file.seek(spec.get("offset", 0))
            if spec.get("closes", True):
                file = Closing(self, file)
        else:
            file = OnlyRead(self, io.BytesIO(data[spec.get("offset", 0) :]))
        wrapper = self.environ["wsgi.file_wrapper"]
        result = wrapper(file, spec["block"]) if "block" in spec else wrapper(file)
        if spec.get("middleware"):
            return (item for item in result)
        if spec.get("subclass"):
            return type("Sub", (wrapper,), {})(file)
        return result

    def close(self):
        self.events.add("close")
        if self.plan.get("close") in ERRORS:
            raise ERRORS[self.plan["close"]]("told so")


class Body:
    """An iterable whose end is recorded."""

    def __init__(self, run, items):
        self.run, self.items = run, items

    def __iter__(self):
        if self.run.plan.get("iter") in ERRORS:
            raise ERRORS[self.run.plan["iter"]]("told so")
        return self.items

    def close(self):
        self.run.close()


class Sequence:
    """Iterable by the old protocol alone."""

    def __init__(self, run, items):
        self.run, self.items = run, items

    def __getitem__(self, index):
        return self.items[index]

    def close(self):
        self.run.close()


class Closing:
    """A real file whose close() is recorded."""

    def __init__(self, run, file):
        self.run, self.file = run, file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def close(self):
        self.file.close()
        self.run.close()


class OnlyRead:
    """The least a file-like object for wsgi.file_wrapper has."""

    def __init__(self, run, file):
        self.run, self.file = run, file

    def read(self, size):
        return self.file.read(size)

    def close(self):
        self.run.close()


def answer(start_response, facts):
    body = json.dumps(facts).encode("utf-8")
    head = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", head)
    return [body]


def described(item):
    """What can be said of a value in JSON."""
    simple = isinstance(item, (str, int, float, bool)) or item is None
    shown = item if simple else [described(i) for i in item] if isinstance(item, tuple) else None
    return {"type": type(item).__name__, "value": shown}


def show_environ(environ, start_response, query):
    """Every key with its type, after which the dictionary is spoilt for whoever shares it."""
    facts = {
        "type": "%s.%s" % (type(environ).__module__, type(environ).__name__),
        "environ": {str(key): described(item) for key, item in environ.items()},
        "odd_keys": [repr(key) for key in environ if type(key) is not str],
        "wide": [
            key
            for key, item in environ.items()
            if isinstance(item, str) and any(ord(char) > 255 for char in item)
        ],
        "methods": {
            key: [name for name in names if callable(getattr(environ.get(key), name, None))]
            for key, names in {
                "wsgi.input": ["read", "readline", "readlines", "__iter__"],
                "wsgi.errors": ["write", "writelines", "flush"],
            }.items()
        },
        "file_wrapper": callable(environ.get("wsgi.file_wrapper")),
    }
    environ["probe.spoilt"] = "yes"
    environ["QUERY_STRING"] = None
    del environ["REQUEST_METHOD"]
    return answer(start_response, facts)


def read_input(environ, start_response, query):
    """Carries out reads, one after the other, and says what came."""
    stream, results = environ["wsgi.input"], []
    for name, *args in json.loads(query["reads"][0]):
        try:
            if name == "digest":
                digest, total = hashlib.md5(), 0
                while True:
                    block = stream.read(*args)
                    if not block:
                        break
                    digest.update(block)
                    total += len(block)
                results.append([total, digest.hexdigest()])
            elif name == "lines":
                digest, lines = hashlib.md5(), 0
                while True:
                    line = stream.readline(*args)
                    if not line:
                        break
                    digest.update(b"%d:" % len(line) + line)
                    lines += 1
                results.append([lines, digest.hexdigest()])
            elif name == "iter":
                results.append([line.decode("latin-1") for line in stream])
            elif name == "sleep":
                time.sleep(*args)
            else:
                result = getattr(stream, name)(*args)
                if isinstance(result, list):
                    results.append([line.decode("latin-1") for line in result])
                elif type(result) is bytes:
                    results.append(result.decode("latin-1"))
                else:
                    results.append({"type": type(result).__name__})
        except Exception as error:
            results.append({"raised": type(error).__name__, "text": str(error)})
    return answer(start_response, results)


def carry_out(environ, start_response, query):
    plan = json.loads(query["plan"][0])
    return Run(environ, start_response, plan, Events(plan.get("token"))).result()


def show_events(environ, start_response, query):
    return answer(start_response, Events(query["token"][0]).read())


def use_errors(environ, start_response, query):
    errors = environ["wsgi.errors"]
    results = []
    for text in json.loads(query["texts"][0]):
        try:
            errors.write(text)
            results.append("passed")
        except Exception as error:
            results.append("raised %s %s" % (type(error).__name__, error))
    errors.writelines(["probe: two ", "lines\n"])
    errors.flush()
    return answer(start_response, results)


def hello(environ, start_response, query):
    return answer(start_response, "hello")


ROUTES = {
    "environ": show_environ,
    "errors": use_errors,
    "events": show_events,
    "hello": hello,
    "input": read_input,
    "plan": carry_out,
}


def application(environ, start_response):
    name = environ.get("PATH_INFO", "").strip("/").split("/")[0]
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    return ROUTES.get(name, show_environ)(environ, start_response, query)

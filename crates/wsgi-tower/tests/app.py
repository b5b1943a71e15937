"""What the tests of the service call."""

import threading
import time

closed = []
released = threading.Event()


class Endless:
    def __iter__(self):
        return self

    def __next__(self):
        return b"x" * 100000

    def close(self):
        closed.append(True)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/environ":
        names = environ["QUERY_STRING"].split("&")
        body = "\n".join(str(environ.get(name)) for name in names).encode()
    elif path == "/endless":
        start_response("200 OK", [])
        return Endless()
    elif path == "/closed":
        body = str(len(closed)).encode()
    elif path == "/short":
        start_response("200 OK", [("Content-Length", "10")])
        return [b"abc"]
    elif path == "/large":
        start_response("200 OK", [("Content-Length", str(5 << 20))])
        return [b"%d" % i * (1 << 20) for i in range(5)]
    elif path == "/file":
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](open(__file__, "rb"))
    elif path == "/echo":
        read = environ["wsgi.input"].read
        start_response("200 OK", [])
        return iter(lambda: read(50000), b"")
    elif path == "/broken":
        try:
            environ["wsgi.input"].read()
            body = b"read"
        except OSError as error:
            body = type(error).__mro__[-4].__name__.encode()
    elif path == "/wait":
        body = str(released.wait(60)).encode()
    elif path == "/release":
        released.set()
        body = b"released"
    elif path == "/slow":
        time.sleep(0.2)
        body = b"slow"
    else:
        raise ValueError(path)
    start_response("200 Fine", [("Content-Type", "text/plain"), ("X-A", "1"), ("X-A", "2")])
    return [body]

"""The application every contestant serves: one function per load.

Bodies are known to the driver byte for byte, which checks them before each round.
"""

import time

HELLO = b"Hello, world!"
LINE = b"0123456789abcdef" * 4
PAGE = LINE * 160  # 10 KiB
CHUNK = LINE * 1024  # 64 KiB
TEXT = ("Content-Type", "text/plain")


def hello(environ, start_response):
    start_response("200 OK", [TEXT, ("Content-Length", "13")])
    return [HELLO]


def page(environ, start_response):
    start_response("200 OK", [TEXT, ("Content-Length", "10240")])
    return [PAGE]


def stream(environ, start_response):
    """1 MiB whose length nobody knows beforehand."""
    start_response("200 OK", [TEXT])
    return (CHUNK for _ in range(16))


def whole(environ, start_response):
    """1 MiB in one piece."""
    start_response("200 OK", [TEXT, ("Content-Length", "1048576")])
    return [CHUNK * 16]


def upload(environ, start_response):
    read = environ["wsgi.input"].read
    total = 0
    while block := read(65536):
        total += len(block)
    body = b"%d" % total
    start_response("200 OK", [TEXT, ("Content-Length", str(len(body)))])
    return [body]


def busy(environ, start_response):
    """Pure Python that never lets go of the GIL by itself, about a millisecond."""
    return compute(24_000, start_response)


def grind(environ, start_response):
    """The same for about a tenth of a second."""
    return compute(2_400_000, start_response)


def compute(turns, start_response):
    total = 0
    for i in range(turns):
        total += i & 7
    body = b"%d" % total
    start_response("200 OK", [TEXT, ("Content-Length", str(len(body)))])
    return [body]


def waits(environ, start_response):
    """As one that asks a cache or a database next door, again and again."""
    for _ in range(20):
        time.sleep(0.0002)
    start_response("200 OK", [TEXT, ("Content-Length", "13")])
    return [HELLO]


def sleep(environ, start_response):
    time.sleep(0.01)
    start_response("200 OK", [TEXT, ("Content-Length", "13")])
    return [HELLO]


def django(environ, start_response):
    """Imported when first asked for: the other loads are to be free of it."""
    from page import application

    PAGES["/django"] = application
    return application(environ, start_response)


PAGES = {
    "/django": django,
    "/hello": hello,
    "/page": page,
    "/stream": stream,
    "/whole": whole,
    "/upload": upload,
    "/busy": busy,
    "/grind": grind,
    "/sleep": sleep,
    "/waits": waits,
}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"]](environ, start_response)

"""Hello world and nothing else, for counting instructions."""

BODY = [b"Hello, world!"]
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "13")]


def application(environ, start_response):
    start_response("200 OK", HEADERS)
    return BODY

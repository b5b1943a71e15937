"""What an application runs on: process group, interpreter, threading model, Python.

The values to report when something is wrong with an installation.
"""

import sys


def application(environ, start_response):
    lines = ["%s = %r" % (key, environ.get(key)) for key in KEYS]
    lines += ["sys.%s = %r" % (name, getattr(sys, name)) for name in ("version", "prefix", "path")]
    body = ("\n".join(lines) + "\n").encode("utf-8")
    head = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response("200 OK", head)
    return [body]


KEYS = (
    "mod_wsgi.process_group",
    "mod_wsgi.application_group",
    "wsgi.multithread",
    "wsgi.multiprocess",
)

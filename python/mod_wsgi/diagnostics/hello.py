"""The smallest application there is, to see whether anything works."""


def application(environ, start_response):
    body = b'Hello World!'
    headers = [('Content-type', 'text/plain'), ('Content-Length', str(len(body)))]
    start_response('200 OK', headers)
    return [body]

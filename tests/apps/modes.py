"""Small applications whose responses must not depend on where they run, by the name of the path."""

import io
import json


def hello(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '6')])
    return [b'Hello!']


def list_of_one(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'only one']


def list_of_some(environ, start_response):
    start_response('200 Alright then', [('X-Name', 'value')])
    return [b'one', b'', b'two', b'three' * 1000]


def empty(environ, start_response):
    start_response('200 OK', [])
    return []


def created(environ, start_response):
    start_response('201 Made It', [('Location', 'http://localhost/new'), ('ETag', '"1"')])
    return [b'made']


def no_reason(environ, start_response):
    start_response('404', [('Content-Type', 'text/plain')])
    return [b'the usual one']


def empty_reason(environ, start_response):
    start_response('404 ', [('Content-Type', 'text/plain')])
    return [b'as it is']


def no_content(environ, start_response):
    start_response('204 No Content', [('X-Name', 'value')])
    return []


def not_modified(environ, start_response):
    start_response('304 Not Modified', [('ETag', '"1"')])
    return []


def redirect(environ, start_response):
    start_response('302 Found', [('Location', '/elsewhere'), ('Content-Length', '4')])
    return [b'gone']


def cookies(environ, start_response):
    start_response('200 OK', [
        ('Set-Cookie', 'a=1; Path=/'), ('X-Twice', '1'), ('Set-Cookie', 'b=2'),
        ('X-Twice', '2'), ('Vary', 'A'), ('Vary', 'B'), ('Cache-Control', 'no-cache'),
        ('Content-Type', 'Text/HTML; Charset=UTF-8'), ('Status', '404'), ('X-Colon', ': b'),
        ('Last-Modified', 'never')])
    return [b'cookies']


def stream(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    for number in range(50):
        yield b'part %d\n' % number


def stream_of_length(environ, start_response):
    start_response('200 OK', [('Content-Length', '500000'), ('ETag', '"s"')])
    for _ in range(50):
        yield b'0123456789' * 1000


def writes(environ, start_response):
    write = start_response('200 OK', [])
    write(b'written ')
    write(b'')
    return [b'and returned']


def file_of_length(environ, start_response):
    start_response('200 OK', [('Content-Length', '12')])
    return environ['wsgi.file_wrapper'](io.BytesIO(b'like a file.'), 5)


def real_file(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return environ['wsgi.file_wrapper'](open(environ['SCRIPT_FILENAME'], 'rb'))


def refused(environ, start_response):
    start_response('403 Forbidden', [('Content-Type', 'text/plain')])
    return [b'my own page']


def unauthorized(environ, start_response):
    start_response('401 Unauthorized', [('WWW-Authenticate', 'Basic realm="r"')])
    return [b'who?']


def fails(environ, start_response):
    raise RuntimeError('on purpose')


def fails_late(environ, start_response):
    start_response('200 OK', [])
    raise RuntimeError('on purpose')


def never(environ, start_response):
    return [b'nothing was started']


def replaced(environ, start_response):
    import sys
    try:
        start_response('200 OK', [('X-First', '1')])
        raise ValueError
    except ValueError:
        start_response('503 Busy', [('X-Second', '2')], sys.exc_info())
    return [b'replaced']


def breaks(environ, start_response):
    start_response('200 OK', [])
    yield b'x' * 100000
    raise RuntimeError('on purpose')


def short(environ, start_response):
    start_response('200 OK', [('Content-Length', '100')])
    return [b'not all']


def long(environ, start_response):
    start_response('200 OK', [('Content-Length', '3')])
    return [b'too much']


def bad_status(environ, start_response):
    start_response('OK', [])
    return [b'?']


def bad_header(environ, start_response):
    start_response('200 OK', [('X-Bad', 'a\nb')])
    return [b'?']


def text(environ, start_response):
    start_response('200 OK', [])
    return ['not bytes']


def variables(environ, start_response):
    other = {'REMOTE_PORT', 'UNIQUE_ID', 'REQUEST_TIME', 'HTTP_X_MODE', 'test.group',
             'mod_wsgi.process_group', 'mod_wsgi.connection_id', 'mod_wsgi.request_id',
             'mod_wsgi.thread_id', 'mod_wsgi.queue_start', 'mod_wsgi.daemon_start',
             'mod_wsgi.request_start', 'mod_wsgi.daemon_connects', 'mod_wsgi.daemon_restarts',
             'wsgi.multiprocess', 'wsgi.multithread'}
    found = {name: value for name, value in environ.items()
             if name not in other and isinstance(value, (str, int, tuple))}
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(found, sort_keys=True).encode()]


def echo(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]


def lines(environ, start_response):
    found = [len(line) for line in environ['wsgi.input']]
    start_response('200 OK', [])
    return [json.dumps(found).encode()]


def unread(environ, start_response):
    start_response('200 OK', [('Content-Length', '6')])
    return [b'unread']


def some(environ, start_response):
    start_response('200 OK', [])
    return [environ['wsgi.input'].read(10), b'|', environ['wsgi.input'].read(5000)]


APPLICATIONS = {
    name: value for name, value in list(globals().items()) if callable(value)
}


def application(environ, start_response):
    name = environ['PATH_INFO'].lstrip('/')
    if name == 'names':
        start_response('200 OK', [])
        return [' '.join(APPLICATIONS).encode()]
    if name == 'where':
        start_response('200 OK', [])
        return [environ['mod_wsgi.process_group'].encode()]
    return APPLICATIONS[name](environ, start_response)

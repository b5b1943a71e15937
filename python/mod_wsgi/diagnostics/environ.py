"""Shows the process, the interpreter, the server and the request, then the request's body."""

import locale
import os
import sys


def _process():
    if os.name == 'nt':
        return
    yield 'PID', os.getpid()
    yield 'UID', os.getuid()
    yield 'GID', os.getgid()
    yield 'CWD', os.getcwd()


def _streams(environ):
    yield 'STDOUT', getattr(sys.stdout, 'name', sys.stdout)
    yield 'STDERR', getattr(sys.stderr, 'name', sys.stderr)
    yield 'ERRORS', getattr(environ['wsgi.errors'], 'name', environ['wsgi.errors'])


def _python():
    yield 'python.version', repr(sys.version)
    yield 'python.prefix', repr(sys.prefix)
    yield 'python.path', repr(sys.path)


def _versions(environ):
    for key in ('apache.version', 'mod_wsgi.version'):
        yield key, environ.get(key)


def _groups(environ):
    for key in ('mod_wsgi.process_group', 'mod_wsgi.application_group'):
        yield key, environ.get(key)


def _module(name, attributes):
    module = sys.modules.get(name)
    for attribute in attributes:
        if hasattr(module, attribute):
            yield '%s.%s' % (name, attribute), getattr(module, attribute)


def _locale():
    yield 'LANG', os.environ.get('LANG')
    yield 'LC_ALL', os.environ.get('LC_ALL')
    yield 'sys.getdefaultencoding()', sys.getdefaultencoding()
    yield 'sys.getfilesystemencoding()', sys.getfilesystemencoding()
    yield 'locale.getlocale()', locale.getlocale()
    yield 'locale.getpreferredencoding()', locale.getpreferredencoding()
    yield 'locale.getlocale(LC_MESSAGES)', locale.getlocale(getattr(locale, 'LC_MESSAGES', 0))


def _sorted(mapping):
    for key in sorted(mapping):
        yield key, repr(mapping[key])


def _blocks(environ):
    yield _process()
    yield _streams(environ)
    yield _python()
    yield _versions(environ)
    yield _groups(environ)
    yield _module('mod_wsgi', ('maximum_processes', 'threads_per_process'))
    apache = ('description', 'build_date', 'mpm_name', 'maximum_processes', 'threads_per_process')
    yield _module('apache', apache)
    yield [('PATH', os.environ.get('PATH'))]
    yield _locale()
    yield _sorted(environ)
    yield _sorted(os.environ)


def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain; charset="UTF-8"')])
    for block in _blocks(environ):
        lines = ['%s: %s\n' % item for item in block]
        if lines:
            yield (''.join(lines) + '\n').encode('utf-8', 'backslashreplace')
    source = environ['wsgi.input']
    while True:
        data = source.read(8192)
        if not data:
            break
        yield data

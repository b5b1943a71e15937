"""What runs inside Apache: the application, loaded and handed its requests.

``handler.wsgi`` and ``resource.wsgi`` in a server root make one handler each from the classes here.
The application is a fallback for what is no file, so Apache regards the whole path of a request as
belonging to the handler's script; the handlers put SCRIPT_NAME and PATH_INFO right.

https://peps.python.org/pep-3333/
"""

import importlib
import os
import re
import sys
import types


def load_script(path, name):
    """Execute a file as the module of that name."""
    with open(path, 'rb') as file:
        source = file.read()
    # The features this file imports from __future__ are no business of the script.
    code = compile(source, path, 'exec', dont_inherit=True)
    module = types.ModuleType(name)
    module.__file__ = path
    exec(code, module.__dict__)
    sys.modules[name] = module
    return module


def modified(path):
    """The time a file was last changed, or None if there is none."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def not_found(environ, start_response):
    """What is served where there is no application."""
    body = b'Not Found\n'
    headers = [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))]
    start_response('404 Not Found', headers)
    return [body]


class ApplicationHandler:
    """The application of ``start-server``, of whatever type it is."""

    def __init__(
        self,
        entry_point,
        application_type='script',
        callable_object='application',
        mount_point='/',
        debug_mode=False,
        enable_debugger=False,
        debugger_startup=False,
        enable_recorder=False,
        recorder_directory=None,
    ):
        self.entry_point = entry_point
        self.application_type = application_type
        self.callable_object = callable_object
        self.mount_point = mount_point.rstrip('/')
        self.debug_mode = debug_mode

        self.application, self.file = self._load()
        self.mtime = modified(self.file) if self.file else None

        if enable_recorder and recorder_directory:
            self.application = RequestRecorder(self.application, recorder_directory)
        if enable_debugger:
            self.application = PostMortemDebugger(self.application, debugger_startup)

    def _load(self):
        """The application, and the file whose change means that it has to be loaded again."""
        kind, entry_point = self.application_type, self.entry_point
        if kind == 'static':
            return not_found, None
        if kind == 'paste':
            from paste.deploy import loadapp

            return loadapp('config:' + entry_point), entry_point
        if kind == 'module':
            module = importlib.import_module(entry_point)
            return getattr(module, self.callable_object), getattr(module, '__file__', None)
        module = load_script(entry_point, '__wsgi__')
        return getattr(module, self.callable_object), entry_point

    def handle_request(self, environ, start_response):
        mount_point = self.mount_point
        if 'mod_wsgi.mount_point' in environ:
            # A trusted proxy told us under which name the client knows the site.
            path = environ.get('mod_wsgi.script_name', '') + environ.get('PATH_INFO', '')
            if self._below(path):
                path = path[len(mount_point):]
        else:
            path = environ.get('SCRIPT_NAME', '') + environ.get('PATH_INFO', '')
            environ['SCRIPT_NAME'] = ''
            if mount_point and self._below(path):
                environ['SCRIPT_NAME'] = mount_point
                path = path[len(mount_point):]
        environ['PATH_INFO'] = path
        return self.application(environ, start_response)

    def _below(self, path):
        return path == self.mount_point or path.startswith(self.mount_point + '/')

    def reload_required(self, resource):
        """Whether the application's file is another one than when it was loaded."""
        if self.debug_mode or not self.file:
            return False
        return modified(self.file) != self.mtime

    def __call__(self, environ, start_response):
        return self.handle_request(environ, start_response)


class ResourceHandler:
    """Scripts that handle files, by what the names of the files end in."""

    def __init__(self, resources):
        self.handlers = {}
        for extension, script in resources or ():
            name = '__wsgi_resource%s__' % re.sub(r'\W', '_', extension)
            module = load_script(script, name)
            handle = getattr(module, 'handle_request', None) or module.application
            self.handlers[extension] = (handle, getattr(module, 'reload_required', None))

    @staticmethod
    def _extension(path):
        return os.path.splitext(path)[1]

    def handle_request(self, environ, start_response):
        handle, _ = self.handlers[self._extension(environ['SCRIPT_NAME'])]
        return handle(environ, start_response)

    def reload_required(self, resource):
        handler = self.handlers.get(self._extension(resource))
        if handler is None or handler[1] is None:
            return False
        return handler[1](resource)

    def __call__(self, environ, start_response):
        return self.handle_request(environ, start_response)


# Imported on first use in Apache, but names of this module for everyone else.
from .debugger import PostMortemDebugger  # noqa: E402
from .recorder import RequestRecorder  # noqa: E402

"""Requests and responses, written to files.

For each request there are seven files, named by time, process and a counter:

========== =====================================================
iheaders    the environ of the request
icontent    its body
oheaders    status and headers of the response
ocontent    its body
oaexcept    the traceback, if calling the application failed
orexcept    the same for its iterable
ofexcept    the same for the ``close`` of that
========== =====================================================
"""

import itertools
import os
import pprint
import threading
import time
import traceback


class RequestRecorder:
    """An application that records what another one is asked and answers."""

    def __init__(self, application, savedir):
        self.application = application
        self.savedir = savedir
        self.lock = threading.Lock()
        self.counter = itertools.count(1)

    def __call__(self, environ, start_response):
        with self.lock:
            number = next(self.counter)
        name = '%d-%d-%d' % (time.time() * 1000000, os.getpid(), number)
        return Recording(self, os.path.join(self.savedir, name)).run(environ, start_response)


class Recording:
    """One request. Its files are closed when the response is."""

    def __init__(self, recorder, path):
        self.application = recorder.application
        self.path = path
        self.body = None
        self.copy = None
        self.result = None

    def _open(self, kind, mode='w'):
        if 'b' in mode:
            return open('%s.%s' % (self.path, kind), mode)
        return open('%s.%s' % (self.path, kind), mode, encoding='utf-8', errors='backslashreplace')

    def _failed(self, kind):
        with self._open(kind) as file:
            traceback.print_exc(file=file)

    def run(self, environ, start_response):
        with self._open('iheaders') as file:
            pprint.pprint(environ, stream=file)
        # The application reads the copy: what it does not read is recorded all the same.
        self.copy = self._open('icontent', 'w+b')
        source = environ['wsgi.input']
        while True:
            data = source.read(65536)
            if not data:
                break
            self.copy.write(data)
        self.copy.flush()
        self.copy.seek(0)
        environ['wsgi.input'] = self.copy
        self.body = self._open('ocontent', 'wb')

        def recorded_start_response(status, response_headers, *args):
            with self._open('oheaders') as file:
                pprint.pprint((status, response_headers), stream=file)
            write = start_response(status, response_headers, *args)

            def recorded_write(data):
                self._write(data)
                return write(data)

            return recorded_write

        try:
            self.result = self.application(environ, recorded_start_response)
        except BaseException:
            self._failed('oaexcept')
            self._done()
            raise
        return self

    def _write(self, data):
        self.body.write(data)
        self.body.flush()

    def _done(self):
        for file in (self.body, self.copy):
            if file is not None:
                file.close()

    def __iter__(self):
        try:
            for data in self.result:
                self._write(data)
                yield data
        except GeneratorExit:
            raise
        except BaseException:
            self._failed('orexcept')
            raise

    def close(self):
        try:
            if hasattr(self.result, 'close'):
                self.result.close()
        except BaseException:
            self._failed('ofexcept')
            raise
        finally:
            self._done()

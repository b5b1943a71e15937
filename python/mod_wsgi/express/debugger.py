"""pdb where an exception leaves the application."""

import pdb
import sys
import traceback


class PostMortemDebugger:
    """An application that hands its exceptions to a person.

    The exception goes on afterwards, so the client gets what it would have got.
    """

    def __init__(self, application, startup):
        self.application = application
        self.debugger = pdb.Pdb()
        if startup:
            self._at_startup()

    def _at_startup(self):
        # Breakpoints set now are there when a request comes.
        def stop_here():
            self.debugger.set_trace()

        stop_here()

    def _look(self):
        traceback.print_exc()
        self.debugger.reset()
        self.debugger.interaction(None, sys.exc_info()[2])

    def __call__(self, environ, start_response):
        try:
            result = self.application(environ, start_response)
        except Exception:
            self._look()
            raise
        return self._iterate(result)

    def _iterate(self, result):
        try:
            yield from result
        except GeneratorExit:
            raise
        except Exception:
            self._look()
            raise
        finally:
            close = getattr(result, 'close', None)
            if close is not None:
                try:
                    close()
                except Exception:
                    self._look()
                    raise

"""pdb where an exception leaves the application, and at breakpoints set when the server starts.

https://docs.python.org/3/library/pdb.html
"""

import bdb
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
        def stop_here():
            self.debugger.set_trace()

        stop_here()

    def _watch(self):
        """Have this thread stop at the breakpoints that there are.

        Tracing is a matter of the thread, and a request comes on another one than the handler was
        made on.
        """
        if self.debugger.breaks:
            self.debugger.reset()
            # As if a person had said "continue" here.
            self.debugger.botframe = sys._getframe(1)
            self.debugger.set_continue()
            sys.settrace(self.debugger.trace_dispatch)

    def _look(self):
        # Where the person is; the log has it once it has left the application.
        traceback.print_exc(file=self.debugger.stdout)
        self.debugger.reset()
        self.debugger.interaction(None, sys.exc_info()[2])

    def _run(self, call, *args):
        try:
            self._watch()
            return call(*args)
        except (StopIteration, bdb.BdbQuit):
            raise
        except Exception:
            self._look()
            raise
        finally:
            sys.settrace(None)

    def __call__(self, environ, start_response):
        return Response(self._run, self._run(self.application, environ, start_response))


class Response:
    """What the application returned: its code runs here, too."""

    def __init__(self, run, result):
        self.run = run
        self.result = result
        self.iterator = None

    def __iter__(self):
        return self

    def __next__(self):
        if self.iterator is None:
            self.iterator = self.run(iter, self.result)
        return self.run(next, self.iterator)

    def close(self):
        if hasattr(self.result, 'close'):
            self.run(self.result.close)

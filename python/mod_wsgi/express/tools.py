"""Coverage and profiles of an application, written when the server stops.

Both are matters of a thread: what is begun where the application is loaded sees nothing of requests,
which come on Apache's own threads. So the application is wrapped, and each request begins anew.
"""

import atexit
import os
import sys
import threading
import time


class Watched:
    """An application with something begun before it runs, and ended after."""

    def __init__(self, application, begin, end):
        self.application = application
        self.begin = begin
        self.end = end

    def __call__(self, environ, start_response):
        self.begin()
        try:
            result = self.application(environ, start_response)
        finally:
            self.end()
        return WatchedResponse(self, result)


class WatchedResponse:
    """What a watched application returned: its code runs here, too."""

    def __init__(self, watched, result):
        self.watched = watched
        self.result = result

    def __iter__(self):
        self.watched.begin()
        try:
            yield from self.result
        finally:
            self.watched.end()

    def close(self):
        self.watched.begin()
        try:
            if hasattr(self.result, 'close'):
                self.result.close()
        finally:
            self.watched.end()


def start_coverage(directory):
    """Measure coverage; the report goes to that directory."""
    import coverage

    # The data go there, too: the current directory may not be ours to write to.
    measured = coverage.Coverage(data_file=os.path.join(directory, '.coverage'))
    measured.start()

    def report():
        measured.stop()
        measured.html_report(directory=directory)

    atexit.register(report)


def covered(application):
    """The application, with its requests measured, too."""

    def begin():
        # What coverage has threads begin with that Python makes. Where it uses sys.monitoring, which
        # sees all threads, there is none.
        trace = threading.gettrace()
        if trace is not None and sys.gettrace() is None:
            sys.settrace(trace)

    return Watched(application, begin, lambda: None)


def start_profiler(directory):
    """Profile what this thread does; the statistics go to a file in that directory."""
    import cProfile

    profiler = cProfile.Profile()
    profiler.enable()

    def dump():
        profiler.disable()
        name = '%d-%d.pstats' % (time.time() * 1000000, os.getpid())
        profiler.dump_stats(os.path.join(directory, name))

    atexit.register(dump)
    return profiler


def profiled(application, profiler):
    """The application, with its requests in the profile instead of whatever else goes on."""
    profiler.disable()
    busy = threading.Lock()
    mine = threading.local()

    def begin():
        # A profiler is for one thread at a time, and there is one that serves while debugging.
        mine.held = busy.acquire(blocking=False)
        if mine.held:
            profiler.enable()

    def end():
        if mine.held:
            mine.held = False
            profiler.disable()
            busy.release()

    return Watched(application, begin, end)

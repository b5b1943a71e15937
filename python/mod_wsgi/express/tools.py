"""Coverage and profiles of an application, written when the server stops."""

import atexit
import os
import time


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


def start_profiler(directory):
    """Profile this thread; the statistics go to a file in that directory."""
    import cProfile

    profiler = cProfile.Profile()
    profiler.enable()

    def dump():
        profiler.disable()
        name = '%d-%d.pstats' % (time.time() * 1000000, os.getpid())
        profiler.dump_stats(os.path.join(directory, name))

    atexit.register(dump)

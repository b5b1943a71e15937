"""Ends this process when a loaded source file changes, so that a fresh one takes its place.

A thread compares the times of all files that modules came from. It looks rather than listens,
because that works on every file system, network shares and containers' mounts included.
"""

import os
import signal
import sys
import threading

_lock = threading.Lock()
_interval = 1.0
_times = {}
_tracked = set()
_thread = None
_stop = threading.Event()


def _say(text):
    print('monitor (pid=%d): %s' % (os.getpid(), text), file=sys.stderr, flush=True)


def _source(path):
    """The source that a compiled file was made from."""
    root, extension = os.path.splitext(path)
    return root + '.py' if extension in ('.pyc', '.pyo', '.pyd') else path


def _modified(path):
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def _files():
    for module in list(sys.modules.values()):
        # A module can be anything, and say of itself whatever it likes.
        try:
            path = getattr(module, '__file__', None)
        except Exception:
            continue
        if isinstance(path, str):
            path = _source(path)
            if os.path.isfile(path) or path in _times:
                yield path
    yield from list(_tracked)


def _changed():
    """The first file that is not what it was, if there is one."""
    for path in _files():
        now = _modified(path)
        if path not in _times:
            _times[path] = now
        elif _times[path] != now:
            return path
    return None


def _restart(path):
    _say('Change detected to "%s".' % path)
    _say('Triggering process restart.')
    os.kill(os.getpid(), signal.SIGINT)


def _watch():
    while not _stop.wait(_interval):
        path = _changed()
        if path is not None:
            _restart(path)
            return


def track_changes(path):
    """Watch a file that is no module, a template or a configuration file say."""
    path = os.path.abspath(path)
    _tracked.add(path)
    _times.setdefault(path, _modified(path))


def start_reloader(interval=1.0):
    """Begin to watch. A second call can only make it look more often."""
    global _interval, _thread

    if os.name == 'nt':
        _say('Source code reloading is not supported on Windows.')
        return

    with _lock:
        if _thread is not None:
            _interval = min(_interval, interval)
            return
        _interval = interval
        _say('Starting change monitor.')
        _thread = threading.Thread(target=_watch, name='mod_wsgi-reloader', daemon=True)
        _thread.start()

    try:
        from mod_wsgi import subscribe_shutdown
    except ImportError:
        # Not inside Apache: the thread is a daemon.
        return

    def stop(*args, **kwargs):
        _stop.set()

    subscribe_shutdown(stop)

# The parts of the mod_wsgi module that are shorter in Python than in C calls. Runs once in each
# interpreter, in a namespace of its own, with `write` and `threshold` from the engine.

import os
import signal as signals
import sys

DEBUG, INFO, WARNING, ERROR, CRITICAL = 7, 6, 4, 3, 2


# Attributes of `mod_wsgi` that are made when they are asked for: with what it imports, `logging` is
# two megabytes in each interpreter.
made = {}


def __getattr__(name):
    if name != "LogHandler":
        raise AttributeError(f"module 'mod_wsgi' has no attribute {name!r}", name=name)
    if name not in made:
        made.setdefault(name, make_log_handler())
    return made[name]


def __dir__():
    return sorted({*vars(module), "LogHandler"} - {"__dir__", "__getattr__"})


def make_log_handler():
    import logging

    class LogHandler(logging.Handler):
        def emit(self, record):
            number = record.levelno
            if not isinstance(number, int):
                raise TypeError(f"levelno must be an int, not {type(number).__name__}")
            if number >= 50:
                level = CRITICAL
            elif number >= 40:
                level = ERROR
            elif number >= 30:
                level = WARNING
            elif number >= 20:
                level = INFO
            else:
                level = DEBUG
            if level > threshold():
                return
            try:
                text = self.format(record)
                file = getattr(record, "pathname", None)
                line = getattr(record, "lineno", None)
                write(
                    level,
                    text,
                    file if isinstance(file, str) else None,
                    line if isinstance(line, int) and 0 <= line < 1 << 31 else 0,
                )
            except Exception:
                self.handleError(record)

    LogHandler.__qualname__ = "LogHandler"
    return LogHandler


class SignalIntercept:
    __slots__ = ("_signal", "_process")

    def __init__(self, signal):
        self._signal = signal
        self._process = os.getpid()

    def __call__(self, *args, **kwargs):
        if os.getpid() != self._process:
            return self._signal(*args, **kwargs)
        number, _ = _arguments(*args, **kwargs)
        number = int(number)
        # What the real function returns, and raises for numbers that are none.
        previous = signals.getsignal(number)
        if INFO <= threshold():
            import traceback

            text = (
                f"Ignoring Python signal handler registration for signal {number} in WSGI "
                "process; mod_wsgi manages signals."
            )
            stack = "".join(traceback.format_stack(sys._getframe(1)))
            write(INFO, f"{text}\n{stack}", None, 0)
        return previous


def _arguments(*args, **kwargs):
    names = ("signalnum", "handler")
    count = len(args) + len(kwargs)
    if count != 2:
        raise TypeError(f"signal() takes exactly 2 arguments ({count} given)")
    for name in kwargs:
        if name not in names[len(args) :]:
            raise TypeError(f"signal() got an unexpected keyword argument '{name}'")
    return (*args, *(kwargs[name] for name in names[len(args) :]))


def intercept_signals():
    if not isinstance(signals.signal, SignalIntercept):
        signals.signal = SignalIntercept(signals.signal)

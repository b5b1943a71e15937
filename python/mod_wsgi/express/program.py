"""The program that does the work: where it is, and how it is told about this Python."""

import os


def program():
    """The path of the program ``mod_wsgi-express``.

    It is beside the Apache module: in ``mod_wsgi/server`` of an installed package, in the directory
    of a build otherwise.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    name = 'mod_wsgi-express.exe' if os.name == 'nt' else 'mod_wsgi-express'
    candidates = [os.path.join(package, 'server', name), os.path.join(package, '..', '..', name)]
    build = os.environ.get('MOD_WSGI_DIST')
    if build:
        candidates.insert(0, os.path.join(build, name))
    for path in candidates:
        if os.access(path, os.X_OK):
            return os.path.normpath(path)
    raise RuntimeError(
        'the program mod_wsgi-express is missing: there is no %s; install mod_wsgi again'
        % os.path.normpath(candidates[0])
    )


def environment(**more):
    """An environment in which the program uses this Python."""
    import sys

    return dict(os.environ, MOD_WSGI_EXPRESS_PYTHON=sys.executable, **more)

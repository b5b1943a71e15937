"""The command ``mod_wsgi-express``.

All of it is in a program of its own. This only says which Python it was called with, for that is
the one whose packages the application will see.
"""

import os
import subprocess
import sys

from .program import environment, program


def run(words, **variables):
    """Become the program, or stay as its parent where a process cannot become another."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        path = program()
    except RuntimeError as error:
        sys.exit('mod_wsgi-express: error: %s' % error)
    if os.name == 'nt':
        sys.exit(subprocess.call([path] + words, env=environment(**variables)))
    os.execve(path, ['mod_wsgi-express'] + words, environment(**variables))


def main():
    run(sys.argv[1:])


def start(*args):
    """As ``mod_wsgi-express start-server`` with these words."""
    run(['start-server'] + [str(word) for word in args])


if __name__ == '__main__':
    main()

"""Where Apache is, under the names these facts have always had.

Asked of ``apxs`` when a name is first used: a package that was built elsewhere cannot know.
"""

import os
import subprocess

from .platform import find_program

_QUERIES = ('BINDIR', 'SBINDIR', 'LIBEXECDIR', 'PROGNAME', 'MPM_NAME', 'SHLIBPATH_VAR')
_facts = {}


def _query(apxs, name):
    done = subprocess.run([apxs, '-q', name], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ''


def _beside(name, default):
    for directory in (_facts['SBINDIR'], _facts['BINDIR']):
        path = os.path.join(directory, name)
        if directory and os.path.exists(path):
            return path
    return default


def _load():
    apxs = find_program([os.environ.get('APXS') or 'apxs2', 'apxs'])
    for name in _QUERIES:
        _facts[name] = _query(apxs, name) if apxs else ''
    program = _facts['PROGNAME'] or 'httpd'
    _facts['HTTPD'] = _beside(program, find_program([program, 'apache2'], program))
    _facts['ROTATELOGS'] = _beside('rotatelogs', 'rotatelogs')
    _facts['SHLIBPATH'] = ''
    _facts['WITH_HTTPD_PACKAGE'] = False


def __getattr__(name):
    if name.startswith('_') or not name.isupper():
        raise AttributeError(name)
    if not _facts:
        _load()
    try:
        return _facts[name]
    except KeyError:
        raise AttributeError(name) from None

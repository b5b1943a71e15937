"""Facts about this Python and this machine, under the names they have always had."""

import os
import shutil
import sys
import sysconfig

MOD_WSGI_SO = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'server', 'mod_wsgi.so'
)
PYTHON_VERSION = '%d%d' % sys.version_info[:2]
PYTHON_SOABI = sysconfig.get_config_var('SOABI') or ''
PYTHON_SOEXT = sysconfig.get_config_var('EXT_SUFFIX') or ''

# The module opens the library of the Python it needs itself.
PYTHON_DYLIB = ''


def find_program(names, default=None, paths=()):
    """The path of the first of these programs that is on PATH, in /usr/sbin, or in ``paths``."""
    search = [os.environ.get('PATH', os.defpath), '/usr/sbin'] + list(paths)
    for name in names:
        found = shutil.which(name, path=os.pathsep.join(search))
        if found:
            return found
    return default


def find_mimetypes():
    """A file that gives content types to the endings of file names."""
    import mimetypes

    for path in mimetypes.knownfiles:
        if os.path.exists(path):
            return path
    return '/dev/null'


SHELL = find_program(['bash', 'sh'], default='/bin/sh')


def default_run_user():
    """The name of the current user, or its number as Apache writes one."""
    if os.name == 'nt':
        return '#0'
    import pwd

    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return '#%d' % uid


def default_run_group():
    """The name of the current group, or its number as Apache writes one."""
    if os.name == 'nt':
        return '#0'
    import grp

    gid = os.getgid()
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return '#%d' % gid

"""Tells mod_wsgi-express about this Python and the users it knows; prints JSON.

Arguments: names of users and groups to look up, as `user:NAME` and `group:NAME`.
"""
import sys

# The current directory may hold a json.py of somebody else's.
sys.path[:] = [path for path in sys.path if path]

import grp
import importlib.util
import json
import locale
import mimetypes
import os
import pwd
import sysconfig


def named(lookup, identity, attribute):
    try:
        return getattr(lookup(identity), attribute)
    except KeyError:
        return None


def known(name):
    kind, name = name.split(":", 1)
    number = name[1:] if name.startswith("#") else None
    try:
        if kind == "user":
            entry = pwd.getpwuid(int(number)) if number else pwd.getpwnam(name)
            return [entry.pw_uid] + os.getgrouplist(entry.pw_name, entry.pw_gid)
        entry = grp.getgrgid(int(number)) if number else grp.getgrnam(name)
        return [entry.gr_gid]
    except (KeyError, OverflowError, ValueError):
        # A bare number needs no entry in the database.
        if number and number.isdigit():
            return [int(number)]
        return None


def supported(name):
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        return False
    return True


def current_locale():
    for name in ("LC_ALL", "LC_CTYPE", "LANG", "LANGUAGE"):
        value = os.environ.get(name)
        if value:
            value = value.split(":")[0] if name == "LANGUAGE" else value
            return value if supported(value) else "C"
    return "C"


def telemetry():
    try:
        return importlib.util.find_spec("mod_wsgi.telemetry") is not None
    except ImportError:
        return False


print(json.dumps({
    "executable": sys.executable,
    "prefix": os.path.normpath(sys.prefix),
    "version": list(sys.version_info[:3]),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "mime_types": next((path for path in mimetypes.knownfiles if os.path.exists(path)), None),
    "user": named(pwd.getpwuid, os.getuid(), "pw_name"),
    "group": named(grp.getgrgid, os.getgid(), "gr_name"),
    "known": {name: known(name) for name in sys.argv[1:]},
    "locale": current_locale(),
    "locales": [name for name in ("en_US.UTF-8", "C.UTF-8") if supported(name)],
    "telemetry": telemetry(),
}))

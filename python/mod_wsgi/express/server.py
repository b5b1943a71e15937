"""Setting a server up from Python."""

import json
import os
import subprocess
import tempfile

from .options import words
from .program import environment, program


class ConfigurationError(Exception):
    """The options do not make a server."""


def setup_server(command, args, options):
    """Write the files of a server; as ``mod_wsgi-express setup-server``.

    ``command`` is 'setup-server' or 'start-server', ``args`` has the entry point, if any, and
    ``options`` the attributes that ``mod_wsgi.express.options`` lists. The dictionary is returned
    with what was decided added to it. Nothing is started.
    """
    line = [program(), command, '--setup-only'] + words(options)
    if args:
        line += ['--', str(args[0])]
    with tempfile.TemporaryDirectory() as directory:
        report = os.path.join(directory, 'report.json')
        done = subprocess.run(
            line, env=environment(MOD_WSGI_EXPRESS_REPORT=report), stderr=subprocess.PIPE, text=True
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ['it failed without a word']
            raise ConfigurationError(lines[-1].replace('mod_wsgi-express: error: ', '', 1))
        with open(report, encoding='utf-8') as file:
            options.update(json.load(file))
    return options

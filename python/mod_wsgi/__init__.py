"""The package side of mod_wsgi.

Inside Apache there is a module of this name that is built in; it takes over this package's path,
so that both are one. The path is extended over all directories that have a ``mod_wsgi`` in them,
for other distributions (mod_wsgi-telemetry is one) put packages of their own below this name.
"""

import pkgutil

__path__ = pkgutil.extend_path(__path__, __name__)

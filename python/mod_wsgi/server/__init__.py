"""The older name of ``mod_wsgi.express``, and the directory of the Apache module.

As a Django app, ``mod_wsgi.server`` still has the command ``runmodwsgi``.
"""

import warnings

warnings.warn(
    'mod_wsgi.server is deprecated; use mod_wsgi.express instead. In Django, name '
    '"mod_wsgi.express" in INSTALLED_APPS.',
    FutureWarning,
    stacklevel=2,
)

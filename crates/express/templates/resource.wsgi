# Hands files to the WSGI scripts of --add-handler. Written by mod_wsgi-express, and written anew
# each time it is run.

import os

{% include "package.py" %}

from mod_wsgi.express.runtime import ResourceHandler

handler = ResourceHandler([
{% for ending, script in paths.handlers %}
    ({{ ending|py }}, {{ script|py }}),
{% endfor %}
])

handle_request = handler.handle_request
reload_required = handler.reload_required

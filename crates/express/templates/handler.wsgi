# Loads the application and hands it its requests. Written by mod_wsgi-express, and written anew
# each time it is run.

import os
import sys

{% include "package.py" %}

working_directory = {{ paths.working_directory|py }}

os.environ['MOD_WSGI_EXPRESS'] = 'true'
os.environ['MOD_WSGI_SERVER_NAME'] = {{ (names.site or names.host)|py }}
os.environ['MOD_WSGI_SERVER_ALIASES'] = {{ o.server_alias|join(" ")|py }}
{% if application.reload_on_changes %}
os.environ['MOD_WSGI_RELOADER_ENABLED'] = 'true'
{% endif %}
{% if mode == "debug" %}
os.environ['MOD_WSGI_DEBUG_MODE'] = 'true'
{% for feature in ["debugger", "coverage", "profiler", "recorder", "gdb"] %}
{% if o["enable_" ~ feature] %}
os.environ['MOD_WSGI_{{ feature|upper }}_ENABLED'] = 'true'
{% endif %}
{% endfor %}

sys.path.insert(0, working_directory)
{% endif %}
{% if mode == "debug" and (o.enable_coverage or o.enable_profiler) %}

from mod_wsgi.express import tools

{% if o.enable_coverage %}
tools.start_coverage({{ paths.coverage|py }})
{% endif %}
{% if o.enable_profiler %}
profiler = tools.start_profiler({{ paths.profiler|py }})
{% endif %}
{% endif %}

from mod_wsgi.express.runtime import ApplicationHandler

handler = ApplicationHandler(
    {{ application.entry_point|py }},
    application_type={{ application.type|py }},
    callable_object={{ o.callable_object|py }},
    mount_point={{ paths.mount_point|py }},
{% if mode == "debug" %}
    debug_mode=True,
    enable_debugger={{ o.enable_debugger|py }},
    debugger_startup={{ o.debugger_startup|py }},
    enable_recorder={{ o.enable_recorder|py }},
    recorder_directory={{ paths.recorder|py }},
{% endif %}
)
{% if mode == "debug" and o.enable_profiler %}
handler.application = tools.profiled(handler.application, profiler)
{% endif %}
{% if mode == "debug" and o.enable_coverage %}
handler.application = tools.covered(handler.application)
{% endif %}

handle_request = handler.handle_request
{% if application.reload %}
reload_required = handler.reload_required
{% endif %}
{% if application.reload_on_changes %}

from mod_wsgi.express.reloader import start_reloader

start_reloader()
{% endif %}

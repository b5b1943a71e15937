# Collects metrics and shows them on a web page. Written by mod_wsgi-express, and written anew each
# time it is run.

import os

socket = {{ telemetry.socket|py }}

# A collector that was killed leaves its socket behind.
if os.path.exists(socket):
    os.unlink(socket)

from mod_wsgi.telemetry.server import main

main([
    '--listen', 'unix:' + socket,
    '--http-host', '127.0.0.1',
    '--http-port', {{ (telemetry.port|string)|py }},
    '--log-level', 'INFO',
])

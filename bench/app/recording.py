"""hello.py, while its process records what it does."""

import mod_wsgi
from hello import application

mod_wsgi.start_recording_metrics()

__all__ = ["application"]

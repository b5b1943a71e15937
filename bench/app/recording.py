"""Loaded beside an application: its process records what it does."""

import mod_wsgi

mod_wsgi.start_recording_metrics()

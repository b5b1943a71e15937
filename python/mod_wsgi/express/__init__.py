"""mod_wsgi-express: an Apache of its own for one WSGI application. A Django app, too."""

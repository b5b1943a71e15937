"""``manage.py runmodwsgi``: serves a Django project with Apache.

All options of ``mod_wsgi-express start-server`` are options of this command. What Django's settings
say already is taken from there: the application, the directory, and static files.
"""

import os
import sys

from django.core.management.base import BaseCommand, CommandError

from mod_wsgi.express.cli import run
from mod_wsgi.express.options import descriptions, words

WHITENOISE = 'whitenoise.middleware.WhiteNoiseMiddleware'


class Command(BaseCommand):
    help = 'Starts Apache/mod_wsgi web server.'

    # The application imports the project itself, in processes of its own.
    requires_system_checks = []

    def add_arguments(self, parser):
        for option in descriptions:
            keywords = {'dest': option.attribute, 'help': option.help.replace('%', '%%')}
            if option.kind == 'flag':
                parser.add_argument(*option.flags, action='store_true', **keywords)
                continue
            if option.kind == 'pair':
                keywords['nargs'] = 2
            keywords['action'] = 'append' if option.repeats else 'store'
            keywords['metavar'] = tuple(option.metavars)
            if len(option.metavars) == 1:
                keywords['metavar'] = option.metavars[0]
            if option.type is not None:
                keywords['type'] = option.type
            parser.add_argument(*option.flags, default=None, **keywords)

    def handle(self, *args, **options):
        from django.conf import settings

        values = dict(options)
        module, callable_object = self.application(settings)
        values['application_type'] = 'module'
        values['callable_object'] = callable_object
        if not values.get('entry_point'):
            values['entry_point'] = module
        if not values.get('working_directory'):
            values['working_directory'] = self.directory(settings)
        values['url_aliases'] = self.static_files(settings) + list(values.get('url_aliases') or [])
        run(['start-server'] + words(values), MOD_WSGI_EXPRESS_CALLER='runmodwsgi')

    @staticmethod
    def application(settings):
        """Module and attribute of the WSGI application."""
        name = getattr(settings, 'WSGI_APPLICATION', None)
        if not name:
            raise CommandError(
                "WSGI_APPLICATION is not set. Name the project's WSGI application in the settings, "
                "such as WSGI_APPLICATION = 'mysite.wsgi.application'."
            )
        module, dot, attribute = name.rpartition('.')
        if not dot:
            raise CommandError(
                "WSGI_APPLICATION has to be of the form 'module.attribute', not %r." % name
            )
        return module, attribute

    @staticmethod
    def directory(settings):
        """The directory that has the project in it."""
        base = getattr(settings, 'BASE_DIR', None)
        if base:
            return str(base)
        package = settings.SETTINGS_MODULE.split('.')[0]
        path = getattr(sys.modules.get(package), '__file__', None) or os.path.abspath(package)
        return os.path.dirname(os.path.dirname(os.path.abspath(path)))

    @staticmethod
    def static_files(settings):
        """Aliases for what collectstatic collected, unless the project serves that itself."""
        middleware = list(getattr(settings, 'MIDDLEWARE', None) or [])
        middleware += list(getattr(settings, 'MIDDLEWARE_CLASSES', None) or [])
        url, root = settings.STATIC_URL, settings.STATIC_ROOT
        if WHITENOISE in middleware or not root or not url or not url.startswith('/'):
            return []
        return [(url.rstrip('/') or '/', str(root))]

"""``runmodwsgi``, with as much of Django as it needs: the tests run without Django."""

import argparse
import sys
import types
import unittest


def fake_django(settings):
    base = types.ModuleType('django.core.management.base')
    base.BaseCommand = object
    base.CommandError = type('CommandError', (Exception,), {})
    conf = types.ModuleType('django.conf')
    conf.settings = types.SimpleNamespace(**settings)
    names = ['django', 'django.core', 'django.core.management']
    modules = {name: types.ModuleType(name) for name in names}
    modules['django.core.management.base'] = base
    modules['django.conf'] = conf
    return modules


SETTINGS = {
    'WSGI_APPLICATION': 'mysite.wsgi.app',
    'BASE_DIR': '/srv/my site',
    'SETTINGS_MODULE': 'mysite.settings',
    'STATIC_URL': '/static/',
    'STATIC_ROOT': '/srv/static',
    'MIDDLEWARE': [],
}


class RunModWsgiTest(unittest.TestCase):
    def command(self, **settings):
        modules = fake_django(dict(SETTINGS, **settings))
        name = 'mod_wsgi.express.management.commands.runmodwsgi'
        real = {name: sys.modules.pop(name, None) for name in list(modules) + [name]}

        def restore():
            for key, module in real.items():
                sys.modules.pop(key, None)
                if module is not None:
                    sys.modules[key] = module

        self.addCleanup(restore)
        sys.modules.update(modules)
        import importlib

        return importlib.import_module(name)

    def line(self, *words, **settings):
        """The command line that the program would get."""
        module = self.command(**settings)
        seen = []
        module.run = lambda words, **variables: seen.append((words, variables))
        command = module.Command()
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        command.handle(**vars(parser.parse_args(words)))
        ((line, variables),) = seen
        self.assertEqual(variables, {'MOD_WSGI_EXPRESS_CALLER': 'runmodwsgi'})
        return line

    def test_what_the_settings_say(self):
        self.assertEqual(
            sorted(self.line()),
            sorted([
                'start-server', '--application-type=module', '--entry-point=mysite.wsgi',
                '--callable-object=app', '--working-directory=/srv/my site',
                '--url-alias', '/static', '/srv/static',
            ]),
        )

    def test_options(self):
        line = self.line(
            '--port', '80', '--access-log', '--setenv', 'A', 'b', '--working-directory', '/w',
            '--url-alias', '/media', '/m', '--entry-point', 'other',
        )
        for word in ('--port=80', '--access-log', '--working-directory=/w', '--entry-point=other'):
            self.assertIn(word, line)
        at = line.index('--url-alias')
        self.assertEqual(
            line[at:at + 6], ['--url-alias', '/static', '/srv/static', '--url-alias', '/media', '/m']
        )

    def test_d29_fractions_are_numbers(self):
        line = self.line('--switch-interval', '0.5', '--slow-requests', '2')
        self.assertIn('--switch-interval=0.5', line)
        self.assertIn('--slow-requests=2.0', line)

    def test_d29_a_project_without_an_application_is_told_so(self):
        module = self.command(WSGI_APPLICATION=None)
        with self.assertRaisesRegex(module.CommandError, 'WSGI_APPLICATION is not set'):
            module.Command().handle()
        module = self.command(WSGI_APPLICATION='nodots')
        with self.assertRaisesRegex(module.CommandError, "'module.attribute'"):
            module.Command().handle()

    def test_static_files_that_the_project_serves_itself(self):
        whitenoise = ['whitenoise.middleware.WhiteNoiseMiddleware']
        for settings in (
            {'MIDDLEWARE': whitenoise},
            {'STATIC_ROOT': None},
            {'STATIC_URL': 'https://cdn.example.com/'},
            {'STATIC_URL': None},
        ):
            self.assertNotIn('--url-alias', self.line(**settings), settings)

    def test_without_a_base_directory_it_is_the_parent_of_the_package(self):
        package = types.ModuleType('mysite')
        package.__file__ = '/srv/project/mysite/__init__.py'
        sys.modules['mysite'] = package
        self.addCleanup(sys.modules.pop, 'mysite')
        self.assertIn('--working-directory=/srv/project', self.line(BASE_DIR=None))

    def test_the_command_of_the_older_app_is_the_same(self):
        module = self.command()
        sys.modules.pop('mod_wsgi.server.management.commands.runmodwsgi', None)
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            from mod_wsgi.server.management.commands.runmodwsgi import Command
        self.assertIs(Command, module.Command)

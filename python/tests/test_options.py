"""The options as Python has them, and the ways into the program."""

import optparse
import os
import stat
import subprocess
import sys
import unittest
import warnings

from mod_wsgi.express.options import descriptions, option_list, words

from .test_runtime import Files


class OptionsTest(unittest.TestCase):
    def parse(self, *line):
        return vars(optparse.OptionParser(option_list=option_list).parse_args(list(line))[0])

    def test_the_attributes_are_those_programs_know(self):
        values = self.parse('--setenv', 'A', 'b', '--url-alias', '/x', 'y', '--ssl-port', '443')
        self.assertEqual(values['setenv_variables'], [('A', 'b')])
        self.assertEqual(values['url_aliases'], [('/x', 'y')])
        self.assertEqual(values['https_port'], 443)
        self.assertEqual(values['port'], 8000)
        self.assertEqual(values['log_level'], 'warn')
        self.assertIsNone(values['processes'])
        self.assertIs(values['access_log'], False)

    def test_attributes_become_a_command_line_again(self):
        line = [
            '--access-log', '--port=9000', '--python-path=/a', '--python-path=/b',
            '--setenv', 'A', 'b c', '--telemetry-interval=2.5',
        ]
        self.assertEqual(sorted(words(self.parse(*line))), sorted(line))
        self.assertEqual(words(self.parse()), [])
        self.assertEqual(words({'unknown': 1, 'port': None}), [])

    def test_every_option_is_described(self):
        self.assertGreater(len(descriptions), 147)
        self.assertEqual(len(descriptions), len({option.attribute for option in descriptions}))


class ProgramTest(Files):
    """The program is played by a script."""

    def run_python(self, text, script, **variables):
        path = self.write('mod_wsgi-express', script)
        os.chmod(path, stat.S_IRWXU)
        return subprocess.run(
            [sys.executable, '-c', text], capture_output=True, text=True, timeout=60,
            env=dict(
                os.environ, MOD_WSGI_DIST=self.directory,
                PYTHONPATH=os.pathsep.join(filter(None, sys.path)), **variables
            ),
        )

    def test_the_command_is_the_program_with_this_python(self):
        done = self.run_python(
            'from mod_wsgi.express.cli import start; start("app.py", "--port", 80)',
            '#!/bin/sh\necho "$MOD_WSGI_EXPRESS_PYTHON $*"\nexit 3\n',
        )
        self.assertEqual(done.stdout, '%s start-server app.py --port 80\n' % sys.executable)
        self.assertEqual(done.returncode, 3)

    def test_setup_server_returns_what_was_decided(self):
        text = (
            'from mod_wsgi.express.server import *\n'
            'options = {"port": 81, "url_aliases": [("/a", "b")], "host": None}\n'
            'done = setup_server("setup-server", ["app.py"], options)\n'
            'print(done is options, done["server_root"])'
        )
        done = self.run_python(
            text,
            '#!/bin/sh\necho "$*"\necho \'{"server_root": "/r"}\' >"$MOD_WSGI_EXPRESS_REPORT"\n',
        )
        self.assertEqual(
            done.stdout,
            'setup-server --setup-only --port=81 --url-alias /a b -- app.py\nTrue /r\n',
            done.stderr,
        )

    def test_setup_server_raises_what_the_program_says(self):
        done = self.run_python(
            'from mod_wsgi.express.server import *\n'
            'try:\n    setup_server("setup-server", [], {})\n'
            'except ConfigurationError as error:\n    print(error)',
            '#!/bin/sh\necho "mod_wsgi-express: error: it is wrong" >&2\nexit 2\n',
        )
        self.assertEqual(done.stdout, 'it is wrong\n', done.stderr)

    def test_a_missing_program_is_told(self):
        done = self.run_python(
            'import os; os.environ["MOD_WSGI_DIST"] = "/no/such"\n'
            'from mod_wsgi.express import program, cli\n'
            'program.__file__ = "/no/such/a/b/c.py"\ncli.main()',
            '',
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn('the program mod_wsgi-express is missing', done.stderr)


class PackageTest(unittest.TestCase):
    def test_the_older_name_warns(self):
        sys.modules.pop('mod_wsgi.server', None)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter('always')
            import mod_wsgi.server  # noqa: F401
        self.assertEqual([w.category for w in seen], [FutureWarning])
        self.assertIn('mod_wsgi.server is deprecated; use mod_wsgi.express instead.', str(seen[0].message))

    def test_names_that_others_import(self):
        from mod_wsgi.express import apxs_config, cli, platform, reloader, runtime, server

        for module, names in {
            cli: ['main', 'start'],
            server: ['setup_server', 'ConfigurationError'],
            runtime: ['ApplicationHandler', 'ResourceHandler', 'PostMortemDebugger',
                      'RequestRecorder'],
            reloader: ['start_reloader', 'track_changes'],
            platform: ['MOD_WSGI_SO', 'PYTHON_DYLIB', 'PYTHON_VERSION', 'SHELL',
                       'default_run_user', 'default_run_group', 'find_program', 'find_mimetypes'],
            apxs_config: ['BINDIR', 'SBINDIR', 'LIBEXECDIR', 'SHLIBPATH', 'SHLIBPATH_VAR',
                          'PROGNAME', 'MPM_NAME', 'HTTPD', 'ROTATELOGS', 'WITH_HTTPD_PACKAGE'],
        }.items():
            for name in names:
                self.assertTrue(hasattr(module, name), '%s.%s' % (module.__name__, name))
        self.assertTrue(os.path.isabs(platform.find_program(['sh'])))
        self.assertEqual(platform.find_program(['no-such-program'], 'default'), 'default')

    def test_other_distributions_extend_the_package(self):
        import mod_wsgi

        self.assertTrue(all(os.path.isdir(path) for path in mod_wsgi.__path__))

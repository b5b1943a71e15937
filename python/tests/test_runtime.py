"""The handlers that Apache calls."""

import io
import os
import tempfile
import textwrap
import unittest

from mod_wsgi.express.runtime import ApplicationHandler, ResourceHandler

ECHO = '''
def application(environ, start_response):
    start_response('200 OK', [])
    return [('%s|%s' % (environ['SCRIPT_NAME'], environ['PATH_INFO'])).encode()]
'''


class Files(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, 'w') as file:
            file.write(textwrap.dedent(text))
        return path


class ApplicationTest(Files):
    def check(self, mount_point, environ, expect):
        handler = ApplicationHandler(self.write('app.py', ECHO), mount_point=mount_point)
        answer = handler(dict(environ), lambda status, headers: None)
        self.assertEqual(b''.join(answer).decode(), expect)

    def test_the_whole_path_is_the_applications(self):
        self.check('/', {'SCRIPT_NAME': '/a', 'PATH_INFO': '/b'}, '|/a/b')
        self.check('/', {'SCRIPT_NAME': '', 'PATH_INFO': '/'}, '|/')

    def test_below_a_mount_point(self):
        for point in ('/foo', '/foo/'):
            self.check(point, {'SCRIPT_NAME': '/foo/bar', 'PATH_INFO': ''}, '/foo|/bar')
            self.check(point, {'SCRIPT_NAME': '/foo', 'PATH_INFO': '/'}, '/foo|/')
            self.check(point, {'SCRIPT_NAME': '/foo', 'PATH_INFO': ''}, '/foo|')
            # Another name that only begins like it.
            self.check(point, {'SCRIPT_NAME': '/foobar', 'PATH_INFO': ''}, '|/foobar')

    def test_behind_a_proxy_that_says_where_the_site_is(self):
        environ = {
            'SCRIPT_NAME': '/outside',
            'PATH_INFO': '/bar',
            'mod_wsgi.mount_point': '/outside',
            'mod_wsgi.script_name': '/foo',
        }
        self.check('/foo', environ, '/outside|/bar')
        self.check('/', environ, '/outside|/foo/bar')

    def test_a_changed_script_has_to_be_loaded_again(self):
        path = self.write('app.py', ECHO)
        handler = ApplicationHandler(path)
        self.assertFalse(handler.reload_required('/'))
        os.utime(path, (1, 1))
        self.assertTrue(handler.reload_required('/'))
        os.unlink(path)
        self.assertTrue(handler.reload_required('/'))

    def test_nothing_is_reloaded_while_debugging(self):
        path = self.write('app.py', ECHO)
        handler = ApplicationHandler(path, debug_mode=True)
        os.utime(path, (1, 1))
        self.assertFalse(handler.reload_required('/'))

    def test_a_module(self):
        handler = ApplicationHandler(
            'mod_wsgi.diagnostics.hello', application_type='module', callable_object='application'
        )
        seen = []
        answer = handler({}, lambda status, headers: seen.append((status, headers)))
        self.assertEqual(b''.join(answer), b'Hello World!')
        self.assertEqual(
            seen, [('200 OK', [('Content-type', 'text/plain'), ('Content-Length', '12')])]
        )

    def test_a_missing_callable_is_named(self):
        path = self.write('app.py', ECHO)
        with self.assertRaisesRegex(AttributeError, "'__wsgi__' has no attribute 'nothing'"):
            ApplicationHandler(path, callable_object='nothing')

    def test_future_features_of_ours_are_not_the_scripts(self):
        path = self.write('app.py', 'application = __name__, __file__')
        handler = ApplicationHandler(path)
        self.assertEqual(handler.application, ('__wsgi__', path))


class ResourceTest(Files):
    def test_each_extension_has_its_script(self):
        one = self.write('one.py', ECHO)
        two = self.write(
            'two.py',
            '''
            def handle_request(environ, start_response):
                return [b'two']

            def reload_required(resource):
                return resource.endswith('changed.two')
            ''',
        )
        handler = ResourceHandler([('.one', one), ('.two', two)])
        environ = {'SCRIPT_NAME': '/a.b/file.one', 'PATH_INFO': ''}
        self.assertEqual(handler(environ, lambda *args: None), [b'/a.b/file.one|'])
        self.assertEqual(handler({'SCRIPT_NAME': '/x.two'}, None), [b'two'])
        self.assertTrue(handler.reload_required('/changed.two'))
        self.assertFalse(handler.reload_required('/x.two'))
        self.assertFalse(handler.reload_required('/changed.one'))


class DiagnosticsTest(unittest.TestCase):
    def test_environ_shows_everything_and_echoes_the_body(self):
        from mod_wsgi.diagnostics.environ import application

        environ = {
            'wsgi.errors': io.StringIO(),
            'wsgi.input': io.BytesIO(b'the body'),
            'mod_wsgi.process_group': 'g',
            'odd': '\udcff',
        }
        seen = []
        text = b''.join(application(environ, lambda *args: seen.append(args))).decode()
        self.assertIn('PID: %d\n' % os.getpid(), text)
        self.assertIn('mod_wsgi.process_group: g\n', text)
        self.assertIn("odd: '\\udcff'\n", text)
        self.assertTrue(text.endswith('\n\nthe body'), text[-40:])
        self.assertEqual(seen[0][0], '200 OK')

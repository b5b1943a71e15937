"""Recorder, debugger, profiler and change monitor."""

import glob
import io
import os
import pdb
import subprocess
import sys
import threading
import time

from mod_wsgi.express.debugger import PostMortemDebugger
from mod_wsgi.express.recorder import RequestRecorder
from mod_wsgi.express.runtime import ApplicationHandler

from .test_runtime import Files


class RecorderTest(Files):
    def record(self, application, body=b''):
        recorder = RequestRecorder(application, self.directory)
        written = []

        def start_response(status, headers, exc_info=None):
            return written.append

        environ = {'wsgi.input': io.BytesIO(body), 'odd': '\udcff'}
        answer = recorder(environ, start_response)
        try:
            data = b''.join(answer)
        finally:
            answer.close()
        return environ, written, data

    def read(self, kind):
        (path,) = glob.glob(os.path.join(self.directory, '*.' + kind))
        with open(path, 'rb') as file:
            return file.read()

    def test_a_request_and_its_response(self):
        def application(environ, start_response):
            start_response('200 OK', [('A', 'b')])
            return [environ['wsgi.input'].read(2), b'!']

        environ, _, data = self.record(application, b'body')
        self.assertEqual(data, b'bo!')
        # What the application did not read is recorded all the same.
        self.assertEqual(self.read('icontent'), b'body')
        self.assertEqual(self.read('ocontent'), b'bo!')
        self.assertEqual(self.read('oheaders'), b"('200 OK', [('A', 'b')])\n")
        self.assertIn(b"'odd': '\\udcff'", self.read('iheaders'))

    def test_d23_the_write_callable_works_and_files_are_closed(self):
        def application(environ, start_response):
            write = start_response('200 OK', [])
            write(b'one')
            return [b'two']

        environ, written, data = self.record(application)
        self.assertEqual((written, data), ([b'one'], b'two'))
        self.assertEqual(self.read('ocontent'), b'onetwo')
        self.assertTrue(environ['wsgi.input'].closed)

    def test_exceptions(self):
        def call(environ, start_response):
            raise ValueError('in the call')

        with self.assertRaisesRegex(ValueError, 'in the call'):
            self.record(call)
        self.assertIn(b'ValueError: in the call', self.read('oaexcept'))

        class Answer:
            def __iter__(self):
                yield b'part'
                raise ValueError('in the iteration')

            def close(self):
                raise KeyError('in the close')

        with self.assertRaises(KeyError):
            self.record(lambda environ, start_response: Answer())
        self.assertIn(b'ValueError: in the iteration', self.read('orexcept'))
        self.assertIn(b"KeyError: 'in the close'", self.read('ofexcept'))


class DebuggerTest(Files):
    def test_an_exception_is_looked_at_and_goes_on(self):
        looked = []

        class Debugger(PostMortemDebugger):
            def _look(self):
                looked.append(sys.exc_info()[0])

        def call(environ, start_response):
            raise ValueError

        with self.assertRaises(ValueError):
            Debugger(call, False)({}, None)

        def iterate(environ, start_response):
            yield b'part'
            raise KeyError

        answer = Debugger(iterate, False)({}, None)
        self.assertEqual(next(answer), b'part')
        with self.assertRaises(KeyError):
            next(answer)
        self.assertEqual(looked, [ValueError, KeyError])

    def test_the_answer_is_closed(self):
        closed = []

        class Answer(list):
            def close(self):
                closed.append(True)

        debugger = PostMortemDebugger(lambda environ, start_response: Answer([b'x']), False)
        answer = debugger({}, None)
        self.assertEqual(next(answer), b'x')
        answer.close()
        self.assertEqual(closed, [True])


    def test_an_answer_that_nobody_wants_is_closed(self):
        closed = []

        class Answer(list):
            def close(self):
                closed.append(True)

        PostMortemDebugger(lambda environ, start_response: Answer(), False)({}, None).close()
        self.assertEqual(closed, [True])

    def test_requests_on_other_threads_stop_at_breakpoints(self):
        path = self.write(
            'app.py',
            '''
            def application(environ, start_response):
                answer = 42
                return [b'%d' % answer]
            ''',
        )
        said = io.StringIO()
        debugger = PostMortemDebugger(ApplicationHandler(path), False)
        debugger.debugger = pdb.Pdb(stdin=io.StringIO('p answer\ncontinue\n'), stdout=said)
        debugger.debugger.set_break(path, 4)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(list(debugger({}, None))))
        thread.start()
        thread.join(10)
        self.assertEqual(answers, [[b'42']])
        self.assertIn('(Pdb) 42\n', said.getvalue())


class ProcessTest(Files):
    """Things that happen to a whole process."""

    def start(self, program):
        return subprocess.Popen(
            [sys.executable, '-c', program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, cwd=self.directory,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
        )

    def test_a_profile_is_written_at_exit(self):
        process = self.start(
            'from mod_wsgi.express.tools import start_profiler\n'
            'start_profiler(%r)\nsum(range(10))' % self.directory
        )
        self.assertEqual(process.communicate()[0], '')
        import pstats

        (path,) = glob.glob(os.path.join(self.directory, '*.pstats'))
        pstats.Stats(path)

    def test_requests_on_other_threads_are_in_the_profile(self):
        # Not threading.Thread: nobody prepares Apache's threads for Python either.
        process = self.start(
            'import _thread, threading\n'
            'from mod_wsgi.express.tools import profiled, start_profiler\n'
            'def called():\n    pass\n'
            'def iterated():\n    pass\n'
            'def between():\n    pass\n'
            'def application(environ, start_response):\n'
            '    called()\n'
            '    def parts():\n        iterated()\n        yield b"part"\n'
            '    return parts()\n'
            'profiler = start_profiler(%r)\n'
            'application = profiled(application, profiler)\n'
            'between()\n'
            'done = threading.Event()\n'
            'def serve():\n'
            '    answer = application({}, None)\n'
            '    assert list(answer) == [b"part"]\n'
            '    answer.close()\n'
            '    done.set()\n'
            '_thread.start_new_thread(serve, ())\n'
            'assert done.wait(10)\n' % self.directory
        )
        self.assertEqual(process.communicate()[0], '')
        import pstats

        (path,) = glob.glob(os.path.join(self.directory, '*.pstats'))
        names = {name for _, _, name in pstats.Stats(path).stats}
        self.assertLessEqual({'called', 'iterated'}, names)
        self.assertNotIn('between', names)

    def test_requests_on_other_threads_are_traced_for_coverage(self):
        process = self.start(
            'import _thread, threading\n'
            'from mod_wsgi.express.tools import covered\n'
            'seen = set()\n'
            'def trace(frame, event, argument):\n'
            '    seen.add(frame.f_code.co_name)\n'
            'threading.settrace(trace)\n'
            'class Answer(list):\n'
            '    def close(self):\n        pass\n'
            'def called(environ, start_response):\n'
            '    return Answer([b"part"])\n'
            'application = covered(called)\n'
            'done = threading.Event()\n'
            'def serve():\n'
            '    answer = application({}, None)\n'
            '    assert list(answer) == [b"part"]\n'
            '    answer.close()\n'
            '    done.set()\n'
            '_thread.start_new_thread(serve, ())\n'
            'assert done.wait(10)\n'
            'assert {"called", "close"} <= seen, seen\n'
        )
        self.assertEqual(process.communicate()[0], '')

    def test_a_changed_file_ends_the_process(self):
        path = self.write('watched.txt', 'one')
        module = self.write('watched_module.py', '')
        for change in (
            lambda: self.write('watched.txt', 'two') and os.utime(path, (1, 1)),
            lambda: os.unlink(module),
        ):
            process = self.start(
                'import sys, time\nsys.path.insert(0, ".")\nimport watched_module\n'
                'from mod_wsgi.express.reloader import start_reloader, track_changes\n'
                'track_changes("watched.txt")\nstart_reloader(0.05)\nstart_reloader(5)\n'
                'print("watching", flush=True)\n'
                'try:\n    time.sleep(20)\nexcept KeyboardInterrupt:\n    print("interrupted")\n'
            )
            self.addCleanup(process.kill)
            lines = [process.stdout.readline(), process.stdout.readline()]
            start = 'monitor (pid=%d): ' % process.pid
            self.assertEqual(lines, [start + 'Starting change monitor.\n', 'watching\n'])
            # Let it see what there is before it changes.
            time.sleep(0.3)
            change()
            rest, _ = process.communicate(timeout=15)
            self.assertIn(start + 'Change detected to "', rest)
            self.assertIn(start + 'Triggering process restart.\n', rest)
            self.assertTrue(rest.endswith('interrupted\n'), rest)

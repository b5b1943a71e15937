"""The wheels and the source archive."""

import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BACKEND = os.path.join(ROOT, 'python', 'packaging', 'mod_wsgi_build.py')


def backend():
    spec = importlib.util.spec_from_file_location('mod_wsgi_build', BACKEND)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TagTest(unittest.TestCase):
    def test_engines_say_which_pythons(self):
        engines = [
            '_mod_wsgi.cpython-313-x86_64-linux-gnu.so',
            '_mod_wsgi.cpython-310-x86_64-linux-gnu.so',
            '_mod_wsgi.cpython-314t-darwin.so',
        ]
        abis = backend().abi_tags(engines)
        self.assertEqual(abis, ['cp310', 'cp313', 'cp314t'])
        name, every = backend().tags(abis, 'any')
        self.assertEqual(name, 'cp310.cp313.cp314-cp310.cp313.cp314t-any')
        self.assertIn('cp313-cp313-any', every)
        with self.assertRaises(SystemExit):
            backend().abi_tags(['engine.so'])

    def test_the_platform_is_that_of_the_newest_symbol(self):
        if not sys.platform.startswith('linux'):
            self.skipTest('only Linux has such tags')
        with tempfile.NamedTemporaryFile() as file:
            file.write(b'x\0GLIBC_2.2.5\0GLIBC_2.28\0NOGLIBC_2.99\0')
            file.flush()
            self.assertTrue(backend().platform_tag([file.name]).startswith('manylinux_2_28_'))
        self.assertTrue(backend().platform_tag([]).startswith('linux_'))


class ArchiveTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix='a b')
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def build(self):
        place = os.path.join(self.directory, 'dist')
        os.makedirs(os.path.join(place, 'engines'))
        names = ['mod_wsgi.so', 'wsgi-supervisor', 'mod_wsgi-express', 'default-python']
        for name in names + ['engines/_mod_wsgi.cpython-313-x86_64-linux-gnu.so']:
            path = os.path.join(place, name)
            with open(path, 'w') as file:
                file.write(name)
            os.chmod(path, 0o755)
        return place

    def test_a_wheel_has_the_package_and_the_build(self):
        name = backend().write_wheel(self.build(), self.directory, 'linux_x')
        self.assertRegex(name, r'^mod_wsgi-\d+\.\d+\.\d+-cp313-cp313-linux_x\.whl$')
        with zipfile.ZipFile(os.path.join(self.directory, name)) as wheel:
            names = wheel.namelist()
            self.assertEqual(len(names), len(set(names)))
            for name in (
                'mod_wsgi/express/options.json',
                'mod_wsgi/express/management/commands/runmodwsgi.py',
                'mod_wsgi/images/running.svg',
                'mod_wsgi/server/mod_wsgi.so',
                'mod_wsgi/server/engines/_mod_wsgi.cpython-313-x86_64-linux-gnu.so',
            ):
                self.assertIn(name, names)
            # A prefix of the machine that built it is no business of others.
            self.assertFalse([name for name in names if 'default-python' in name])
            program = wheel.getinfo('mod_wsgi/server/mod_wsgi-express')
            self.assertEqual(program.external_attr >> 16 & 0o777, 0o755)
            info = [name for name in names if name.endswith('/entry_points.txt')]
            self.assertIn('mod_wsgi.express.cli:main', wheel.read(info[0]).decode())
            (record,) = [name for name in names if name.endswith('/RECORD')]
            lines = wheel.read(record).decode().splitlines()
            self.assertEqual([line.rsplit(',', 2)[0] for line in lines], names)

    def test_the_same_files_make_the_same_wheel(self):
        build = self.build()
        contents = []
        for place in ('one', 'two'):
            name = backend().write_wheel(build, os.path.join(self.directory, place), 'linux_x')
            with open(os.path.join(self.directory, place, name), 'rb') as file:
                contents.append(file.read())
        self.assertEqual(*contents)

    def test_an_incomplete_build_is_told(self):
        build = self.build()
        os.unlink(os.path.join(build, 'wsgi-supervisor'))
        with self.assertRaisesRegex(SystemExit, 'wsgi-supervisor; run `cargo xtask build`'):
            backend().write_wheel(build, self.directory)

    def test_the_source_archive_has_what_a_build_needs(self):
        name = backend().build_sdist(self.directory)
        with tarfile.open(os.path.join(self.directory, name)) as archive:
            names = archive.getnames()
        base = name[: -len('.tar.gz')]
        for file in ('PKG-INFO', 'pyproject.toml', 'Cargo.toml', 'Cargo.lock', '.cargo/config.toml',
                     'xtask/src/main.rs', 'crates/mod-wsgi/src/lib.rs', 'LICENSE',
                     'python/packaging/mod_wsgi_build.py', 'python/mod_wsgi/express/cli.py'):
            self.assertIn('%s/%s' % (base, file), names)
        self.assertFalse([name for name in names if '/target/' in name or '__pycache__' in name])

    def test_metadata_needs_no_build(self):
        info = backend().prepare_metadata_for_build_wheel(self.directory)
        with open(os.path.join(self.directory, info, 'METADATA'), encoding='utf-8') as file:
            text = file.read()
        self.assertTrue(text.startswith('Metadata-Version: '))
        self.assertIn('\nName: mod_wsgi\n', text)

    def test_without_rust_it_says_where_rust_comes_from(self):
        program = (
            'import runpy, sys; m = runpy.run_path(sys.argv[1]); m["build_wheel"](sys.argv[2])'
        )
        environment = {'PATH': self.directory, 'HOME': self.directory}
        words = [sys.executable, '-c', program, BACKEND, self.directory]
        done = subprocess.run(words, env=environment, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn('building needs Rust', done.stderr)
        self.assertIn('https://rustup.rs', done.stderr)


if __name__ == '__main__':
    unittest.main()

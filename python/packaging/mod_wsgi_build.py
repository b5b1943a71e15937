"""Makes the Python distribution ``mod_wsgi``: wheels and the source archive.

Three callers:

* pip, through the hooks of PEP 517 that pyproject.toml names: builds with ``cargo xtask build``,
  with an engine for the Python that pip runs in; the variable APXS chooses the Apache;
* ``cargo xtask dist``, which has built for many Pythons: ``mod_wsgi_build.py wheel --from DIR``;
* tests, which have a build already, in the same way.

A wheel holds programs of this machine, but nothing in it depends on where it was built or is
installed: the Apache is looked for when it is started. Only the standard library is used, so that
a build needs nothing from a network but Cargo's crates.

https://peps.python.org/pep-0517/
https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

import argparse
import base64
import gzip
import hashlib
import io
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

NAME = 'mod_wsgi'
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Archives made of the same files are the same: nothing in them has a time of its own.
EPOCH = int(os.environ.get('SOURCE_DATE_EPOCH') or 315532800)

CLASSIFIERS = [
    'Development Status :: 3 - Alpha',
    'License :: OSI Approved :: Apache Software License',
    'Operating System :: POSIX :: Linux',
    'Programming Language :: Python :: Implementation :: CPython',
    'Programming Language :: Rust',
    'Topic :: Internet :: WWW/HTTP :: WSGI :: Server',
]

# Of a build, what goes beside the package's Python: into mod_wsgi/server.
PROGRAMS = ['mod_wsgi.so', 'wsgi-supervisor', 'mod_wsgi-express']


def version():
    """The version of the workspace."""
    with open(os.path.join(ROOT, 'Cargo.toml'), encoding='utf-8') as file:
        text = file.read()
    return re.search(r'(?m)^\[workspace\.package\]\n(?:[^\[].*\n)*?version = "([^"]+)"', text)[1]


def metadata():
    """The file METADATA, or PKG-INFO."""
    with open(os.path.join(ROOT, 'README.md'), encoding='utf-8') as file:
        readme = file.read()
    lines = [
        'Metadata-Version: 2.1',
        'Name: ' + NAME,
        'Version: ' + version(),
        'Summary: Apache module that hosts Python WSGI applications, in Rust',
        'License: Apache-2.0',
        'License-File: LICENSE',
        'Requires-Python: >=3.10',
        'Description-Content-Type: text/markdown',
    ]
    lines += ['Classifier: ' + classifier for classifier in CLASSIFIERS]
    return '\n'.join(lines) + '\n\n' + readme


# Tags: which Pythons can use a wheel, and on which machines.


def abi_tags(engines):
    """``cp313`` for an engine called ``_mod_wsgi.cpython-313-x86_64-linux-gnu.so``, and so on."""
    found = []
    for name in engines:
        match = re.match(r'_mod_wsgi\.cpython-(\d)(\d+)(t?)[-.]', name)
        if not match:
            raise SystemExit('%s is not the name of an engine' % name)
        found.append((int(match[1]), int(match[2]), match[3]))
    return ['cp%d%d%s' % tag for tag in sorted(set(found))]


def platform_tag(files):
    """The oldest system these programs run on.

    With glibc it is known from the versions of its symbols that they ask for, so that pip does not
    install them where they cannot be loaded.
    """
    own = re.sub(r'[-.]', '_', sysconfig.get_platform())
    if not own.startswith('linux_'):
        return own
    newest = (0, 0)
    for path in files:
        with open(path, 'rb') as file:
            for match in re.finditer(rb'\0GLIBC_(\d+)\.(\d+)(?=[.\0])', file.read()):
                newest = max(newest, (int(match[1]), int(match[2])))
    if newest == (0, 0):
        # Another C library, which has no such versions.
        return own
    # The oldest glibc that these tags know.
    newest = max(newest, (2, 17))
    return 'manylinux_%d_%d_%s' % (newest + (own[len('linux_'):],))


def tags(abis, platform):
    """The compressed tag of the file name, and all it stands for."""
    pythons = sorted({abi.rstrip('t') for abi in abis}, key=abis_order)
    name = '.'.join(pythons), '.'.join(abis), platform
    every = ['%s-%s-%s' % (python, abi, platform) for python in pythons for abi in abis]
    return '-'.join(name), every


def abis_order(tag):
    return int(re.sub(r'\D', '', tag)[1:])


# Wheels.


class Wheel:
    """An archive that notes what is put into it."""

    def __init__(self, path):
        self.path = path
        self.archive = zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED)
        self.record = []

    def add(self, name, data, executable=False):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()
        quoted = '"%s"' % name if ',' in name else name
        self.record.append('%s,sha256=%s,%d\n' % (quoted, digest, len(data)))
        self._write(name, data, executable)

    def add_file(self, name, path):
        with open(path, 'rb') as file:
            self.add(name, file.read(), os.access(path, os.X_OK))

    def close(self, info):
        name = info + '/RECORD'
        self._write(name, ''.join(self.record + [name + ',,\n']).encode())
        self.archive.close()

    def _write(self, name, data, executable=False):
        entry = zipfile.ZipInfo(name, date_time=gmtime())
        entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        self.archive.writestr(entry, data)


def gmtime():
    import time

    return time.gmtime(EPOCH)[:6]


def package_files():
    """The package's own files, as names in a wheel and paths."""
    top = os.path.join(ROOT, 'python')
    for directory, directories, files in os.walk(os.path.join(top, NAME)):
        directories[:] = sorted(name for name in directories if name != '__pycache__')
        for name in sorted(files):
            if name.endswith(('.py', '.json', '.svg')):
                path = os.path.join(directory, name)
                yield os.path.relpath(path, top).replace(os.sep, '/'), path


def write_info(add, tag_list):
    """The files that describe a distribution; ``add`` takes their names and texts."""
    add('METADATA', metadata())
    lines = ['Wheel-Version: 1.0', 'Generator: ' + __name__, 'Root-Is-Purelib: false']
    lines += ['Tag: ' + tag for tag in tag_list]
    add('WHEEL', '\n'.join(lines) + '\n')
    add('entry_points.txt', '[console_scripts]\nmod_wsgi-express = mod_wsgi.express.cli:main\n')
    with open(os.path.join(ROOT, 'LICENSE'), encoding='utf-8') as file:
        add('licenses/LICENSE', file.read())


def info_directory():
    return '%s-%s.dist-info' % (NAME, version())


def write_wheel(build, directory, platform=None):
    """Makes a wheel of a build; gives the name of the file."""
    programs = [os.path.join(build, name) for name in PROGRAMS]
    missing = [path for path in programs if not os.path.isfile(path)]
    if missing:
        raise SystemExit('there is no %s; run `cargo xtask build` first' % missing[0])
    engines = sorted(
        name for name in os.listdir(os.path.join(build, 'engines')) if name.endswith('.so')
    )
    paths = [os.path.join(build, 'engines', name) for name in engines]
    abis = abi_tags(engines)
    tag, every = tags(abis, platform or platform_tag(programs + paths))

    os.makedirs(directory, exist_ok=True)
    file_name = '%s-%s-%s.whl' % (NAME, version(), tag)
    new = os.path.join(directory, '.new-' + file_name)
    wheel = Wheel(new)
    for name, path in package_files():
        wheel.add_file(name, path)
    for name, path in zip(PROGRAMS, programs):
        wheel.add_file('mod_wsgi/server/' + name, path)
    for name, path in zip(engines, paths):
        wheel.add_file('mod_wsgi/server/engines/' + name, path)
    info = info_directory()
    write_info(lambda name, text: wheel.add('%s/%s' % (info, name), text.encode()), every)
    wheel.close(info)
    os.replace(new, os.path.join(directory, file_name))
    return file_name


# The source archive.


def source_files():
    """What is in version control; of an unpacked archive, everything but what was built."""
    listed = None
    if os.path.exists(os.path.join(ROOT, '.git')) and shutil.which('git'):
        words = ['git', '-C', ROOT, 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
        listed = subprocess.run(words, stdout=subprocess.PIPE)
    if listed is not None and listed.returncode == 0:
        names = listed.stdout.decode().split('\0')
        return sorted(name for name in names if os.path.isfile(os.path.join(ROOT, name)))
    names = []
    for directory, directories, files in os.walk(ROOT):
        directories[:] = [d for d in directories if d not in ('target', '__pycache__', '.git')]
        names += [os.path.relpath(os.path.join(directory, name), ROOT) for name in files]
    return sorted(name for name in names if name != 'PKG-INFO')


def build_sdist(sdist_directory, config_settings=None):
    """The hook of PEP 517: the source archive."""
    base = '%s-%s' % (NAME, version())
    os.makedirs(sdist_directory, exist_ok=True)
    path = os.path.join(sdist_directory, base + '.tar.gz')

    def add(archive, name, data, mode=0o644):
        entry = tarfile.TarInfo('%s/%s' % (base, name))
        entry.size, entry.mtime, entry.mode = len(data), EPOCH, mode
        archive.addfile(entry, io.BytesIO(data))

    with open(path, 'wb') as file, gzip.GzipFile('', 'wb', 9, file, EPOCH) as packed:
        with tarfile.open(fileobj=packed, mode='w', format=tarfile.PAX_FORMAT) as archive:
            add(archive, 'PKG-INFO', metadata().encode())
            for name in source_files():
                source = os.path.join(ROOT, name)
                mode = 0o755 if os.access(source, os.X_OK) else 0o644
                with open(source, 'rb') as content:
                    add(archive, name, content.read(), mode)
    return os.path.basename(path)


# What pip calls.


def get_requires_for_build_wheel(config_settings=None):
    return []


def get_requires_for_build_sdist(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """The hook of PEP 517, so that pip need not build to know the name and version."""
    info = os.path.join(metadata_directory, info_directory())
    os.makedirs(os.path.join(info, 'licenses'), exist_ok=True)

    def add(name, text):
        with open(os.path.join(info, name), 'w', encoding='utf-8') as file:
            file.write(text)

    abi = own_abi()
    write_info(add, ['%s-%s-%s' % (abi.rstrip('t'), abi, platform_tag([]))])
    return os.path.basename(info)


def own_abi():
    free = 't' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''
    return 'cp%d%d%s' % (sys.version_info[0], sys.version_info[1], free)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """The hook of PEP 517: builds, for this Python and the Apache that APXS names."""
    cargo = shutil.which('cargo') or shutil.which(os.path.expanduser('~/.cargo/bin/cargo'))
    if not cargo:
        raise SystemExit(
            'mod_wsgi: there is no cargo on PATH: building needs Rust 1.88 or newer, which comes '
            'from https://rustup.rs. A wheel made by `cargo xtask dist` needs no compiler.'
        )
    command = [cargo, 'xtask', 'build', '--release', '--python', sys.executable]
    environment = dict(os.environ)
    # pip puts a Python path for this hook there, which is nothing to the Pythons xtask asks.
    environment.pop('PYTHONPATH', None)
    if subprocess.call(command, cwd=ROOT, env=environment, stdout=sys.stderr) != 0:
        raise SystemExit('mod_wsgi: the build failed; what it said is above')
    # It runs here, on this machine, which is what pip's own tag says.
    own = re.sub(r'[-.]', '_', sysconfig.get_platform())
    return write_wheel(os.path.join(ROOT, 'target', 'dist'), wheel_directory, own)


# What cargo xtask dist calls.


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = parser.add_subparsers(dest='task', required=True)
    for task in ('wheel', 'sdist'):
        sub = tasks.add_parser(task)
        sub.add_argument('--to', required=True, metavar='DIRECTORY')
        if task == 'wheel':
            sub.add_argument('--from', dest='build', required=True, metavar='BUILD')
    given = parser.parse_args()
    if given.task == 'wheel':
        name = write_wheel(given.build, given.to)
    else:
        name = build_sdist(given.to)
    print(os.path.join(given.to, name))


if __name__ == '__main__':
    main()

//! The Python distribution: a wheel of the build installs and serves, and so does its source.

#![allow(clippy::unwrap_used)]

use tests::{Mpm, Package, Site, matrix};

const WHERE: &str = "
import sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [sys.prefix.encode()]
";

/// Every file is what RECORD says, and no file is without a line in it.
const RECORD: &str = "
import base64, hashlib, importlib.metadata, os
dist = importlib.metadata.distribution('mod_wsgi')
assert dist.metadata['Requires-Python'] == '>=3.10'
listed = set()
for file in dist.files:
    path = os.path.normpath(dist.locate_file(file))
    listed.add(path)
    if file.hash:
        with open(path, 'rb') as content:
            data = content.read()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()
        assert (file.hash.mode, file.hash.value, file.size) == ('sha256', digest, len(data)), file
top = os.path.normpath(dist.locate_file('mod_wsgi'))
for directory, _, names in os.walk(top):
    for name in names:
        path = os.path.join(directory, name)
        assert path in listed or '__pycache__' in path, path
wheel = dist.read_text('WHEEL')
abi = 'cp%d%d' % __import__('sys').version_info[:2]
assert 'Tag: %s-%s-' % (abi, abi) in wheel, wheel
assert 'Root-Is-Purelib: false' in wheel, wheel
import warnings
warnings.simplefilter('error', FutureWarning)
import mod_wsgi, mod_wsgi.express
assert not hasattr(mod_wsgi, 'version')
try:
    import mod_wsgi.server
except FutureWarning as warning:
    assert 'use mod_wsgi.express instead' in str(warning)
else:
    raise AssertionError('no warning')
";

fn serves(package: &Package) {
    let home = package.prefix.display().to_string();
    let config = package.says(&["module-config"]);
    let module = package.says(&["module-location"]);
    assert_eq!(
        config,
        format!("LoadModule wsgi_module \"{}\"\nWSGIPythonHome \"{home}\"\n", module.trim_end())
    );
    let server = Site::plain(Mpm::Event).conf(config).mount("/", "where.wsgi", WHERE).start();
    // A wheel's engine may be of another patch level than the Python that installs it.
    server.log().allow("Compiled for Python/");
    server.log().allow("Runtime using Python/");
    assert_eq!(server.get("/").with_status(200).text(), home);
    server.stop();
}

#[test]
fn a_wheel_installs_without_a_compiler_and_serves() {
    let pythons = match matrix::nightly("a wheel for every Python") {
        true => matrix::pythons(),
        false => vec![matrix::python()],
    };
    for python in &pythons {
        let package = Package::of_wheel(python);
        let version = package.says(&["--version"]);
        assert_eq!(version, format!("mod_wsgi-express {}\n", env!("CARGO_PKG_VERSION")));
        let checked = package.python().args(["-c", RECORD]).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        serves(&package);
    }
}

/// All that pip does from source: unpacks, builds everything optimised, installs.
#[test]
fn pip_builds_and_installs_the_source() {
    if matrix::nightly("pip install of the source") {
        let python = matrix::python();
        let package = Package::of_source(&python);
        serves(&package);
    }
}

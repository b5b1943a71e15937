//! Extension modules that support one interpreter only, as most do: they work where an application
//! is alone, and the log says what to do where it is not.

#![allow(clippy::unwrap_used)]

use tests::{Mpm, Site, Venv, matrix};

const PACKAGES: [&str; 2] = ["numpy>=2,<3", "pydantic>=2,<3"];

const SCRIPT: &str = "
import numpy, pydantic

class Item(pydantic.BaseModel):
    numbers: list[int]

def application(environ, start_response):
    item = Item(numbers=['1', '2', environ['QUERY_STRING'] or '3'])
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(numpy.array(item.numbers).sum()).encode()]
";

#[test]
fn numpy_and_pydantic_work_in_a_plain_configuration() {
    if !matrix::nightly("numpy and pydantic, which take long to install") {
        return;
    }
    matrix::for_each_cell(|cell| {
        let Some(venv) = Venv::with(&cell.python, &PACKAGES) else { return };
        let server = Site::new(cell.mpm, &venv.home()).mount("/", "s.wsgi", SCRIPT).start();
        for _ in 0..10 {
            assert_eq!(server.get("/?4").with_status(200).text(), "7");
        }
        server.log().refuse("sub-interpreter");
        server.stop();
    });
}

#[test]
fn with_two_applications_the_log_says_what_to_do() {
    if !matrix::nightly("numpy and pydantic, which take long to install") {
        return;
    }
    for python in matrix::pythons() {
        let Some(venv) = Venv::with(&python, &PACKAGES) else { return };
        let server = Site::new(Mpm::Event, &venv.home())
            .one_child(4)
            .mount("/one", "one.wsgi", SCRIPT)
            .mount("/two", "two.wsgi", SCRIPT)
            .start();
        let statuses = ["/one", "/two"].map(|path| server.get(path).status);
        // What works in the first may not in the second; whatever fails is followed by advice.
        server.log().allow("[wsgi:error]");
        server.log().expect("'WSGIApplicationGroup %{GLOBAL}'");
        let failed = statuses.contains(&500);
        if failed {
            server.log().expect("WSGI1101: ");
        }
        matrix::note(&format!("Python {python}: {statuses:?} in two sub-interpreters"));
        server.stop();
    }
}

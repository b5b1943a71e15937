//! Where programs linked with this find libpython, and the tests their Python.

fn main() {
    pyo3_build_config::add_libpython_rpath_link_args();
    let executable = pyo3_build_config::get().executable().unwrap_or_default();
    println!("cargo:rustc-env=WSGI_TOWER_TEST_PYTHON={executable}");
}

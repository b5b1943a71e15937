//! The cfgs of the Python built for, and where the tests find the Python built for.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    pyo3_build_config::add_libpython_rpath_link_args();
    let executable = pyo3_build_config::get().executable().unwrap_or_default();
    println!("cargo:rustc-env=WSGI_CORE_TEST_PYTHON={executable}");
}

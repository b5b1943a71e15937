//! The Python this is linked with, which it runs unless told otherwise.

fn main() {
    pyo3_build_config::add_libpython_rpath_link_args();
    let executable = pyo3_build_config::get().executable().unwrap_or_default();
    println!("cargo:rustc-env=HYPER_SERVER_PYTHON={executable}");
}

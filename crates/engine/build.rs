//! The cfgs and the patch level of the Python built for.

use std::env;

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    let config = pyo3_build_config::get();
    let executable = config.executable().unwrap_or_default();
    // Only the version is in the configuration; the patch level is what a header would tell C code.
    // A build for another machine cannot ask, and then nothing is compared.
    let micro = config
        .executable()
        .and_then(|_| config.run_python_script("import sys; print(sys.version_info.micro)").ok());
    let micro = micro.as_deref().map(str::trim).unwrap_or_default();
    println!("cargo:rustc-env=ENGINE_PYTHON_MICRO={micro}");
    println!("cargo:rustc-env=ENGINE_TEST_PYTHON={executable}");
    // Only tests link libpython: the module is loaded into processes that have it.
    if env::var_os("PYO3_BUILD_EXTENSION_MODULE").is_none() {
        pyo3_build_config::add_libpython_rpath_link_args();
    }
}

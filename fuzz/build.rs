//! Where the target that runs Python finds it.

fn main() {
    pyo3_build_config::add_libpython_rpath_link_args();
    let executable = pyo3_build_config::get().executable().unwrap_or_default();
    println!("cargo:rustc-env=FUZZ_PYTHON={executable}");
}

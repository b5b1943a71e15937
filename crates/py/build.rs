//! Hands the `Py_3_x` and `Py_GIL_DISABLED` cfgs of the Python built for to this crate.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}

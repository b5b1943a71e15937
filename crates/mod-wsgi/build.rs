//! Lets the unit tests be linked: functions of the server exist only inside one, and tests of this
//! crate call none. For the module itself it says what the linker does anyway.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if cfg!(target_os = "macos") {
        println!("cargo::rustc-link-arg=-Wl,-undefined,dynamic_lookup");
    } else {
        println!("cargo::rustc-link-arg=-Wl,--unresolved-symbols=ignore-all");
    }
}

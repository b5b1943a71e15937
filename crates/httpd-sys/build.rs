//! Lets tests link the real APR, so that pools, tables and brigades are tested as they are.
//!
//! Functions of httpd itself exist only inside a server. A test does not call them, but the linker
//! would ask for them; it is told not to. The library as such is not linked by anybody here.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let Ok(libraries) = std::env::var("DEP_HTTPD_TEST_LINK_ARGS") else {
        return;
    };
    if cfg!(target_os = "macos") {
        println!("cargo::rustc-link-arg=-Wl,-undefined,dynamic_lookup");
    } else {
        println!("cargo::rustc-link-arg=-Wl,--unresolved-symbols=ignore-all");
    }
    for argument in libraries.split('\u{1f}') {
        println!("cargo::rustc-link-arg={argument}");
    }
}

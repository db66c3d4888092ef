//! Lets the linker lay out the program as `src/sys/served_first.ld` says.

use std::env;

/// Linkers that know no such script.
const UNFIT: [&str; 3] = ["gold", "mold", "wild"];

fn main() {
    println!("cargo::rerun-if-changed=src/sys/served_first.ld");
    let told = |name: &str| env::var(name).unwrap_or_default();
    let flags = told("CARGO_ENCODED_RUSTFLAGS");
    let is_fit = !UNFIT.iter().any(|linker| flags.contains(linker));
    let is_linux = told("CARGO_CFG_TARGET_OS") == "linux" && told("CARGO_CFG_TARGET_ENV") == "gnu";
    if is_linux && is_fit && told("PROFILE") == "release" {
        let folder = told("CARGO_MANIFEST_DIR");
        println!("cargo::rustc-link-arg-bin=sluice=-T{folder}/src/sys/served_first.ld");
    }
}

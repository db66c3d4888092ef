//! Lets the linker lay out the program as `src/sys/served_first.ld` says.

use std::env;

/// Linkers that know no such script.
const UNFIT: [&str; 3] = ["gold", "mold", "wild"];

fn main() {
    println!("cargo::rerun-if-changed=src/sys/served_first.ld");
    println!("cargo::rerun-if-env-changed=SLUICE_LAYOUT");
    let told = |name: &str| env::var(name).unwrap_or_default();
    // For other systems it was not tried.
    let is_known = told("CARGO_CFG_TARGET_OS") == "linux" && told("CARGO_CFG_TARGET_ENV") == "gnu";
    let is_wanted = told("PROFILE") == "release" && told("SLUICE_LAYOUT") != "off";
    let is_fit = !linkers().iter().any(|linker| UNFIT.iter().any(|unfit| linker.contains(unfit)));
    if let Ok(folder) = env::var("CARGO_MANIFEST_DIR")
        && is_known
        && is_wanted
        && is_fit
    {
        println!("cargo::rustc-link-arg-bin=sluice=-T{folder}/src/sys/served_first.ld");
    }
}

/// What names a linker: the one that Cargo was told of, and flags that choose another.
fn linkers() -> Vec<String> {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let chosen = flags.split('\x1f').filter(|flag| {
        ["fuse-ld=", "ld-path=", "linker="].iter().any(|option| flag.contains(option))
    });
    chosen.map(str::to_owned).chain(env::var("RUSTC_LINKER")).collect()
}

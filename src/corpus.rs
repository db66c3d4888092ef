//! The inputs that the fuzzers keep, for the plain tests.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Gives every file of `fuzz/corpus/NAME` to the body of the fuzz target `name`.
///
/// # Panics
/// There is no input, or the body panics with one; the file is named.
pub(crate) fn replay(name: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).expect("fuzz/corpus holds a folder for each target") {
        let file = entry.expect("a folder that can be listed").path();
        let input = fs::read(&file).expect("a file that can be read");
        assert!(catch_unwind(|| body(&input)).is_ok(), "{} fails", file.display());
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

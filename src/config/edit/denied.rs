//! The way out where the system denies a change: the mode that an owner has to change, or the owner who
//! has to run the command.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use super::super::place::or_here;
use crate::sys;

/// What the owner needs of a folder, where files are made and seen to the disk, and of a file.
const OF_FOLDER: u32 = 0o7;
const OF_FILE: u32 = 0o6;

/// What to do when it was denied to read or replace `file`.
pub(super) fn way_out(file: &Path) -> String {
    let obstacle = obstacle(file);
    let metadata = fs::metadata(obstacle);
    let own_bits = metadata.as_ref().ok().and_then(sys::own_bits);
    let needed = if metadata.is_ok_and(|found| found.is_dir()) { OF_FOLDER } else { OF_FILE };
    told(&obstacle.display().to_string(), own_bits.map(|bits| needed & !bits))
}

/// The file, or the folder above it that may not be entered or written in.
fn obstacle(file: &Path) -> &Path {
    let mut above = file.ancestors().skip(1).map(or_here);
    let Ok(found) = fs::metadata(file) else {
        return above.find(|folder| folder.exists()).unwrap_or(file);
    };
    let opened = OpenOptions::new().read(true).write(true).open(file);
    let is_closed = opened.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    if found.is_dir() || is_closed {
        return file;
    }
    above.next().filter(|folder| !sys::may_write_in(folder)).unwrap_or(file)
}

/// `lacking` are the owner's bits that are missing; `None` where somebody else is the owner.
fn told(obstacle: &str, lacking: Option<u32>) -> String {
    match lacking {
        None => format!("Run this as the owner of {obstacle}, or as root"),
        Some(0) => format!(
            "{obstacle} is yours and its mode lets you: something else forbids it, such as chattr +i, \
             SELinux or AppArmor"
        ),
        Some(lacking) => {
            let bits = [(0o4, 'r'), (0o2, 'w'), (0o1, 'x')];
            let letters = bits.iter().filter(|(bit, _)| lacking & bit != 0);
            let letters: String = letters.map(|(_, letter)| letter).collect();
            format!(
                "{obstacle} is yours, but its mode keeps you out: chmod u+{letters} {obstacle}, then \
                 try again"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_told_of_the_mode_and_anyone_else_of_the_owner() {
        for (lacking, words) in [
            (None, "Run this as the owner of /f, or as root"),
            (Some(0o2), "chmod u+w /f, then"),
            (Some(0o6), "chmod u+rw /f, then"),
            (Some(0o3), "chmod u+wx /f, then"),
            (Some(0), "something else forbids it"),
        ] {
            let told = told("/f", lacking);
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn what_is_not_there_is_kept_away_by_the_folder_that_is() {
        let folder = std::env::temp_dir();
        assert_eq!(obstacle(&folder.join("sluice-no-such").join("x").join("f")), folder);
        assert_eq!(obstacle(Path::new("sluice-no-such.toml")), Path::new("."));
        assert_eq!(obstacle(&folder), folder);
    }
}

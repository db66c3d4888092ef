//! The password of a relay proxy, in a file of its own beside the configuration. Each new one gets
//! another name than the one in use: until the configuration names it, the old one is whole, and a
//! gateway sees from the changed name that there is a new one.
//!
//! The names are those of the configuration with an ending that nobody else writes
//! (`sluice.toml.relay-password-1`): by it a file is known to be of this program, and of this configuration.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::logic::secret::Secret;

use super::super::place::{self, FILE_BYTES_MAX};
use super::change::{Change, ChangeError, Outcome};
use super::held::{HoldError, folder_of, remove_if_there};

/// The key that names the file.
const KEY: &str = "relay_proxy.password_file";
/// Follows the name of the configuration, and a number follows it.
const ENDING: &str = ".relay-password-";
/// Numbers that are tried: more are in use only where the files cannot be removed.
const NUMBER_MAX: u32 = 99;

/// What became of a file with a password that is of no use any more.
#[derive(Debug)]
pub enum Fate {
    /// It is gone.
    Removed(PathBuf),
    /// It stays: this program did not make it for this configuration.
    NotOurs(PathBuf),
    /// It stays: another configuration names it.
    Shared(PathBuf, PathBuf),
    /// It stays: the system does not let go of it.
    Stuck(PathBuf, io::Error),
}

impl Change {
    /// Writes `secret` into a new file, for those whom the configuration is meant for, and gives its
    /// name.
    ///
    /// # Errors
    /// There is no such file then.
    pub fn write_secret(&self, secret: &Secret) -> Result<String, ChangeError> {
        let folder = self.folder();
        // What commands left that were killed is not to use up the numbers.
        self.sweep(self.before().string(KEY).as_deref());
        let names = (1..=NUMBER_MAX).map(|number| format!("{}{number}", self.stem()));
        let name = names.into_iter().find(|name| fs::symlink_metadata(folder.join(name)).is_err());
        let name = name.ok_or_else(|| {
            let what = format!("{} holds too many files *{ENDING}*", folder.display());
            let error = io::Error::other("remove those that no configuration names");
            HoldError { what, error, way_out: None }
        })?;
        self.held.write_private(&folder.join(&name), secret.reveal().as_bytes())?;
        Ok(name)
    }

    /// As [`Change::finish`]; then files of passwords that this program made go, but for the one that is
    /// named. Tells what became of each, and of one that was named until now.
    ///
    /// # Errors
    /// The file stays as it was, and the password that it names.
    pub fn finish_with_secret(self, keys: &[&str]) -> Result<(Outcome, Vec<Fate>), ChangeError> {
        let (named, before) = (self.text.string(KEY), self.before().string(KEY));
        let sweeper = self.sweeper();
        match self.finish(keys) {
            Ok(outcome) => {
                let mut fates = sweeper.sweep(named.as_deref());
                let old = before.filter(|old| !old.is_empty() && named.as_ref() != Some(old));
                if let Some(old) = old.filter(|old| !sweeper.is_ours(old)) {
                    let file = sweeper.folder.join(old);
                    fates.extend(file.exists().then_some(Fate::NotOurs(file)));
                }
                Ok((outcome, fates))
            }
            Err(error) => {
                sweeper.sweep(before.as_deref());
                Err(error)
            }
        }
    }

    /// Removes files of passwords that this program made for this configuration, but for `named`: what
    /// commands left that were killed.
    pub fn sweep(&self, named: Option<&str>) -> Vec<Fate> {
        self.sweeper().sweep(named)
    }

    fn sweeper(&self) -> Sweeper {
        let configuration = self.held.file().to_owned();
        Sweeper { folder: self.folder().to_owned(), stem: self.stem(), configuration }
    }

    fn stem(&self) -> String {
        let name = self.held.file().file_name().unwrap_or_default();
        format!("{}{ENDING}", name.to_string_lossy())
    }

    /// The folder from which the configuration names files, as [`place::beside`].
    fn folder(&self) -> &Path {
        folder_of(self.held.file())
    }
}

/// Removes files by their names.
struct Sweeper {
    configuration: PathBuf,
    folder: PathBuf,
    stem: String,
}

impl Sweeper {
    fn sweep(&self, named: Option<&str>) -> Vec<Fate> {
        let named = named.map(|named| place::beside(&self.configuration, named));
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut ours: Vec<String> = names.filter(|name| self.is_ours(name)).collect();
        ours.sort();
        let files = ours.into_iter().map(|name| self.folder.join(name));
        files.filter(|file| Some(file) != named.as_ref()).map(|file| self.remove(file)).collect()
    }

    fn remove(&self, file: PathBuf) -> Fate {
        if let Some(other) = self.also_named_by(&file) {
            return Fate::Shared(file, other);
        }
        match remove_if_there(&file) {
            Ok(()) => Fate::Removed(file),
            Err(error) => Fate::Stuck(file, error),
        }
    }

    /// A number behind the stem; `.new` behind that while it is written.
    fn is_ours(&self, name: &str) -> bool {
        let number =
            name.strip_prefix(&self.stem).map(|rest| rest.strip_suffix(".new").unwrap_or(rest));
        number.is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
        })
    }

    /// A copy of a configuration names what the first one does.
    fn also_named_by(&self, file: &Path) -> Option<PathBuf> {
        let name = file.file_name()?.to_str()?;
        let names_it = |other: &PathBuf| {
            let is_small = fs::metadata(other)
                .is_ok_and(|found| found.is_file() && found.len() <= FILE_BYTES_MAX as u64);
            is_small && fs::read_to_string(other).is_ok_and(|text| text.contains(name))
        };
        let others = fs::read_dir(&self.folder).ok()?.flatten().map(|entry| entry.path());
        let is_other = |path: &PathBuf| {
            path.extension().is_some_and(|ending| ending == "toml")
                && path.file_name() != self.configuration.file_name()
        };
        others.filter(is_other).find(names_it)
    }
}

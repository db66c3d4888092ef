//! The password of a relay proxy, in a file of its own beside the configuration. Each new one gets
//! another name than the one in use: until the configuration names it, the old one is whole, and a
//! gateway sees from the changed name that there is a new one.

use std::path::Path;

use crate::logic::secret::Secret;

use super::change::{Change, ChangeError, Outcome};
use super::held::{HoldError, remove_if_there};

/// The key that names the file.
const KEY: &str = "relay_proxy.password_file";
/// Names that are tried. Nine are left over only where eight crashes left one each.
const NAMES: [&str; 9] = [
    "relay-password",
    "relay-password-2",
    "relay-password-3",
    "relay-password-4",
    "relay-password-5",
    "relay-password-6",
    "relay-password-7",
    "relay-password-8",
    "relay-password-9",
];

impl Change {
    /// Writes `secret` into a new file, for those whom the configuration is meant for, and gives its
    /// name.
    ///
    /// # Errors
    /// There is no such file then.
    pub fn write_secret(&self, secret: &Secret) -> Result<String, ChangeError> {
        let folder = self.folder();
        let free = NAMES.into_iter().find(|name| !folder.join(name).exists());
        let name = free.ok_or_else(|| {
            let what = format!("{} holds too many files named relay-password", folder.display());
            let error = std::io::Error::other("remove those that no configuration names");
            HoldError { what, error }
        })?;
        self.held.write_private(&folder.join(name), secret.reveal().as_bytes())?;
        Ok(name.to_owned())
    }

    /// As [`Change::finish`]; then the file of the old password goes, if this program made it, or
    /// else the new one.
    ///
    /// # Errors
    /// The file stays as it was.
    pub fn finish_with_secret(
        self,
        keys: &[&str],
        new: Option<&str>,
    ) -> Result<Outcome, ChangeError> {
        let folder = self.folder().to_owned();
        let old = self.before().string(KEY);
        let finished = self.finish(keys);
        let goes = match &finished {
            Ok(_) => old.as_deref().filter(|old| Some(*old) != new),
            Err(_) => new,
        };
        if let Some(name) = goes.filter(|name| NAMES.contains(name)) {
            // Nothing names it any more; one that stays is only litter, and as private as before.
            let _ = remove_if_there(&folder.join(name));
        }
        finished
    }

    /// The folder from which the configuration names files: that of its own name, not of what a link
    /// leads to.
    fn folder(&self) -> &Path {
        match self.named().parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }
}

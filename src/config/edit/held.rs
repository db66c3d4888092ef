//! A file held for a change: locked against other commands, and replaced as a whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys;

use super::super::place::{self, FILE_BYTES_MAX};
use super::denied::way_out;

/// How often a lock that another command holds is tried for, and the pause between. 10 s together:
/// commands hold it for milliseconds, so a longer wait has another cause.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// A file under lock. The lock is the system's (flock(2)) and ends with the process that holds it, in
/// whatever way that ends; the file `NAME.lock` itself stays, as taking it away would let two in.
#[derive(Debug)]
pub(crate) struct Held {
    file: PathBuf,
    /// What the file held when it was locked; `None` where there was none.
    before: Option<Vec<u8>>,
    _lock: File,
}

/// What cannot be done, and why.
#[derive(Debug)]
pub struct HoldError {
    /// As in `FILE cannot be opened for writing`.
    pub what: String,
    /// What the system says.
    pub error: io::Error,
    /// What to do about it, where that is known.
    pub way_out: Option<String>,
}

impl Held {
    /// Locks `file`, or where it is a symbolic link, the file that it leads to.
    ///
    /// # Errors
    /// It cannot be read and written, nor its folder; or another command does not let go of it.
    pub(crate) fn take(file: &Path) -> Result<Held, HoldError> {
        let file = fs::canonicalize(file).unwrap_or_else(|_| place::followed(file));
        // Whoever may not write the file may not replace it either, even if the folder would let him.
        match OpenOptions::new().read(true).write(true).open(&file) {
            Ok(found) => require_plain(&found).map_err(told(&file, "cannot be replaced"))?,
            Err(error) if error.kind() == ErrorKind::NotFound => make_folder(&file)?,
            Err(error) => return Err(told(&file, "cannot be opened for writing")(error)),
        }
        let lock = lock(&beside(&file, ".lock"), &file)?;
        let before = read(&file).map_err(told(&file, "cannot be read"))?;
        Ok(Held { file, before, _lock: lock })
    }

    /// The file itself, at the end of all links.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// What it holds; `None` where there is none yet.
    pub(crate) fn before(&self) -> Option<&[u8]> {
        self.before.as_deref()
    }

    /// Puts `bytes` in the place of the file, with its owner and mode: whoever looks, and whenever the
    /// machine stops, there is the old file or the new one. A file that was not there can be read by
    /// everyone.
    ///
    /// # Errors
    /// The file stays as it was.
    pub(crate) fn replace(&self, bytes: &[u8]) -> Result<(), HoldError> {
        let old = match &self.before {
            Some(_) => Some(File::open(&self.file).map_err(told(&self.file, "cannot be read"))?),
            None => None,
        };
        let prepare = |new: &File| match &old {
            Some(old) => sys::keep_access(new, old),
            None => sys::let_all_read(new),
        };
        // Who edits by hand takes no lock.
        let is_as_before = || Ok(read(&self.file)? == self.before);
        write(&self.file, bytes, prepare, is_as_before)
    }

    /// Writes another file, for those whom this one is meant for: its owner, and its group where it
    /// is for owner and group alone.
    ///
    /// # Errors
    /// There is no such file then, or the one that was there.
    pub(super) fn write_private(&self, file: &Path, bytes: &[u8]) -> Result<(), HoldError> {
        let like = File::open(&self.file).ok();
        let prepare =
            |new: &File| like.as_ref().map_or(Ok(()), |like| sys::keep_readers(new, like));
        write(file, bytes, prepare, || Ok(true))
    }
}

/// Writes `bytes` into a file beside `file`, sees them to the disk, and renames it.
fn write(
    file: &Path,
    bytes: &[u8],
    prepare: impl FnOnce(&File) -> io::Result<()>,
    may_replace: impl FnOnce() -> io::Result<bool>,
) -> Result<(), HoldError> {
    // One name for all: under the lock nobody else writes it, and what a crash left is written over.
    let fresh = beside(file, ".new");
    let written = (|| {
        remove_if_there(&fresh)?;
        let mut new = sys::create_private(&fresh)?;
        new.write_all(bytes)?;
        prepare(&new)?;
        new.sync_all()?;
        drop(new);
        if !may_replace()? {
            return Err(io::Error::other("it was changed by another program meanwhile"));
        }
        fs::rename(&fresh, file)
    })();
    if let Err(error) = written {
        // It is of no use to anybody; that it cannot be removed is not what went wrong first.
        let _ = fs::remove_file(&fresh);
        return Err(told(file, "cannot be replaced")(error));
    }
    let folder = folder_of(file);
    sys::sync_folder(folder)
        .map_err(told(folder, "cannot be seen to the disk; the change is made, but"))
}

fn lock(lock_file: &Path, file: &Path) -> Result<File, HoldError> {
    let opened = match File::open(lock_file) {
        Err(error) if error.kind() == ErrorKind::NotFound => create_lock(lock_file, file),
        opened => opened,
    };
    let lock = opened.map_err(told(lock_file, "cannot be opened"))?;
    for _ in 0..TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => {
                return Err(told(lock_file, "cannot be locked")(error));
            }
        }
    }
    let waited = (PAUSE * TRIES).as_secs();
    let error = io::Error::new(
        ErrorKind::TimedOut,
        format!("another command has held it for {waited} s; see which one hangs"),
    );
    Err(told(lock_file, "cannot be locked")(error))
}

/// Only the owner of the configuration may lock it: a lock that everyone can hold, anyone can keep.
fn create_lock(lock_file: &Path, file: &Path) -> io::Result<File> {
    match sys::create_private(lock_file) {
        Ok(lock) => {
            if let Ok(file) = File::open(file) {
                // Who is not the owner is root, or will be told when it comes to the file itself.
                let _ = sys::keep_owner(&lock, &file);
            }
            Ok(lock)
        }
        // Another command was quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => File::open(lock_file),
        Err(error) => Err(error),
    }
}

/// A device or a pipe would be lost when a file takes its place.
fn require_plain(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "it is no plain file"))
}

/// The bytes of a file, at most one more than is allowed; `None` where there is none.
fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match File::open(file) {
        Ok(file) => {
            file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn make_folder(file: &Path) -> Result<(), HoldError> {
    let folder = folder_of(file);
    fs::create_dir_all(folder).map_err(told(folder, "cannot be made"))
}

pub(super) fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

pub(super) fn folder_of(file: &Path) -> &Path {
    place::or_here(file.parent().unwrap_or(Path::new("")))
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.file_name().map_or_else(OsString::new, OsString::from);
    name.push(ending);
    file.with_file_name(name)
}

fn told(file: &Path, what: &str) -> impl FnOnce(io::Error) -> HoldError {
    let what = format!("{} {what}", file.display());
    let file = file.to_owned();
    move |error| {
        let way_out = match error.kind() {
            ErrorKind::PermissionDenied => Some(way_out(&file)),
            ErrorKind::ResourceBusy => Some(
                "Where the file is a mount of its own, as in a container, mount its folder instead"
                    .to_owned(),
            ),
            _ => None,
        };
        HoldError { what, error, way_out }
    }
}

impl std::fmt::Display for HoldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let HoldError { what, error, way_out } = self;
        write!(f, "{what}: {error}")?;
        way_out.as_ref().map_or(Ok(()), |way_out| write!(f, ". {way_out}"))
    }
}

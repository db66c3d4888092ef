//! One change of a configuration file, from the lock to the new file.

use std::fmt;
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};

use super::super::check;
use super::super::place::{self, Place};
use super::super::problem::Problem;
use super::held::{Held, HoldError};
use super::text::{Text, Unfit};

/// A byte order mark, which some editors of Windows begin a file with.
const MARK: char = '\u{feff}';

/// A file held for a change, and its text to change.
#[derive(Debug)]
pub struct Change {
    pub(super) held: Held,
    place: Place,
    /// The text, which may be changed at will; [`Change::finish`] judges it.
    pub text: Text,
    before: Text,
    has_mark: bool,
    /// What was wrong with the file before.
    problems: Vec<Problem>,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The file itself, at the end of all links.
    pub file: PathBuf,
    /// What was done to it.
    pub done: Done,
}

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing: it says so already.
    Nothing,
    /// It was changed.
    Changed,
    /// It was not there, and now is.
    Created,
}

/// Why a file was not changed.
#[derive(Debug)]
pub enum ChangeError {
    /// Somebody named the file, and it is not there.
    Missing(PathBuf),
    /// The file is wrong already, in a way that the change does not mend.
    AlreadyWrong(Vec<Problem>),
    /// The file would be wrong.
    WouldBeWrong(PathBuf, Vec<Problem>),
    /// The change would touch more than it means; this is for the hand to do.
    TooEntangled(PathBuf),
    /// What the system refuses.
    System(HoldError),
}

impl Change {
    /// Locks the file of `place` and reads it. A file in the usual place that is not there is an empty
    /// one; one that somebody named is not there by mistake.
    ///
    /// # Errors
    /// It cannot be had, or holds no TOML.
    pub fn begin(place: &Place) -> Result<Change, ChangeError> {
        if place.is_named
            && std::fs::metadata(&place.file).is_err_and(|error| error.kind() == NotFound)
        {
            return Err(ChangeError::Missing(place.file.clone()));
        }
        let held = Held::take(&place.file)?;
        let bytes = held.before().unwrap_or_default();
        let wrong = |problem| ChangeError::AlreadyWrong(vec![problem]);
        let text = place::text(bytes, &place.file).map_err(wrong)?;
        let problems = check::problems(bytes, &place.file);
        let (text, has_mark) = match text.strip_prefix(MARK) {
            Some(text) => (text, true),
            None => (text, false),
        };
        let text = Text::new(text);
        if text.values().is_none() {
            return Err(ChangeError::AlreadyWrong(problems));
        }
        Ok(Change { before: text.clone(), text, has_mark, problems, place: place.clone(), held })
    }

    /// The file as it was named, from whose folder it names others.
    pub fn named(&self) -> &Path {
        &self.place.file
    }

    /// Where it was looked for.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The text as it was found.
    pub fn before(&self) -> &Text {
        &self.before
    }

    /// Writes the text, if it passes every check and differs from the old one in `keys` only.
    ///
    /// # Errors
    /// The file stays as it was.
    pub fn finish(self, keys: &[&str]) -> Result<Outcome, ChangeError> {
        let done = |done| Outcome { file: self.held.file().to_owned(), done };
        let problems = check::problems(&self.bytes(), self.named());
        if !problems.is_empty() {
            return Err(match self.problems.is_empty() {
                true => ChangeError::WouldBeWrong(self.held.file().to_owned(), problems),
                false => ChangeError::AlreadyWrong(self.problems),
            });
        }
        if self.text == self.before {
            return Ok(done(Done::Nothing));
        }
        if !self.touches_only(keys) {
            return Err(ChangeError::TooEntangled(self.held.file().to_owned()));
        }
        self.held.replace(&self.bytes())?;
        Ok(done(if self.held.before().is_some() { Done::Changed } else { Done::Created }))
    }

    fn bytes(&self) -> Vec<u8> {
        let mark = if self.has_mark { MARK.to_string() } else { String::new() };
        format!("{mark}{}", self.text.as_str()).into_bytes()
    }

    /// What lies beside the meant keys means what it meant before, however the file is written.
    fn touches_only(&self, keys: &[&str]) -> bool {
        let others = |text: &Text| {
            let mut values = text.values()?;
            values.retain(|path, _| !keys.contains(&path.as_str()));
            Some(values)
        };
        others(&self.text) == others(&self.before)
    }

    /// The text cannot be changed so: what is in the way is wrong already.
    pub fn unfit(&self, _: Unfit) -> ChangeError {
        match self.problems.is_empty() {
            true => ChangeError::TooEntangled(self.held.file().to_owned()),
            false => ChangeError::AlreadyWrong(self.problems.clone()),
        }
    }
}

impl From<HoldError> for ChangeError {
    fn from(error: HoldError) -> ChangeError {
        ChangeError::System(error)
    }
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeError::Missing(file) => write!(
                f,
                "{}: there is no such file; create it first, empty, if it is meant to be new. It is \
                 the one that --config or $SLUICE_CONFIG names. Nothing was changed",
                file.display()
            ),
            ChangeError::AlreadyWrong(problems) => {
                for problem in problems {
                    writeln!(f, "{problem}")?;
                }
                f.write_str("Nothing was changed: the file has these problems already")
            }
            ChangeError::WouldBeWrong(file, problems) => {
                for problem in problems {
                    writeln!(f, "{problem}")?;
                }
                write!(
                    f,
                    "Nothing was changed: {} would not pass a check; the places are those of the \
                     changed text",
                    file.display()
                )
            }
            ChangeError::TooEntangled(file) => write!(
                f,
                "Nothing was changed: {} is written in a way that this command cannot change \
                 without touching other things; edit it by hand",
                file.display()
            ),
            ChangeError::System(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ChangeError {}

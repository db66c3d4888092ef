//! Which file is the configuration, and its bytes as text.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::problem::{Problem, position};

/// Bytes of a configuration. 1 MiB: a list of 20,000 hosts takes half of it.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;
/// Symbolic links that are followed; the limit of Linux.
const LINKS_MAX: usize = 40;

/// Where the configuration is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Somebody named this file, so that its absence is a mistake.
    pub is_named: bool,
}

/// The file of `--config`, else that of `$SLUICE_CONFIG`, else the default place.
pub fn find(flag: Option<&Path>, variable: Option<OsString>) -> Place {
    let named = flag
        .map(Path::to_owned)
        .or_else(|| variable.filter(|variable| !variable.is_empty()).map(PathBuf::from));
    match named {
        Some(file) => Place { file, is_named: true },
        None => Place { file: default_file(), is_named: false },
    }
}

fn default_file() -> PathBuf {
    if std::env::consts::FAMILY == "windows" {
        let program_data = std::env::var_os("ProgramData").map(PathBuf::from);
        let folder = program_data.unwrap_or_else(|| PathBuf::from(r"C:\ProgramData"));
        return folder.join("Sluice").join("sluice.toml");
    }
    PathBuf::from("/etc/sluice/sluice.toml")
}

impl Place {
    /// The bytes of the file, at most one more than is allowed. `None` where nobody named it and it
    /// is not there.
    ///
    /// # Errors
    /// The file is named and missing, or there and not readable.
    pub fn read(&self) -> Result<Option<Vec<u8>>, Problem> {
        let mut bytes = Vec::new();
        let read = open_plain(&self.file)
            .and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound && !self.is_named => Ok(None),
            Err(error) => {
                let message = format!("the configuration cannot be read: {error}");
                Err(Problem::of_file(&self.file, message))
            }
        }
    }
}

/// The file that a configuration names: beside the configuration unless absolute. Where that is a symbolic
/// link, beside what it leads to, so that every name of a configuration means the same files.
pub fn beside(configuration: &Path, named: impl AsRef<Path>) -> PathBuf {
    followed(configuration).parent().unwrap_or(Path::new("")).join(named)
}

/// The file at the end of symbolic links, whether it is there or not.
pub(super) fn followed(file: &Path) -> PathBuf {
    let mut file = file.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(next) = std::fs::read_link(&file) else { break };
        file = file.parent().unwrap_or(Path::new("")).join(next);
    }
    file
}

/// The folder of a name without one is the current one, for which the system wants a name.
pub fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// Opens a file for reading, at the end of all links. A named pipe would hold the program up until
/// somebody writes to it, and what it gave once is not there for the next reading.
///
/// # Errors
/// As open(2), and where it is no plain file.
pub(super) fn open_plain(file: &Path) -> io::Result<File> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no plain file"));
    }
    File::open(file)
}

/// The text of `bytes`, with its byte order mark.
///
/// # Errors
/// It is too large, not UTF-8, or holds NUL bytes.
pub(super) fn text<'a>(bytes: &'a [u8], file: &Path) -> Result<&'a str, Problem> {
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("larger than the {FILE_BYTES_MAX} bytes a configuration may have");
        return Err(Problem::of_file(file, message));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Problem::of_file(file, "encoded as UTF-16; save it as UTF-8"));
    }
    let (text, wrong) = match std::str::from_utf8(bytes) {
        Ok(text) => match text.find('\0') {
            None => return Ok(text),
            Some(offset) => (&text[..offset], "a NUL byte: the file is damaged, or not UTF-8 text"),
        },
        Err(error) => {
            // Valid up to there, so that the position can be counted.
            let valid = &bytes[..error.valid_up_to()];
            (std::str::from_utf8(valid).unwrap_or_default(), "not UTF-8; save the file as UTF-8")
        }
    };
    let (line, column) = position(text, text.len());
    Err(Problem { line, column, ..Problem::of_file(file, wrong) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_beats_the_variable_and_both_beat_the_default() {
        let flag = Path::new("flag.toml");
        let found = find(Some(flag), Some("variable.toml".into()));
        assert_eq!((found.file.as_path(), found.is_named), (flag, true));
        let found = find(None, Some("variable.toml".into()));
        assert_eq!((found.file, found.is_named), (PathBuf::from("variable.toml"), true));
        for variable in [None, Some(OsString::new())] {
            let found = find(None, variable);
            assert!(!found.is_named && found.file.ends_with("sluice.toml"));
        }
    }

    #[test]
    fn only_a_named_file_must_be_there() {
        let file = std::env::temp_dir().join("sluice-no-such-folder").join("sluice.toml");
        let place = Place { file: file.clone(), is_named: false };
        assert_eq!(place.read(), Ok(None));
        let problem = Place { file, is_named: true }.read().expect_err("missing");
        assert!(problem.message.starts_with("the configuration cannot be read"), "{problem}");
        let folder = Place { file: std::env::temp_dir(), is_named: false };
        assert!(folder.read().is_err());
    }

    #[test]
    fn what_is_not_text_is_told_with_its_place() {
        let large = vec![b' '; FILE_BYTES_MAX + 1];
        for (bytes, start) in [
            (&b"\xff\xfea\0"[..], "f: encoded as UTF-16"),
            (b"\xfe\xff\0a", "f: encoded as UTF-16"),
            (b"a\0=\0", "f:1:2: a NUL byte"),
            (b"a = 1\nb = \"\xfc\"\n", "f:2:6: not UTF-8"),
            (&large, "f: larger than the 1048576 bytes"),
        ] {
            let problem = text(bytes, Path::new("f")).expect_err(start).to_string();
            assert!(problem.starts_with(start), "{problem}");
        }
        assert_eq!(text(&large[1..], Path::new("f")).map(str::len), Ok(FILE_BYTES_MAX));
    }
}

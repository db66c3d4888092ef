//! One run of the program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::folder::Folder;
use crate::support::gateway::PROGRAM;

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A configuration in a folder of its own.
#[derive(Debug)]
pub struct Site {
    pub folder: Folder,
    pub file: PathBuf,
}

impl Site {
    /// With a file of this text.
    pub fn new(text: &str) -> Site {
        let site = Site::empty();
        std::fs::write(&site.file, text).unwrap();
        site
    }

    /// Without a file.
    pub fn empty() -> Site {
        let folder = Folder::new();
        let file = folder.path().join("sluice.toml");
        Site { folder, file }
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }

    /// Runs a command; words are parted by spaces.
    pub fn run(&self, line: &str) -> Ran {
        self.words(&line.split_whitespace().collect::<Vec<_>>(), "")
    }

    /// Runs a command of these words with this on its standard input.
    pub fn words(&self, words: &[&str], input: &str) -> Ran {
        run(self.command().args(words), input)
    }

    /// The program, with the configuration named.
    pub fn command(&self) -> Command {
        command(&self.file)
    }

    /// Names of the files in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        let found = std::fs::read_dir(self.folder.path()).unwrap().flatten();
        let mut names: Vec<String> =
            found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What a run must be: exit code, and words in what it printed on both streams.
    ///
    /// # Panics
    /// Where it is not.
    pub fn expect(&self, line: &str, code: i32, words: &[&str]) -> Ran {
        let ran = self.run(line);
        ran.expect(line, code, words, self.folder.path());
        ran
    }
}

impl Ran {
    /// # Panics
    /// Where the run was another.
    pub fn expect(&self, line: &str, code: i32, words: &[&str], folder: &Path) {
        assert_eq!(self.code, code, "{line}: {self:?}");
        // The folder's name is no word to look for.
        let shown =
            format!("{}{}", self.out, self.err).replace(&format!("{}", folder.display()), "");
        for word in words {
            assert!(shown.contains(word), "{line}: no {word:?} in {shown}");
        }
    }
}

/// The program with this configuration.
pub fn command(file: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_remove("SLUICE_CONFIG").arg("--config").arg(file);
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command, input: &str) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // A program that reads nothing has ended before it takes all.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

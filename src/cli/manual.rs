//! `sluice completions` and `sluice man`: made from the same description of the command line that
//! reads it, so that they cannot differ from it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::inspect;

pub(super) const COMPLETIONS_EXAMPLE: &str = "\
Examples:
  sluice completions bash > /usr/share/bash-completion/completions/sluice
  sluice completions zsh > /usr/local/share/zsh/site-functions/_sluice";
pub(super) const MAN_EXAMPLE: &str = "\
Examples:
  sluice man | man -l -
  sluice man --to /usr/local/share/man/man1";

/// The words of `sluice completions`.
#[derive(Args, Debug)]
pub(super) struct CompletionsFlags {
    /// The shell to complete in
    #[arg(value_enum)]
    shell: Shell,
}

/// The flags of `sluice man`.
#[derive(Args, Debug)]
pub(super) struct ManFlags {
    /// Writes the page of every command into this folder, instead of the first one to standard output
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

pub(super) fn completions(mut command: Command, flags: &CompletionsFlags) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(flags.shell, &mut command, name, &mut text);
    print(&text)
}

pub(super) fn man(command: Command, flags: &ManFlags) -> ExitCode {
    match &flags.to {
        None => {
            let mut page = Vec::new();
            match clap_mangen::Man::new(command).render(&mut page) {
                Ok(()) => print(&page),
                Err(error) => told("The page cannot be made", &error),
            }
        }
        Some(folder) => match write_pages(command, folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => told(&format!("{} cannot be written to", folder.display()), &error),
        },
    }
}

fn write_pages(command: Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command, folder)
}

fn print(text: &[u8]) -> ExitCode {
    inspect::exit_code(inspect::write(&String::from_utf8_lossy(text)))
}

fn told(what: &str, error: &io::Error) -> ExitCode {
    eprintln!("{what}: {error}");
    ExitCode::FAILURE
}

//! `sluice completions` and `sluice man`: made from the same description of the command line that
//! reads it, so that they cannot differ from it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::inspect;

pub(super) const COMPLETIONS_EXAMPLE: &str = "\
Examples:
  sluice completions bash > /usr/share/bash-completion/completions/sluice
  sluice completions zsh > /usr/local/share/zsh/site-functions/_sluice";
pub(super) const MAN_EXAMPLE: &str = "\
Examples:
  sluice man | man -l -
  sluice man --to /usr/local/share/man/man1";

/// Of the manual: commands for users.
const SECTION: &str = "1";
/// At the head of every page.
const MANUAL: &str = "Sluice Manual";
/// A page is as old as the version at its foot. Nothing at all would be left out, and the version stand in
/// the place of the date.
const DATE: &str = " ";

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
    // A page for `help` would tell no more than the others do.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let source = format!("sluice {}", command.get_version().unwrap_or_default());
    match &flags.to {
        None => match page(&command, &source) {
            Ok(page) => print(&page),
            Err(error) => told("The page cannot be made", &error),
        },
        Some(folder) => match write_pages(&command, &source, folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => told(&format!("{} cannot be written to", folder.display()), &error),
        },
    }
}

fn write_pages(command: &Command, source: &str, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let name = format!("{}.{SECTION}", command.get_display_name().unwrap_or(command.get_name()));
    std::fs::write(folder.join(name), page(command, source)?)?;
    command.get_subcommands().try_for_each(|command| write_pages(command, source, folder))
}

/// The page of a command that is built. clap_mangen leaves values out of the synopsis, and puts what
/// stands behind the help under a heading of its own making: both are made here.
fn page(command: &Command, source: &str) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).section(SECTION).date(DATE).source(source).manual(MANUAL);
    let behind = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (examples, details) = behind.split_once("\n\n").unwrap_or((&behind, ""));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    synopsis(command).to_writer(&mut text)?;
    man.render_description_section(&mut text)?;
    paragraphs(details).to_writer(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    listing(examples).to_writer(&mut text)?;
    // Each part begins with definitions that a page needs once.
    let definitions = Roff::new().render();
    let text = String::from_utf8_lossy(&text).replace(&definitions, "");
    Ok(format!("{definitions}{text}").into_bytes())
}

/// One line with every option and its value, as the help writes them.
fn synopsis(command: &Command) -> Roff {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let mut line = vec![bold(name)];
    let shown = |arg: &&Arg| !arg.is_hide_set();
    for option in command.get_arguments().filter(shown).filter(|arg| !arg.is_positional()) {
        let (before, after) = if option.is_required_set() { (" ", "") } else { (" [", "]") };
        let written = option.to_string();
        let (flag, value) = written.split_once(' ').unwrap_or((&written, ""));
        line.extend([roman(before), bold(flag)]);
        if !value.is_empty() {
            line.extend([roman(" "), italic(value)]);
        }
        line.push(roman(after));
    }
    for word in command.get_positionals().filter(shown) {
        line.extend([roman(" "), italic(word.to_string())]);
    }
    if command.has_subcommands() {
        line.extend([roman(" "), italic("<COMMAND>")]);
    }
    let mut part = Roff::new();
    part.control("SH", ["SYNOPSIS"]).text(line);
    part
}

fn paragraphs(text: &str) -> Roff {
    let mut part = Roff::new();
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        part.control("PP", []).text([roman(paragraph.replace('\n', " "))]);
    }
    part
}

/// Lines as they stand, under the word that heads them in the help.
fn listing(examples: &str) -> Roff {
    let mut part = Roff::new();
    part.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in examples.lines().skip(1) {
        part.text([roman(line.trim_start())]);
    }
    part.control("fi", []);
    part
}

fn print(text: &[u8]) -> ExitCode {
    inspect::exit_code(inspect::write(&String::from_utf8_lossy(text)))
}

fn told(what: &str, error: &io::Error) -> ExitCode {
    eprintln!("{what}: {error}");
    ExitCode::FAILURE
}

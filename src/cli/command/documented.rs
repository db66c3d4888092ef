//! Every command line that the documents and the help texts show is one that the program takes, and every
//! key that they name is one of the configuration.

use std::path::Path;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use super::CommandLine;
use crate::config::load;

/// A command line, and where it is shown.
struct Shown {
    place: String,
    line: String,
}

#[test]
fn the_documents_show_commands_that_exist() {
    let mut shown = Vec::new();
    for (place, line) in lines_of_documents() {
        let commands = in_page(&line).into_iter();
        shown.extend(commands.map(|line| Shown { place: place.clone(), line }));
    }
    assert!(shown.len() >= 40, "only {} commands were found", shown.len());
    let wrong: Vec<String> = shown.iter().filter_map(Shown::fault).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_documents_name_keys_that_exist() {
    let known: Vec<String> = load::keys().into_iter().map(|key| key.path).collect();
    let mut named = 0;
    for (place, line) in lines_of_documents() {
        for key in keys_in(&line, &known) {
            named += 1;
            let exists = |path: &String| path == key || path.starts_with(&format!("{key}."));
            assert!(known.iter().any(exists), "{place}: {key} is no key of the configuration");
        }
    }
    assert!(named >= 30, "only {named} keys were found");
    assert_eq!(keys_in("`limits.idle_s = 5` of `www.test.com`", &known), ["limits.idle_s"]);
}

#[test]
fn the_help_shows_commands_that_exist() {
    let root = CommandLine::command();
    let commands: Vec<&clap::Command> = root.get_subcommands().collect();
    let deeper = commands.iter().flat_map(|command| command.get_subcommands());
    let mut shown = Vec::new();
    for command in commands.iter().copied().chain(deeper).chain([&root]) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
        shown.extend(lines.filter(|line| line.starts_with("sluice ")).map(|line| Shown {
            place: format!("the help of {}", command.get_name()),
            line: line.to_owned(),
        }));
    }
    assert!(shown.len() >= 30, "only {} commands were found", shown.len());
    let wrong: Vec<String> = shown.iter().filter_map(Shown::fault).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_does_not_exist_is_found() {
    for (line, found) in [
        ("see `sluice rnu` there", true),
        ("    sluice workspace add ID --regoin westeurope", true),
        ("`sluice hybrid-worker add \"West Europe\" cmdlet --registered sometimes`", true),
        ("`sluice status --json`, or not", true),
        ("`sluice allowed-host add` and `sluice hybrid-worker add X [--registered cmdlet]`", false),
        ("    sluice config set allow.clients \"\"    an empty list", false),
        ("    journalctl -t sluice -o json", false),
    ] {
        let commands = in_page(line).into_iter();
        let mut faults = commands.filter_map(|line| Shown { place: String::new(), line }.fault());
        assert_eq!(faults.next().is_some(), found, "{line}");
    }
}

/// Every line of every document, each with its place.
fn lines_of_documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).expect("the documents are beside the sources");
    let pages = docs.map(|entry| entry.expect("a folder that can be read").path());
    let mut lines = Vec::new();
    for page in pages.chain([root.join("README.md")]) {
        let text = std::fs::read_to_string(&page).expect("a page is text");
        let numbered = text.lines().enumerate();
        lines.extend(
            numbered.map(|(index, line)| {
                (format!("{}:{}", page.display(), index + 1), line.to_owned())
            }),
        );
    }
    lines
}

/// What stands in a line's spans of code and begins like a key, with the name of one of their sections.
fn keys_in<'a>(line: &'a str, known: &[String]) -> Vec<&'a str> {
    let spans = line.split('`').skip(1).step_by(2);
    let begins_like_one = |span: &&str| {
        let section = span.split_once('.').map_or("", |(section, _)| section);
        known.iter().any(|path| path.split_once('.').is_some_and(|(of, _)| of == section))
    };
    let ends_one = |letter: char| !letter.is_ascii_alphanumeric() && !"_.".contains(letter);
    spans.filter(begins_like_one).map(|span| span.split(ends_one).next().unwrap_or(span)).collect()
}

/// The commands in a line of Markdown: in spans of code, and as the whole of an indented line.
fn in_page(line: &str) -> Vec<String> {
    let spans = line.split('`').skip(1).step_by(2);
    let block = line.strip_prefix("    ");
    let commands = spans.chain(block).filter(|text| text.starts_with("sluice "));
    commands.map(str::to_owned).collect()
}

impl Shown {
    /// Why the program does not take it. What is only named, without what belongs behind it, will do.
    fn fault(&self) -> Option<String> {
        let error = CommandLine::try_parse_from(words(&self.line)).err()?;
        match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::MissingRequiredArgument => None,
            _ => Some(format!("{}: {}\n{error}", self.place, self.line)),
        }
    }
}

/// The words of a command as a shell parts them, up to a redirection or the remark behind it; brackets
/// around what may be left out are taken off.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut spaces = 0;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => {
                words.extend(word.take());
                spaces += 1;
                if spaces > 1 {
                    return words;
                }
                continue;
            }
            (None, '<' | '|' | '>') => return words,
            (None, '[' | ']') if !line.contains("]:") => {}
            (None, _) => word.get_or_insert_default().push(letter),
        }
        spaces = 0;
    }
    words.extend(word);
    words
}

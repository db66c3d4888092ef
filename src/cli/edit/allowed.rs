//! `sluice allowed-host` and `allowed-client-certificate`: entries of the two lists, one by one.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use crate::config::edit::text::Text;
use crate::config::load;
use crate::config::place::Place;
use crate::config::schema::Config;
use crate::logic::certificates::SubjectRule;
use crate::logic::hosts::{HostPattern, HostVerdict, Hosts};
use crate::proto::target::Target;

use super::super::hint;
use super::super::suggest::command::{self as suggest, SuggestFlags};
use super::effective;
use super::outcome::{self, Failure, OrWrong, change, place};

pub(in super::super) const HOST_EXAMPLE: &str = "\
Examples:
  sluice allowed-host add www.test.com '*.ods.opinsights.azure.com'
  sluice allowed-host list --effective
  sluice allowed-host suggest
  sluice allowed-host remove www.test.com";
pub(in super::super) const CERTIFICATE_EXAMPLE: &str = "\
Examples:
  sluice allowed-client-certificate add mycert
  sluice allowed-client-certificate add 'CN=agent, O=Example'
  sluice allowed-client-certificate list";
const HOST_ADD_EXAMPLE: &str = "\
Examples:
  sluice allowed-host add www.test.com
  sluice allowed-host add '*.ods.opinsights.azure.com' intranet.example.com:8443";
const HOST_REMOVE_EXAMPLE: &str = "\
Example:
  sluice allowed-host remove www.test.com";
const HOST_LIST_EXAMPLE: &str = "\
Examples:
  sluice allowed-host list
  sluice allowed-host list --effective";
const CERTIFICATE_ADD_EXAMPLE: &str = "\
Examples:
  sluice allowed-client-certificate add mycert
  sluice allowed-client-certificate add 'CN=agent, O=Example'
  sluice allowed-client-certificate add \"$(openssl x509 -in agent.pem -noout -subject)\"

\"subject=\", which openssl puts before a name, is left out.";
const CERTIFICATE_REMOVE_EXAMPLE: &str = "\
Example:
  sluice allowed-client-certificate remove mycert";
const CERTIFICATE_LIST_EXAMPLE: &str = "\
Example:
  sluice allowed-client-certificate list";

/// How alike two entries must be for one to be named when the other is not there.
const LIKENESS: f64 = 0.85;
/// Entries named then.
const NEAR_MAX: usize = 3;

/// What to do with the allowed hosts.
#[derive(Debug, Subcommand)]
pub(in super::super) enum HostCommand {
    /// Shows the hosts that the configuration allows
    #[command(after_help = HOST_LIST_EXAMPLE)]
    List {
        /// All that are in force, each with its origin
        #[arg(long)]
        effective: bool,
    },
    /// Allows hosts: names, `*.suffix`, `name*.suffix`, addresses; port 443 unless another is given
    #[command(after_help = HOST_ADD_EXAMPLE)]
    Add {
        /// What to allow
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Takes hosts off the list
    #[command(after_help = HOST_REMOVE_EXAMPLE)]
    Remove {
        /// What to take off, as the list shows it
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Shows what clients asked for that is not allowed, and what to type to allow it
    #[command(after_help = suggest::EXAMPLE)]
    Suggest(SuggestFlags),
}

/// What to do with the allowed client certificates.
#[derive(Debug, Subcommand)]
pub(in super::super) enum CertificateCommand {
    /// Shows the subjects of client certificates that the configuration allows
    #[command(after_help = CERTIFICATE_LIST_EXAMPLE)]
    List {
        /// All that are in force, each with its origin
        #[arg(long)]
        effective: bool,
    },
    /// Allows client certificates by their subject: a common name, or a whole distinguished name
    #[command(after_help = CERTIFICATE_ADD_EXAMPLE)]
    Add {
        /// What to allow
        #[arg(required = true, value_name = "SUBJECT")]
        subjects: Vec<String>,
    },
    /// Takes subjects off the list
    #[command(after_help = CERTIFICATE_REMOVE_EXAMPLE)]
    Remove {
        /// What to take off, as the list shows it
        #[arg(required = true, value_name = "SUBJECT")]
        subjects: Vec<String>,
    },
}

/// One of the two lists.
pub(super) struct List {
    key: &'static str,
    /// Shows it, with what follows.
    effective: &'static str,
    /// What is put before an entry by programs that show one, and is no part of it.
    label: &'static str,
    /// The spelling by which entries are compared, or why it is none.
    canonical: fn(&str) -> Result<String, String>,
    /// Which of these entries covers another one, if it can be told.
    covering: fn(&str, &[Entry]) -> Option<String>,
    /// What follows from the section `[azure]`, or is of the feed.
    pub(super) follows: fn(&Config) -> Vec<Entry>,
    /// What it means that there is no entry at all.
    when_empty: &'static str,
    /// What the first entry changes.
    when_first: Option<&'static str>,
}

/// An entry of the file, or one that follows from it.
pub(super) struct Entry {
    pub(super) text: String,
    pub(super) canonical: String,
    pub(super) origin: String,
    /// What is to be known of it.
    pub(super) notes: Vec<String>,
}

const HOSTS: List = List {
    key: "allow.hosts",
    effective: "allowed-host list --effective",
    label: "",
    canonical: canonical_host,
    covering,
    follows: effective::hosts,
    when_empty: "No host is allowed now: every CONNECT is refused.",
    when_first: None,
};

const CERTIFICATES: List = List {
    key: "allow.client_certificates",
    effective: "allowed-client-certificate list --effective",
    // As `openssl x509 -noout -subject` prints it.
    label: "subject=",
    canonical: canonical_subject,
    covering: |_, _| None,
    follows: effective::subjects,
    when_empty: "The list is empty now: client certificates are not looked at.",
    when_first: Some(
        "The list was empty. From now on a session needs a client certificate that is on it; what \
         happens where none can be seen is for tls.unseen_client_certificate to say.",
    ),
};

pub(in super::super) fn hosts(file: Option<&Path>, command: &HostCommand) -> ExitCode {
    match command {
        HostCommand::List { effective } => list(file, &HOSTS, *effective),
        HostCommand::Add { hosts } => outcome::tell(add(file, &HOSTS, hosts)),
        HostCommand::Remove { hosts } => outcome::tell(remove(file, &HOSTS, hosts)),
        HostCommand::Suggest(flags) => suggest::run(file, flags),
    }
}

pub(in super::super) fn certificates(
    file: Option<&Path>,
    command: &CertificateCommand,
) -> ExitCode {
    match command {
        CertificateCommand::List { effective } => list(file, &CERTIFICATES, *effective),
        CertificateCommand::Add { subjects } => outcome::tell(add(file, &CERTIFICATES, subjects)),
        CertificateCommand::Remove { subjects } => {
            outcome::tell(remove(file, &CERTIFICATES, subjects))
        }
    }
}

fn list(file: Option<&Path>, list: &List, effective: bool) -> ExitCode {
    let place = place(file);
    let told = load::text(&place).map_err(Failure::Configuration).map(|text| {
        let entries = entries(&text, list, &place.file);
        let following = effective::entries(&text, list, &place.file);
        if entries.is_empty() {
            let rest = when_none_is_listed(list, &following, &place);
            eprintln!("{} lists none. {rest}", place.file.display());
        }
        match effective {
            true => effective::lines(entries, following, &text, &place.file),
            false => entries.into_iter().map(|entry| entry.text).collect(),
        }
    });
    outcome::tell(told)
}

fn when_none_is_listed(list: &List, following: &[Entry], place: &Place) -> String {
    match following.len() {
        0 => list.when_empty.to_owned(),
        count => {
            let is_fed = following.iter().any(|entry| entry.origin.starts_with("allow.feed"));
            let sections =
                if is_fed { "the sections azure and allow.feed" } else { "the section azure" };
            let shows = hint::command(list.effective, place);
            format!("From {sections} follow {count}: {shows} shows them.")
        }
    }
}

fn add(file: Option<&Path>, list: &List, texts: &[String]) -> Result<Vec<String>, Failure> {
    let wanted = canonical(list, texts)?;
    change(&place(file), &[list.key], |change| {
        let there = entries(&change.text, list, change.named());
        let following = effective::entries(&change.text, list, change.named());
        let mut added: Vec<(String, String)> = Vec::new();
        let mut told = Vec::new();
        for (text, canonical) in wanted {
            if let Some(entry) = there.iter().find(|entry| entry.canonical == canonical) {
                told.push(format!("{text} is on the list already ({}).", entry.origin));
            } else if !added.iter().any(|(_, other)| *other == canonical) {
                let by = (list.covering)(&canonical, &there);
                let by = by.or_else(|| (list.covering)(&canonical, &following));
                let by = by.map(|by| format!("; {by} admits it too"));
                told.push(format!("{text} is allowed now{}.", by.unwrap_or_default()));
                added.push((text, canonical));
            }
        }
        let texts: Vec<String> = added.into_iter().map(|(text, _)| text).collect();
        change.text.append(list.key, &texts).or_wrong(change)?;
        if there.is_empty() && following.is_empty() && !texts.is_empty() {
            told.extend(list.when_first.map(str::to_owned));
        }
        Ok(told)
    })
}

fn remove(file: Option<&Path>, list: &List, texts: &[String]) -> Result<Vec<String>, Failure> {
    let wanted = canonical(list, texts)?;
    change(&place(file), &[list.key], |change| {
        let there = entries(&change.text, list, change.named());
        let following = effective::entries(&change.text, list, change.named());
        let missing: Vec<String> = wanted
            .iter()
            .filter(|(_, canonical)| there.iter().all(|entry| entry.canonical != *canonical))
            .map(|(text, canonical)| {
                let told = missing(list, text, canonical, &there, change.named());
                let same = following.iter().find(|entry| entry.canonical == *canonical);
                let origin = same.map(|entry| format!("; it follows from {}", entry.origin));
                format!("{told}{}", origin.unwrap_or_default())
            })
            .collect();
        if !missing.is_empty() {
            return Err(Failure::Failed(format!("{}\nNothing was changed", missing.join("\n"))));
        }
        let goes =
            |entry: &Entry| wanted.iter().any(|(_, canonical)| entry.canonical == *canonical);
        let places: Vec<usize> = (0..there.len()).filter(|place| goes(&there[*place])).collect();
        change.text.take_out(list.key, &places).or_wrong(change)?;
        let mut told: Vec<String> = Vec::new();
        let staying: Vec<Entry> = there.into_iter().filter(|entry| !goes(entry)).collect();
        for (text, canonical) in &wanted {
            let by = (list.covering)(canonical, &staying);
            let by = by.or_else(|| (list.covering)(canonical, &following));
            let by = by.map(|by| format!("; but {by} still admits it"));
            told.push(format!("{text} is off the list{}.", by.unwrap_or_default()));
        }
        if staying.is_empty() {
            told.push(when_none_is_listed(list, &following, change.place()));
        }
        Ok(told)
    })
}

/// What was asked for, as written and as compared.
fn canonical(list: &List, texts: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let mut read = Vec::new();
    let mut wrong = Vec::new();
    for text in texts {
        let text = text.trim();
        let text = text.strip_prefix(list.label).unwrap_or(text).trim_start();
        match (list.canonical)(text) {
            Ok(canonical) => read.push((text.to_owned(), canonical)),
            Err(why) => wrong.push(format!("\"{}\": {why}", shown(text))),
        }
    }
    outcome::unless_wrong(read, wrong)
}

/// The entries of the file. What cannot be read is a problem of the file, told when that is judged.
fn entries(text: &Text, list: &List, file: &Path) -> Vec<Entry> {
    let found = text.strings(list.key).unwrap_or_default();
    let entry = |(offset, entry): (usize, String)| {
        let (line, column) = text.position(offset);
        let canonical = (list.canonical)(&entry).unwrap_or_else(|_| entry.clone());
        let origin = format!("{}:{line}:{column}", file.display());
        Entry { text: entry, canonical, origin, notes: Vec::new() }
    };
    found.into_iter().map(entry).collect()
}

fn missing(list: &List, text: &str, canonical: &str, there: &[Entry], file: &Path) -> String {
    let mut told = format!("{} is not on the list in {}", shown(text), file.display());
    if let Some(by) = (list.covering)(canonical, there) {
        told.push_str(&format!("; {by} admits it"));
    }
    let likeness = |entry: &Entry| strsim::jaro_winkler(text, &entry.text);
    let mut alike: Vec<&Entry> = there.iter().filter(|entry| likeness(entry) >= LIKENESS).collect();
    alike.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    let names: Vec<&str> = alike.iter().take(NEAR_MAX).map(|entry| entry.text.as_str()).collect();
    if !names.is_empty() {
        told.push_str(&format!("; did you mean {}?", names.join(" or ")));
    }
    told
}

fn canonical_host(text: &str) -> Result<String, String> {
    HostPattern::parse(text).map(|pattern| pattern.to_string()).map_err(|error| error.to_string())
}

/// Another pattern that admits this host, if it is one host.
fn covering(canonical: &str, entries: &[Entry]) -> Option<String> {
    let pattern = HostPattern::parse(canonical).ok().filter(|pattern| !pattern.is_wildcard())?;
    let authority = match pattern.port() {
        443 if canonical.contains(':') => format!("[{canonical}]:443"),
        443 => format!("{canonical}:443"),
        _ => canonical.to_owned(),
    };
    let target = Target::parse(authority.as_bytes()).ok()?;
    let hosts = Hosts::new(entries.iter().filter_map(|entry| HostPattern::parse(&entry.text).ok()));
    let HostVerdict::Allowed(by) = hosts.judge(&target) else { return None };
    let by = by.to_string();
    let entry = entries.iter().find(|entry| entry.canonical == by)?;
    Some(format!("{by} ({})", entry.origin))
}

pub(super) fn canonical_subject(text: &str) -> Result<String, String> {
    let rule = SubjectRule::parse(text).map_err(|error| error.to_string())?;
    Ok(rule.key().escape_ascii().to_string())
}

pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

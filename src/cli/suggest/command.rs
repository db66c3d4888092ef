//! The command itself: where the targets come from, and what is shown of them.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::asked::{Asked, Tally};
use super::event_lines::Read;
use super::proposal::{Proposal, Proposed, propose};
use super::widening::Ground;
use crate::config::load;
use crate::config::place::Place;
use crate::config::workspaces;
use crate::logic::policy::AllowMode;
use crate::observe::refused::Refused;

use super::super::ask::Running;
use super::super::edit::outcome::{Failure, place};
use super::super::hint;
use super::super::inspect;
use super::super::kept_feed;

pub(in super::super) const EXAMPLE: &str = "\
Examples:
  sluice allowed-host suggest
  sluice allowed-host suggest --from /var/log/sluice/events.log
  journalctl -u sluice | sluice allowed-host suggest --from -

Without --from the running gateway is asked. Nothing is changed: what to type is shown, and none of it takes
away what is allowed by now. With allow.mode = \"report\" hosts that are not allowed are let through meanwhile.

Of a file that a syslog or journalctl has written only lines with the tag sluice are read. A file that others
may write tells what they like: it is as good as they are.";

/// Targets that are shown, and that anything is suggested for, unless all are asked for.
const TARGETS_SHOWN: usize = 200;
const REMARKS_SHOWN: usize = 20;

/// The flags of `allowed-host suggest`.
#[derive(Args, Debug)]
pub(in super::super) struct SuggestFlags {
    /// Events to read instead of asking the running gateway: lines of JSON or text; - is standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// All targets, not only the 200 that were asked for most
    #[arg(long)]
    all: bool,
}

/// What was found out.
struct Found {
    tally: Tally,
    /// Where and since when.
    origin: String,
    is_reported: bool,
}

pub(in super::super) fn run(file: Option<&Path>, flags: &SuggestFlags) -> ExitCode {
    let place = place(file);
    let found = match &flags.from {
        None => of_gateway(file),
        Some(from) => of_file(from).map_err(|failure| failure.tell()),
    };
    let found = match found {
        Ok(found) => found,
        Err(code) => return code,
    };
    match shown(found, &place, flags) {
        Ok(text) => inspect::exit_code(inspect::write(&text)),
        Err(failure) => failure.tell(),
    }
}

fn of_gateway(file: Option<&Path>) -> Result<Found, ExitCode> {
    let asked = Running::find(file).and_then(|running| {
        let body = running.get("/refused")?;
        serde_json::from_str::<Refused>(&body).map_err(|error| {
            running.is_strange(format!("its refused targets cannot be read ({error})"))
        })
    });
    let refused = asked.map_err(|error| error.tell())?;
    Ok(Found {
        tally: Tally::of_gateway(&refused),
        origin: format!("of the running gateway since {}", printable(&refused.since)),
        is_reported: refused.mode == AllowMode::Report.as_str(),
    })
}

fn of_file(from: &Path) -> Result<Found, Failure> {
    let name = if from == Path::new("-") {
        "standard input".to_owned()
    } else {
        from.display().to_string()
    };
    let failed = |error: io::Error| Failure::Failed(format!("{name}: {error}"));
    let read = match from == Path::new("-") {
        true => Read::all(io::stdin().lock()),
        false => File::open(from).and_then(|file| Read::all(BufReader::new(file))),
    };
    let read = read.map_err(failed)?;
    if let Some(passed_over) = read.judge(&name).map_err(Failure::Failed)? {
        eprintln!("{passed_over}");
    }
    Ok(Found { tally: read.tally, origin: format!("in {name}"), is_reported: false })
}

fn shown(found: Found, place: &Place, flags: &SuggestFlags) -> Result<String, Failure> {
    let mut config = load::read_aside(place).map_err(Failure::Configuration)?.config;
    config.take_feed(kept_feed::hosts(&config));
    let text = load::text(place).map_err(Failure::Configuration)?;
    let catalog = workspaces::catalog(&text, &place.file).map_err(Failure::Failed)?;
    let (mut asked, mut notes) = found.tally.finish();
    let mut shown = heading(&asked, &found.origin, found.is_reported);
    if !flags.all && asked.len() > TARGETS_SHOWN {
        let rest = asked.split_off(TARGETS_SHOWN);
        let requests = requests(rest.iter().map(|one| one.count).sum());
        notes.push(format!("{} more targets, in {requests}: --all shows them", rest.len()));
    }
    let has_profiles = text.has("azure.profiles");
    let proposal = propose(&asked, &Ground { config: &config, catalog: &catalog, has_profiles });
    shown.push_str(&table(&asked, &proposal.covered_by));
    shown.push_str(&rest(&proposal, &notes, &hint::flag(place)));
    Ok(shown)
}

fn heading(asked: &[Asked], origin: &str, is_reported: bool) -> String {
    let mode = match is_reported {
        true => "allow.mode is \"report\": hosts that are not allowed are LET THROUGH now.\n",
        false => "",
    };
    if asked.is_empty() {
        return format!(
            "{mode}No target was asked for that is not allowed by host or port, {origin}.\n"
        );
    }
    let sum = |count: fn(&Asked) -> u64| asked.iter().map(count).sum::<u64>();
    let (all, through) = (sum(|one| one.count), sum(|one| one.let_through));
    format!(
        "{mode}Targets that are not allowed by host or port, {origin}: {}, in {}: {} refused, {through} \
         let through.\n\n",
        asked.len(),
        requests(all),
        all.saturating_sub(through)
    )
}

fn requests(count: u64) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{count} requests") }
}

fn table(asked: &[Asked], covered_by: &[String]) -> String {
    if asked.is_empty() {
        return String::new();
    }
    let rows = asked.iter().zip(covered_by).map(|(one, by)| {
        let (count, through) = (one.count.to_string(), one.let_through.to_string());
        [count, through, one.target.to_string(), one.who(), by.clone()]
    });
    let head = ["COUNT", "LET THROUGH", "TARGET", "ASKED BY", "COVERED BY"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (count, through, target, who) = (width(0), width(1), width(2), width(3));
    let mut text = String::new();
    for [one, two, three, four, five] in &rows {
        // A String takes everything.
        let _ = writeln!(
            text,
            "{one:>count$}  {two:>through$}  {three:<target$}  {four:<who$}  {five}"
        );
    }
    text
}

fn rest(proposal: &Proposal, notes: &[String], flag: &str) -> String {
    let mut text = String::new();
    for note in notes {
        text.push_str(&format!("{note}.\n"));
    }
    if !proposal.commands.is_empty() {
        text.push_str(
            "\nClients asked for these, which makes none of them trustworthy: look at who asked for what. \
             To allow them all:\n\n",
        );
        for Proposed { words, warnings } in &proposal.commands {
            for warning in warnings {
                text.push_str(&format!("  # Warning: {warning}\n"));
            }
            text.push_str(&format!("  sluice {words}{flag}\n"));
        }
    }
    let more = proposal.remarks.len().saturating_sub(REMARKS_SHOWN);
    for (index, remark) in proposal.remarks.iter().take(REMARKS_SHOWN).enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        text.push_str(&format!("{gap}Or, {remark}\n"));
    }
    if more > 0 {
        text.push_str(&format!("{more} more suffixes are shared by several names.\n"));
    }
    text
}

/// What a server sent, on a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

//! `sluice check`: everything that is wrong with a configuration, and what one that is right says.

use std::path::Path;
use std::process::ExitCode;

use crate::config::check;
use crate::config::load;
use crate::config::problem::Problem;
use crate::config::schema::Config;

use super::command::USAGE;
use super::edit::outcome::place;
use super::inspect;

pub(super) const EXAMPLE: &str = "\
Example:
  sluice check --config ./sluice.toml

Every problem is a line FILE:LINE:COL: WHAT on standard output. Exit code: 0 where there is none, else 2.";

pub(super) fn run(file: Option<&Path>) -> ExitCode {
    let place = place(file);
    let file = place.file.display();
    let read = place.read().map_err(|problem| vec![problem]);
    let judged = read.and_then(|bytes| match bytes {
        None => Ok(format!("There is no {file}; the defaults hold, which allow no host.")),
        Some(bytes) => {
            let problems = check::problems(&bytes, &place.file);
            if !problems.is_empty() {
                return Err(problems);
            }
            let config = load::parse_aside(&bytes, &place.file)?;
            let mut lines = vec![format!("{file}: no problems; {}", says(&config))];
            lines.extend(warnings(&config).map(|warning| format!("{file}: warning: {warning}")));
            Ok(lines.join("\n"))
        }
    });
    match judged {
        Ok(line) => inspect::exit_code(inspect::write(&format!("{line}\n"))),
        Err(problems) => {
            let text: String =
                problems.iter().map(|problem: &Problem| format!("{problem}\n")).collect();
            // Whoever reads no more has seen enough; the code tells the rest.
            let _ = inspect::write(&text);
            ExitCode::from(USAGE)
        }
    }
}

/// What is admitted beside the operator's own. It is what was asked for, and so no problem.
fn warnings(config: &Config) -> impl Iterator<Item = String> {
    config.derived_hosts.iter().filter_map(|derived| {
        let warning = derived.warning.as_ref()?;
        Some(format!("{} ({}) {warning}", derived.pattern, derived.origin()))
    })
}

fn says(config: &Config) -> String {
    let hosts = hosts(config);
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    let relay_proxy = &config.relay_proxy;
    let way = match relay_proxy.addresses.len() {
        0 => "",
        1 => "; targets are reached through a relay proxy",
        _ => "; targets are reached through relay proxies",
    };
    let credential = match (&relay_proxy.username, &relay_proxy.authorization) {
        (Some(_), None) => ", whose password systemd has to hand over",
        _ => "",
    };
    format!("{hosts}; listens on {}{way}{credential}", listen.join(", "))
}

fn hosts(config: &Config) -> String {
    let all = match config.hosts.len() {
        _ if config.is_blank => "it is empty, so that no host is allowed".to_owned(),
        0 => "no host is allowed".to_owned(),
        1 => "1 host is allowed".to_owned(),
        many => format!("{many} hosts are allowed"),
    };
    let all = match (config.listed_hosts.len(), config.derived_hosts.len()) {
        (_, 0) => all,
        (listed, derived) => format!("{all} ({listed} listed, {derived} from azure)"),
    };
    match &config.feed {
        None => all,
        Some(feed) => format!("{all}, beside those of the feed {}", feed.url),
    }
}

//! `sluice check`: everything that is wrong with a configuration, and what one that is right says.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;

use crate::config::check;
use crate::config::edit::text::Text;
use crate::config::load;
use crate::config::place::Place;
use crate::config::problem::Problem;
use crate::config::schema::Config;
use crate::feed::cache;
use crate::logic::policy::AllowMode;
use crate::observe::settings::Destination;

use super::command::USAGE;
use super::edit::outcome::place;
use super::hint;
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
            lines.extend(
                warnings(&config, &place).map(|warning| format!("{file}: warning: {warning}")),
            );
            lines.extend(config.doubts.iter().map(Problem::as_warning));
            let text = load::text(&place)?;
            lines.extend(of_this_machine(&text, &config).into_iter().map(|(offset, warning)| {
                let (line, column) = text.position(offset);
                format!("{file}:{line}:{column}: warning: {warning}")
            }));
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
fn warnings(config: &Config, place: &Place) -> impl Iterator<Item = String> {
    let mode = (config.allow_mode == AllowMode::Report).then(|| {
        format!(
            "allow.mode is \"report\": hosts that are not allowed are let through and only told of; {} \
             lists them",
            hint::command("allowed-host suggest", place)
        )
    });
    let blank = config.is_blank.then(|| {
        "the file sets nothing: a gateway that runs keeps what it has and tells event 401"
            .to_owned()
    });
    mode.into_iter().chain(blank).chain(config.derived_hosts.iter().filter_map(|derived| {
        let warning = derived.warning.as_ref()?;
        Some(format!("{} ({}) {warning}", derived.pattern, derived.origin()))
    }))
}

/// What keeps a gateway from starting here and now, with its place: it may be meant for another machine,
/// another user, or a time when an address has moved here.
fn of_this_machine(text: &Text, config: &Config) -> Vec<(usize, String)> {
    let mut warnings = Vec::new();
    let mut seen: Vec<SocketAddr> = Vec::new();
    for (offset, written) in text.strings("listen").unwrap_or_default() {
        let Ok(address) = written.parse::<SocketAddr>() else { continue };
        if seen.contains(&address) {
            warnings.push((offset, format!("listen: {address} stands here twice; it counts once")));
        } else if !can_be_bound(address.ip()) {
            warnings
                .push((offset, format!("listen: {} is no address of this machine", address.ip())));
        }
        seen.push(address);
    }
    for (offset, written) in text.strings("dial.source_addresses").unwrap_or_default() {
        if written.parse().is_ok_and(|address| !can_be_bound(address)) {
            let why = format!("dial.source_addresses: {written} is no address of this machine");
            warnings.push((offset, why));
        }
    }
    if let Some(why) = config.feed.as_ref().and_then(cache::doubt) {
        let offset = text.offset("allow.feed.cache_file").unwrap_or_default();
        warnings.push((offset, format!("allow.feed.cache_file: {why}")));
    }
    if let Destination::Journal(socket) | Destination::Syslog(socket) = &config.events.to
        && !socket.exists()
    {
        let offset = text.offset("events.to").unwrap_or_default();
        let why = format!("events.to: nobody listens here at {}", socket.display());
        warnings.push((offset, why));
    }
    if let Destination::File(events) = &config.events.to
        && events.is_file()
        && let Err(error) = OpenOptions::new().append(true).open(events)
    {
        let offset = text.offset("events.to").unwrap_or_default();
        let file = events.display();
        warnings.push((offset, format!("events.to: this user may not write {file}: {error}")));
    }
    warnings
}

/// Whether this machine has the address. One of a family that it lacks counts too: that ends no start.
fn can_be_bound(address: IpAddr) -> bool {
    // A port of the system's choice: that of a gateway that runs is its own.
    let bound = UdpSocket::bind((address, 0));
    address.is_unspecified()
        || !bound.is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
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
        (Some(_), None) if !way.is_empty() => ", whose password systemd has to hand over",
        _ => "",
    };
    format!("{hosts}; listens on {}{way}{credential}", listen.join(", "))
}

fn hosts(config: &Config) -> String {
    let all = match config.hosts.len() {
        _ if config.is_blank => "it sets nothing, so that no host is allowed".to_owned(),
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

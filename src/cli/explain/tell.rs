//! The command itself: what is found out, line by line.

use std::net::TcpStream;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::config::load;
use crate::config::schema::Config;
use crate::logic::policy::AllowMode;
use crate::observe::events::{rule, status};
use crate::proto::target::Target;

use super::super::edit::outcome::{Failure, place};
use super::super::hint;
use super::super::inspect;
use super::super::kept_feed;
use super::dial::{self, Stopwatch};
use super::handshake;
use super::relay;
use super::verdict::{self, Listed, Refused};

pub(in super::super) const EXAMPLE: &str = "\
Examples:
  sluice explain www.test.com
  sluice explain intranet.example.com:8443 --dial

Exit code: 0 where a CONNECT gets its tunnel, 1 where it is refused or (with --dial) fails.";

const NAME_COLUMNS: usize = 13;

/// The words of `sluice explain`.
#[derive(Args, Debug)]
pub(in super::super) struct ExplainFlags {
    /// The target, as a client names it in CONNECT; port 443 unless another is given
    #[arg(value_name = "HOST[:PORT]")]
    target: String,

    /// Connects to it, through the relay proxy where one is set, and shakes hands
    #[arg(long)]
    dial: bool,
}

pub(in super::super) fn run(file: Option<&Path>, flags: &ExplainFlags) -> ExitCode {
    let place = place(file);
    let prepared = verdict::target(&flags.target).map_err(Failure::Usage).and_then(|target| {
        let problems = Failure::Configuration;
        Ok((
            target,
            load::read_aside(&place).map_err(problems)?,
            load::text(&place).map_err(problems)?,
        ))
    });
    let (target, mut loaded, text) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => return failure.tell(),
    };
    let file = match loaded.is_from_file {
        true => format!("by {}", place.file.display()),
        false => format!("by the defaults, as there is no {}", place.file.display()),
    };
    loaded.config.take_feed(kept_feed::hosts(&loaded.config));
    let mut lines = Lines::default();
    lines.add("CONNECT", &format!("{target}, {file}"));
    let listed = Listed { text: &text, file: &place.file, flag: hint::flag(&place) };
    let explained = explain(&target, &loaded.config, &listed, flags.dial, &mut lines);
    match &explained {
        Ok(()) => {}
        Err(Unable::Refused(refused)) => lines.refusal("verdict", "refused", refused),
        Err(Unable::Dial(refused)) => lines.refusal("dial", "fails", refused),
        // The tunnel stands, and what goes wrong in it is not the gateway's to refuse.
        Err(Unable::Handshake(why)) => lines.add("tls", &format!("the handshake fails: {why}")),
    }
    let written = inspect::exit_code(inspect::write(&lines.0));
    if explained.is_ok() { written } else { ExitCode::FAILURE }
}

fn explain(
    target: &Target,
    config: &Config,
    listed: &Listed<'_>,
    dials: bool,
    lines: &mut Lines,
) -> Result<(), Unable> {
    if !config.clients.is_empty() {
        let clients: Vec<String> = config.clients.iter().map(ToString::to_string).collect();
        lines.add("clients", &format!("only from {} (allow.clients)", clients.join(", ")));
    }
    match verdict::judge_host(target, config, listed) {
        Ok(by) => lines.add("host", &format!("allowed by {by}")),
        Err(refused) if config.allow_mode == AllowMode::Report => {
            lines.add("host", &format!("not allowed: {} {}", refused.reason, refused.detail));
            lines.add("", "let through because allow.mode is \"report\", and told by event 105");
            refused.hint.iter().for_each(|hint| lines.add("", hint));
        }
        Err(refused) => return Err(refused.into()),
    }
    if !config.client_certificates.is_empty() {
        let told = "a client needs one that is on the list (allow.client_certificates)";
        lines.add("certificates", told);
    }
    let route = relay::route(target, config, listed);
    lines.add("route", &route.told);
    if route.is_relayed && target.host.name().is_some() {
        lines.add("address", "not resolved here: the relay proxy does that");
        lines.add("verdict", "allowed");
        return if dials { through_relay(target, config, lines) } else { Ok(()) };
    }
    let judged = verdict::addresses(target, config)?;
    let width = judged.iter().map(|judged| judged.address.to_string().len()).max().unwrap_or(0);
    for judged in &judged {
        let told = judged.told(listed);
        lines.add("address", &format!("{:<width$}  {told}", judged.address.to_string()));
    }
    let addresses = verdict::dialled(target, &judged, config, listed)?;
    lines.add("verdict", "allowed");
    if !dials {
        return Ok(());
    }
    if route.is_relayed {
        return through_relay(target, config, lines);
    }
    let (stream, told) =
        dial::connect(&addresses, target.port, config, Stopwatch::start()).map_err(Unable::Dial)?;
    lines.add("dial", &told);
    shake(stream, target, config, lines)
}

fn through_relay(target: &Target, config: &Config, lines: &mut Lines) -> Result<(), Unable> {
    let mut told = Vec::new();
    let connected = relay::connect(target, config, &mut told);
    for line in told {
        lines.add("dial", &line);
    }
    shake(connected.map_err(Unable::Dial)?, target, config, lines)
}

fn shake(
    stream: TcpStream,
    target: &Target,
    config: &Config,
    lines: &mut Lines,
) -> Result<(), Unable> {
    let shaken = handshake::shake(stream, target, config).map_err(Unable::Handshake)?;
    for (name, told) in shaken.told(config) {
        lines.add(name, &told);
    }
    Ok(())
}

/// Why a client has no session with the target.
enum Unable {
    /// The rules refuse it.
    Refused(Refused),
    /// It cannot be reached.
    Dial(Refused),
    /// It can be reached, and does not shake hands.
    Handshake(String),
}

impl From<Refused> for Unable {
    fn from(refused: Refused) -> Unable {
        Unable::Refused(refused)
    }
}

/// Lines of a name and what belongs to it.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn refusal(&mut self, name: &str, verb: &str, refused: &Refused) {
        let Refused { reason, detail, hint } = refused;
        let (event, status) = (rule(*reason).id, status(*reason));
        self.add(name, &format!("{verb}: {status} {reason} (event {event}): {detail}"));
        if let Some(hint) = hint {
            self.add("", hint);
        }
    }

    fn add(&mut self, name: &str, text: &str) {
        // Names of certificates and of hosts come from outside.
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        self.0.push_str(&format!("{name:<NAME_COLUMNS$}{text}\n"));
    }
}

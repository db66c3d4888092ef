//! The way through a relay proxy: asked as the gateway asks, one after the other in order of
//! preference. How they fared in the running gateway is not known here, so none is passed over.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::config::schema::Config;
use crate::logic::hosts::HostVerdict;
use crate::logic::reason::Reason;
use crate::proto::relay_reply::{Answer, Answered, ReplyReader};
use crate::proto::relay_request::request;
use crate::proto::target::{Host, Target};
use crate::proto::via::{Via, ViaName};

use super::dial::{self, Stopwatch};
use super::verdict::{self, Listed, Refused};

const READ_BYTES: usize = 4096;

/// The way to a target.
#[derive(Debug)]
pub(super) struct Route {
    /// Through relay proxies; else directly.
    pub(super) is_relayed: bool,
    /// What there is to tell of it.
    pub(super) told: String,
}

/// Which way `target` goes.
pub(super) fn route(target: &Target, config: &Config, listed: &Listed<'_>) -> Route {
    let settings = &config.relay_proxy;
    if settings.addresses.is_empty() {
        return Route { is_relayed: false, told: "direct; no relay proxy is set".to_owned() };
    }
    if let HostVerdict::Allowed(pattern) = settings.direct_hosts().judge(target) {
        let place = listed.origin("relay_proxy.direct", pattern).unwrap_or_default();
        let told = format!("direct, by {pattern} in relay_proxy.direct ({place})");
        return Route { is_relayed: false, told };
    }
    let proxies: Vec<String> =
        settings.addresses.iter().map(|address| format!("http://{address}")).collect();
    let credentials = match &settings.username {
        Some(username) => format!(", with the credentials of {username}"),
        None => String::new(),
    };
    let told = format!("through {}{credentials}", proxies.join(", else "));
    Route { is_relayed: true, told }
}

/// A tunnel to `target` through the first relay proxy that opens one, and a line for each that was
/// asked.
///
/// # Errors
/// None does, or one answers that it will not.
pub(super) fn connect(
    target: &Target,
    config: &Config,
    lines: &mut Vec<String>,
) -> Result<TcpStream, Refused> {
    let started = Stopwatch::start();
    let mut last = Refused {
        reason: Reason::RelayProxyUnreachable,
        detail: "there is none".to_owned(),
        hint: None,
    };
    let mut left = config.relay_proxy.addresses.iter().peekable();
    while let Some(proxy) = left.next() {
        match ask(proxy, target, config, started, lines) {
            Ok(stream) => return Ok(stream),
            Err((refused, true)) => return Err(refused),
            Err((refused, false)) => last = refused,
        }
        // The last one's failure is that of all, which is told by itself.
        if left.peek().is_some() {
            lines.push(format!("{} ({})", last.detail, last.reason));
        }
    }
    Err(last)
}

/// The error says beside why whether it is an answer, after which no other relay proxy is asked.
fn ask(
    proxy: &Target,
    target: &Target,
    config: &Config,
    started: Stopwatch,
    lines: &mut Vec<String>,
) -> Result<TcpStream, (Refused, bool)> {
    let unreachable = |refused: Refused| {
        // The gateway says so whatever the cause is; an address that is the proxy's own says nothing.
        let own = format!("{proxy}: ");
        let why = refused.detail.strip_prefix(&own).unwrap_or(&refused.detail);
        let detail = format!("http://{proxy}: {why}");
        (Refused { reason: Reason::RelayProxyUnreachable, detail, hint: None }, false)
    };
    let addresses = match &proxy.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => {
            verdict::resolve(name, config.limits.resolve_ms).map_err(unreachable)?
        }
    };
    if let Some(looped) = verdict::own(&addresses, proxy.port, config) {
        return Err((looped, true));
    }
    let (mut stream, told) =
        dial::connect(&addresses, proxy.port, config, started).map_err(unreachable)?;
    let told = told.strip_prefix(&format!("{proxy} ")).unwrap_or(&told);
    lines.push(format!("http://{proxy}: {told}"));
    let asked = Stopwatch::start();
    let refused = |reason, detail| Refused { reason, detail, hint: None };
    let answer = exchange(&mut stream, target, config).map_err(|failed| match failed {
        Failed::Late => {
            let limit = config.limits.relay_proxy_ms;
            let why =
                format!("http://{proxy}: no answer within {limit} ms (limits.relay_proxy_ms)");
            (refused(Reason::RelayProxyTimeout, why), false)
        }
        Failed::Bad(why) => {
            (refused(Reason::RelayProxyBadReply, format!("http://{proxy}: {why}")), true)
        }
    })?;
    let Answer { status, phrase } = answer;
    let why = format!("http://{proxy}: answered {status} {phrase}");
    match status {
        200..=299 => {
            lines.push(format!("{why} in {}", asked.shown()));
            Ok(stream)
        }
        401 | 407 => Err((refused(Reason::RelayProxyRefusedCredentials, why), true)),
        503 => Err((refused(Reason::RelayProxyRefused, why), false)),
        _ => Err((refused(Reason::RelayProxyRefused, why), true)),
    }
}

/// Why there is no answer.
enum Failed {
    Late,
    Bad(String),
}

fn exchange(stream: &mut TcpStream, target: &Target, config: &Config) -> Result<Answer, Failed> {
    let bad = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failed::Late,
        _ => Failed::Bad(error.to_string()),
    };
    let started = Stopwatch::start();
    let limit = Duration::from_millis(config.limits.relay_proxy_ms);
    let authorization = config.relay_proxy.authorization.as_ref().map(|value| value.reveal());
    // No running gateway has the number of this process for its name.
    let name = ViaName::new(u64::from(std::process::id()));
    let head = zeroize::Zeroizing::new(request(target, &Via::default(), &name, authorization));
    stream.write_all(head.as_bytes()).map_err(bad)?;
    let mut reader = ReplyReader::default();
    let mut bytes = [0; READ_BYTES];
    loop {
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(Failed::Late);
        }
        stream.set_read_timeout(Some(left)).map_err(bad)?;
        let len = stream.read(&mut bytes).map_err(bad)?;
        if len == 0 {
            return Err(Failed::Bad(reader.ended().to_string()));
        }
        match reader.read(&bytes[..len]) {
            Answered::More => {}
            Answered::Whole { answer, early_at } if early_at < len && answer.status < 300 => {
                return Err(Failed::Bad("bytes of the target came before our hello".to_owned()));
            }
            Answered::Whole { answer, .. } => return Ok(answer),
            Answered::Bad(why) => return Err(Failed::Bad(why.to_string())),
        }
    }
}

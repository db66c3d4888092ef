//! What the rules say of a target: its host and port, then each of its addresses.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use ipnet::IpNet;

use super::super::kept_feed;
use crate::config::edit::text::Text;
use crate::config::schema::Config;
use crate::logic::addresses::{Addresses, canonical, reaches};
use crate::logic::hosts::{HostPattern, HostVerdict};
use crate::logic::reason::Reason;
use crate::net::resolver;
use crate::net::sockets;
use crate::proto::target::{Host, Target};

/// How alike a host and an entry must be for the entry to be named.
const LIKENESS: f64 = 0.85;

/// Why a CONNECT would be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) detail: String,
    /// What to do, where there is something to do.
    pub(super) hint: Option<String>,
}

/// The file, for the places in it.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    pub(super) text: &'a Text,
    pub(super) file: &'a Path,
    /// The flag that names it where it was named, as commands that are told have to.
    pub(super) flag: String,
}

/// An address of the target.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) address: IpAddr,
    /// Which kind of address it is, where that is why it is refused.
    verdict: Result<(), &'static str>,
}

/// The target that a person means: the port may be left out, and an IPv6 address needs no brackets.
///
/// # Errors
/// The sentence that tells what is wrong with it.
pub(super) fn target(text: &str) -> Result<Target, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("No target is named. Write a host, as in: sluice explain www.test.com".into());
    }
    let authority = match (Host::parse(text.as_bytes()), text.parse::<IpAddr>()) {
        (_, Ok(IpAddr::V6(address))) => format!("[{address}]:443"),
        (Ok(_), _) => format!("{text}:443"),
        // What is wrong with it is not that it has no port.
        (Err(_), _) if !text.contains(':') => format!("{text}:443"),
        (Err(_), _) => text.to_owned(),
    };
    // Patterns are read more kindly than requests: what a pattern would mean is told.
    Target::parse(authority.as_bytes()).map_err(|error| {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
        let meant = HostPattern::parse(text).ok().filter(|pattern| !pattern.is_wildcard());
        let meant = meant.map(|meant| format!("; a client would write {meant}"));
        format!("\"{shown}\" is no target: {error}{}", meant.unwrap_or_default())
    })
}

/// The pattern that admits host and port, with its place.
///
/// # Errors
/// None does.
pub(super) fn judge_host(
    target: &Target,
    config: &Config,
    listed: &Listed<'_>,
) -> Result<String, Refused> {
    match config.hosts.judge(target) {
        HostVerdict::Allowed(pattern) => Ok(match origin(pattern, config, listed) {
            Some(origin) => format!("{pattern} ({origin})"),
            None => pattern.to_string(),
        }),
        HostVerdict::PortNotAllowed => Err(Refused {
            reason: Reason::PortNotAllowed,
            detail: format!("the host is on the list, but not with port {}", target.port),
            hint: Some(format!("to allow it: sluice allowed-host add {target}{}", listed.flag)),
        }),
        HostVerdict::HostNotAllowed => {
            let near = nearest(target, config).map(|near| format!("; did you mean {near}?"));
            let lists = match (config.derived_hosts.is_empty(), &config.feed) {
                (true, None) => "allow.hosts",
                (false, None) => "allow.hosts and none that follows from azure",
                (true, Some(_)) => "allow.hosts and none that was kept of allow.feed",
                (false, Some(_)) => {
                    "allow.hosts, none that follows from azure, and none that was kept of \
                     allow.feed"
                }
            };
            let unknown = config.feed.as_ref().filter(|_| config.feed_hosts.is_empty());
            let unknown = unknown.map(|feed| format!("; {}", kept_feed::without_list(feed)));
            let (near, unknown) = (near.unwrap_or_default(), unknown.unwrap_or_default());
            Err(Refused {
                reason: Reason::HostNotAllowed,
                detail: format!("no pattern in {lists} admits it{near}{unknown}"),
                hint: Some(format!(
                    "to allow it: sluice allowed-host add {}{}",
                    pattern_of(target),
                    listed.flag
                )),
            })
        }
    }
}

/// Where a pattern stands, or else what it follows from or is of.
fn origin(pattern: &HostPattern, config: &Config, listed: &Listed<'_>) -> Option<String> {
    let derived = || config.derived_hosts.iter().find(|derived| derived.pattern == *pattern);
    let fed = || config.feed_hosts.contains(pattern).then(|| kept_feed::origin(config));
    listed
        .origin("allow.hosts", pattern)
        .or_else(|| Some(format!("azure: {}", derived()?.origin())))
        .or_else(|| fed().flatten())
}

/// Every address of the target, judged.
///
/// # Errors
/// There is none, or none in time.
pub(super) fn addresses(target: &Target, config: &Config) -> Result<Vec<Judged>, Refused> {
    let judged = |address| Judged { address, verdict: config.addresses.judge(address) };
    match &target.host {
        Host::Address(address) => Ok(vec![judged(*address)]),
        Host::Name(name) => {
            Ok(resolve(name, config.limits.resolve_ms)?.into_iter().map(judged).collect())
        }
    }
}

/// The addresses that would be dialled.
///
/// # Errors
/// None of them may be, or it is the gateway itself.
pub(super) fn dialled(
    target: &Target,
    judged: &[Judged],
    config: &Config,
    listed: &Listed<'_>,
) -> Result<Vec<IpAddr>, Refused> {
    let allowed = judged.iter().filter(|judged| judged.verdict.is_ok());
    let allowed: Vec<IpAddr> = allowed.map(|judged| judged.address).collect();
    if allowed.is_empty() {
        let first = judged.first().map(|judged| judged.address.to_string()).unwrap_or_default();
        let named = match judged.first().is_some_and(Judged::needs_its_name) {
            true => "name this very address in allow.addresses, as no range admits it",
            false => "add its range to allow.addresses",
        };
        return Err(Refused {
            reason: Reason::AddressNotAllowed,
            detail: "none of its addresses may be reached".to_owned(),
            hint: Some(format!(
                "if this is meant to be reached, {named}, as in: sluice config set \
                 allow.addresses {}{} (which sets the whole list)",
                listed.addresses_and(&first),
                listed.flag
            )),
        });
    }
    match own(&allowed, target.port, config) {
        Some(looped) => Err(looped),
        None => Ok(allowed),
    }
}

/// The refusal of an address at which this gateway listens itself, if there is one among these.
pub(super) fn own(addresses: &[IpAddr], port: u16, config: &Config) -> Option<Refused> {
    let is_own = |address: &SocketAddr| {
        config.listen.iter().any(|own| reaches(*address, *own))
            && sockets::is_own_address(address.ip())
    };
    let address = addresses.iter().map(|ip| SocketAddr::new(*ip, port)).find(is_own)?;
    let detail = format!("{address} is this gateway itself");
    Some(Refused { reason: Reason::Loop, detail, hint: None })
}

/// The addresses of a name, asked of the system as the gateway asks.
///
/// # Errors
/// It has none, or the system does not answer within `resolve_ms`.
pub(super) fn resolve(name: &str, resolve_ms: u64) -> Result<Vec<IpAddr>, Refused> {
    let (sender, answer) = channel();
    let asked = name.to_owned();
    // A question to the system cannot be called off; the thread ends with the process.
    std::thread::spawn(move || sender.send(resolver::ask_system(&asked)));
    let refused = |reason, detail| Refused { reason, detail, hint: None };
    match answer.recv_timeout(Duration::from_millis(resolve_ms)) {
        Ok(Ok(addresses)) if addresses.is_empty() => {
            Err(refused(Reason::ResolveFailed, "the name has no address".to_owned()))
        }
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(refused(Reason::ResolveFailed, format!("{name}: {}", error.text))),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            let why = format!("{name}: no answer within {resolve_ms} ms (limits.resolve_ms)");
            Err(refused(Reason::ResolveTimeout, why))
        }
    }
}

impl Judged {
    /// Whether a range around it would not do.
    fn needs_its_name(&self) -> bool {
        let all = ["0.0.0.0/0", "::/0"].iter().filter_map(|block| block.parse().ok());
        Addresses::new(all.collect()).judge(self.address).is_err()
    }

    /// The verdict, with the block that led to it.
    pub(super) fn told(&self, listed: &Listed<'_>) -> String {
        let kind = match self.verdict {
            Err(kind) => return format!("refused: it is {kind}, and not in allow.addresses"),
            Ok(()) => Addresses::new(Vec::new()).judge(self.address).err(),
        };
        let Some(kind) = kind else { return "allowed".to_owned() };
        match listed.block(self.address) {
            Some(block) => format!("allowed: {kind}, by {block}"),
            None => format!("allowed: {kind}, by allow.addresses"),
        }
    }
}

impl Listed<'_> {
    /// Where the pattern stands in a list of patterns.
    pub(super) fn origin(&self, key: &str, pattern: &HostPattern) -> Option<String> {
        let entries = self.text.strings(key).unwrap_or_default();
        let is_it = |text: &str| HostPattern::parse(text).is_ok_and(|entry| entry == *pattern);
        let (offset, _) = entries.into_iter().find(|(_, text)| is_it(text))?;
        Some(self.place(offset))
    }

    /// The block of `allow.addresses` that holds an address.
    fn block(&self, address: IpAddr) -> Option<String> {
        let entries = self.text.strings("allow.addresses").unwrap_or_default();
        let holds = |text: &str| match (text.parse::<IpAddr>(), text.parse::<IpNet>()) {
            (Ok(single), _) => canonical(single) == canonical(address),
            (_, Ok(block)) => block.contains(&address) || block.contains(&canonical(address)),
            _ => false,
        };
        let (offset, text) = entries.into_iter().find(|(_, text)| holds(text))?;
        Some(format!("{text} ({})", self.place(offset)))
    }

    /// The whole of `allow.addresses` with one more.
    fn addresses_and(&self, address: &str) -> String {
        let entries = self.text.strings("allow.addresses").unwrap_or_default();
        let mut all: Vec<String> = entries.into_iter().map(|(_, text)| text.to_string()).collect();
        all.push(address.to_owned());
        all.join(" ")
    }

    fn place(&self, offset: usize) -> String {
        let (line, column) = self.text.position(offset);
        format!("{}:{line}:{column}", self.file.display())
    }
}

/// The target as one would list it.
fn pattern_of(target: &Target) -> String {
    match (&target.host, target.port) {
        (host, 443) => host.to_string(),
        _ => target.to_string(),
    }
}

fn nearest(target: &Target, config: &Config) -> Option<String> {
    let wanted = pattern_of(target);
    let likeness = |text: &String| strsim::jaro_winkler(&wanted, text);
    let entries = config.hosts.iter().map(ToString::to_string);
    let nearest = entries.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&nearest) >= LIKENESS).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::parse;

    fn config(text: &str) -> Config {
        parse(text.as_bytes(), Path::new("f.toml")).unwrap()
    }

    #[test]
    fn a_target_is_what_a_person_means() {
        for (text, meant) in [
            ("www.test.com", "www.test.com:443"),
            (" WWW.Test.com. ", "www.test.com:443"),
            ("www.test.com:8443", "www.test.com:8443"),
            ("::1", "[::1]:443"),
            ("[::1]", "[::1]:443"),
            ("[::1]:80", "[::1]:80"),
            ("10.0.0.1", "10.0.0.1:443"),
        ] {
            assert_eq!(
                target(text).map(|target| target.to_string()),
                Ok(meant.to_owned()),
                "{text}"
            );
        }
        for (text, why) in [
            ("https://www.test.com/", "a scheme or a path"),
            ("", "No target is named"),
            (" ", "No target is named"),
            ("www.test.com:0", "no target"),
            ("1.2.3", "\"1.2.3\" is no target"),
            ("*.test.com", "no target"),
            ("b\u{fc}cher.example", "a client would write xn--bcher-kva.example"),
        ] {
            let told = target(text).unwrap_err();
            assert!(told.contains(why) && !told.contains("no port"), "{text}: {told}");
        }
    }

    #[test]
    fn a_host_is_judged_with_the_place_of_its_pattern() {
        let text = "# x\n[allow]\nhosts = [\"a.test.com\", \"*.test.com\", \"b.test.com:80\"]\n";
        let config = config(text);
        let text = Text::new(text);
        let listed = Listed { text: &text, file: Path::new("f.toml"), flag: String::new() };
        let judged = |name: &str| judge_host(&target(name).unwrap(), &config, &listed);
        assert_eq!(judged("a.test.com"), Ok("a.test.com (f.toml:3:10)".to_owned()));
        assert_eq!(judged("x.test.com"), Ok("*.test.com (f.toml:3:24)".to_owned()));
        let refused = judged("a.test.com:80").unwrap_err();
        assert_eq!(refused.reason, Reason::PortNotAllowed);
        let refused = judged("a.tset.com").unwrap_err();
        assert_eq!(refused.reason, Reason::HostNotAllowed);
        assert!(refused.detail.ends_with("did you mean a.test.com?"), "{refused:?}");
        assert_eq!(refused.hint.unwrap(), "to allow it: sluice allowed-host add a.tset.com");
    }

    #[test]
    fn a_host_that_follows_from_a_workspace_is_told_with_it() {
        let id = "01234567-89ab-cdef-0123-456789abcdef";
        let text = format!("azure.workspaces = [\"{id}\"]\n");
        let config = config(&text);
        let text = Text::new(text);
        let listed = Listed { text: &text, file: Path::new("f.toml"), flag: String::new() };
        let judged = |name: &str| judge_host(&target(name).unwrap(), &config, &listed);
        let name = format!("{id}.ods.opinsights.azure.com");
        let told = format!("{name} (azure: legacy-agent, workspace {id})");
        assert_eq!(judged(&name), Ok(told));
        let refused = judged("a.test.com").unwrap_err();
        assert!(refused.detail.contains("and none that follows from azure"), "{refused:?}");
    }

    #[test]
    fn addresses_are_judged_with_the_block_that_admits_them() {
        let text =
            "listen = [\"0.0.0.0:8080\"]\nallow.addresses = [\"10.0.0.0/8\", \"127.0.0.1\"]\n";
        let config = config(text);
        let text = Text::new(text);
        let listed = Listed { text: &text, file: Path::new("f.toml"), flag: String::new() };
        for (name, told) in [
            ("10.1.2.3", "allowed: private, by 10.0.0.0/8 (f.toml:2:20)"),
            ("127.0.0.1", "allowed: loopback, by 127.0.0.1 (f.toml:2:34)"),
            ("8.8.8.8", "allowed"),
            ("192.168.0.1", "refused: it is private, and not in allow.addresses"),
            ("169.254.169.254", "refused: it is cloud metadata, and not in allow.addresses"),
        ] {
            let target = target(name).unwrap();
            let judged = addresses(&target, &config).unwrap();
            assert_eq!(judged[0].told(&listed), told);
            let is_allowed = told.starts_with("allowed");
            assert_eq!(dialled(&target, &judged, &config, &listed).is_ok(), is_allowed, "{name}");
        }
        for (name, words) in
            [("192.168.0.1", "add its range"), ("169.254.169.254", "name this very address")]
        {
            let target = target(name).unwrap();
            let judged = addresses(&target, &config).unwrap();
            let hint = dialled(&target, &judged, &config, &listed).unwrap_err().hint.unwrap();
            assert!(
                hint.contains(words) && hint.contains(&format!("10.0.0.0/8 127.0.0.1 {name}")),
                "{hint}"
            );
        }
        let own = target("127.0.0.1:8080").unwrap();
        let refused =
            dialled(&own, &addresses(&own, &config).unwrap(), &config, &listed).unwrap_err();
        assert_eq!(refused.reason, Reason::Loop);
    }
}

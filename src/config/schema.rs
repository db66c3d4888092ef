//! What can be configured: the values, their defaults, and the range of every limit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::azure::expansion::Derived;
use crate::azure::wanted::Wanted;
use crate::logic::addresses::Addresses;
use crate::logic::certificates::{Subjects, UnseenAllowed};
use crate::logic::hosts::{HostPattern, Hosts};
use crate::logic::limits::Limits;
use crate::logic::policy::AllowMode;
use crate::observe::settings::{EventSettings, Format};
use crate::proto::tls::Version;

use super::feed::FeedSettings;
use super::problem::Problem;
use super::relay_proxy::RelayProxySettings;

/// The port of the original gateway.
const DEFAULT_PORT: u16 = 8080;
/// The port of the admin listener: none that a service of the same machine is known for.
const ADMIN_PORT: u16 = 9180;

/// Most workers that can be asked for: more than the cores of any machine this runs on.
pub const WORKERS_MAX: u64 = 256;
/// Most addresses that `listen` may name: a reload may open as many others before it closes these.
pub const ADDRESSES_MAX: usize = 128;

/// A whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on; port 0 is for tests. Every address of both families, port 8080.
    pub listen: Vec<SocketAddr>,
    /// The file holds no key at all.
    pub is_blank: bool,
    /// What is most probably not meant, in the order of the file. It ends no start.
    pub doubts: Vec<Problem>,
    /// Nobody chose `listen`, so that an address family which the machine lacks is no mistake.
    pub listen_is_default: bool,
    /// Threads that relay. 0 = one per core.
    pub workers: usize,
    /// How tunnels move bytes.
    pub carrier: CarrierChoice,
    /// Through whom targets are reached. Nobody: directly.
    pub relay_proxy: RelayProxySettings,
    /// Addresses to dial from, each with ephemeral ports of its own. Empty = the system's choice.
    pub source_addresses: Vec<IpAddr>,
    /// Hosts that may be reached: those that are listed, those that follow from `azure`, and those of
    /// the feed. None: a gateway that nobody configured opens nothing.
    pub hosts: Hosts,
    /// What becomes of other hosts. They are refused.
    pub allow_mode: AllowMode,
    /// Hosts that the file lists.
    pub listed_hosts: Vec<HostPattern>,
    /// The workspaces, clouds, regions and profiles that hosts follow from.
    pub azure: Wanted,
    /// Hosts that follow from `azure`.
    pub derived_hosts: Vec<Derived>,
    /// A list of hosts that is downloaded; none unless somebody names one.
    pub feed: Option<FeedSettings>,
    /// The hosts of that list. They are not in the file, so whoever has them brings them in.
    pub feed_hosts: Vec<HostPattern>,
    /// Whether the subject `CN=<workspace id>` of each workspace is an allowed client certificate.
    pub allows_workspace_certificates: bool,
    /// Special-purpose ranges that may be reached after all.
    pub addresses: Addresses,
    /// Ranges of clients that may connect. Empty = everyone.
    pub clients: Vec<IpNet>,
    /// Ranges of load balancers whose PROXY header is believed, and required. None: whoever connects
    /// is the client.
    pub balancers: Vec<IpNet>,
    /// Whether open tunnels to a host that a reload takes off the list are cut. Off: they live on.
    pub cuts_open: bool,
    /// The lowest version of TLS that passes. TLS 1.2: RFC 8996 deprecates what is below.
    pub min_version: Version,
    /// Whether the server name of a hello must be the host of its CONNECT.
    pub match_server_name: bool,
    /// Subjects of client certificates that are admitted. Empty: certificates are not looked at.
    pub client_certificates: Subjects,
    /// With such a list, whether sessions pass of which no certificate can be seen. Refused: a check
    /// that is passed by not showing up is none.
    pub unseen_client_certificate: UnseenAllowed,
    /// Every limit.
    pub limits: Limits,
    /// Where events go.
    pub events: EventSettings,
    /// Where health, metrics and status are answered; `None` = off. Loopback, port 9180: whoever may
    /// read them from elsewhere is for the operator to say.
    pub admin_listen: Option<SocketAddr>,
}

/// How tunnels move bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CarrierChoice {
    /// By splice where the system has it, else by copy.
    #[default]
    Auto,
    /// By splice; by copy only where no pipe can be had.
    Splice,
    /// By copy.
    Copy,
}

/// What flags of the command line set, at the start and again at each reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Takes the place of `listen` where it is not empty.
    pub listen: Vec<SocketAddr>,
    /// Takes the place of `events.format`.
    pub log_format: Option<Format>,
}

impl Overrides {
    /// The keys of the file whose place they take.
    pub fn keys(&self) -> Vec<&'static str> {
        let listen = (!self.listen.is_empty()).then_some("listen");
        let format = self.log_format.map(|_| "events.format");
        listen.into_iter().chain(format).collect()
    }
}

impl Config {
    /// Lets the flags beat the file.
    pub fn apply(&mut self, overrides: &Overrides) {
        if !overrides.listen.is_empty() {
            self.listen.clear();
            for &address in &overrides.listen {
                if !self.listen.contains(&address) {
                    self.listen.push(address);
                }
            }
            self.listen_is_default = false;
        }
        if let Some(format) = overrides.log_format {
            self.events.format = format;
        }
    }

    /// Lets these be the hosts of the feed, beside those that the file lists and those that follow from
    /// it.
    pub fn take_feed(&mut self, hosts: Vec<HostPattern>) {
        self.feed_hosts = hosts;
        let derived = self.derived_hosts.iter().map(|derived| &derived.pattern);
        let all = self.listed_hosts.iter().chain(derived).chain(&self.feed_hosts);
        self.hosts = Hosts::new(all.cloned());
    }

    /// Whether some address has port 0, which the system replaces: for tests, and no good in a file.
    pub fn listens_on_any_port(&self) -> bool {
        self.listen.iter().chain(&self.admin_listen).any(|address| address.port() == 0)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: vec![
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)),
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)),
            ],
            is_blank: true,
            doubts: Vec::new(),
            listen_is_default: true,
            workers: 0,
            carrier: CarrierChoice::default(),
            relay_proxy: RelayProxySettings::default(),
            source_addresses: Vec::new(),
            hosts: Hosts::default(),
            allow_mode: AllowMode::default(),
            listed_hosts: Vec::new(),
            azure: Wanted::default(),
            derived_hosts: Vec::new(),
            feed: None,
            feed_hosts: Vec::new(),
            allows_workspace_certificates: false,
            addresses: Addresses::new(Vec::new()),
            clients: Vec::new(),
            balancers: Vec::new(),
            cuts_open: false,
            min_version: Version::TLS12,
            match_server_name: true,
            client_certificates: Subjects::default(),
            unseen_client_certificate: UnseenAllowed::default(),
            limits: Limits::default(),
            events: EventSettings::default(),
            admin_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT))),
        }
    }
}

/// A key of `[limits]`, the values it takes, and where the value goes.
pub struct Limit {
    /// The key.
    pub key: &'static str,
    /// The least value. 0 = the limit can be switched off.
    pub least: u64,
    /// The largest value.
    pub most: u64,
    /// Puts a value within the range in its place.
    pub set: fn(&mut Limits, u64),
}

/// Sessions that can be asked for: beyond the descriptors of any system.
const SESSIONS_MAX: u64 = 10_000_000;
/// Bytes that one session may hold before it is judged.
const HELD_BYTES_MAX: u64 = 1 << 20;
/// 24 days. A poll's timeout is an `i32` of milliseconds, which 25 days overflow.
const TIME_MS_MAX: u64 = 24 * 24 * 3_600 * 1_000;
/// The most that the kernel takes for TCP_KEEPIDLE.
const KEEPALIVE_S_MAX: u64 = 32_767;

/// Every limit; what each is for is told where `Limits` is.
pub const LIMITS: [Limit; 15] = [
    size("sessions", 0, SESSIONS_MAX, |limits, value| limits.sessions = value as usize),
    size("sessions_per_client", 0, SESSIONS_MAX, |limits, value| {
        limits.sessions_per_client = value as usize;
    }),
    // 64 bytes hold the shortest useful CONNECT, 512 the shortest hello of TLS 1.3.
    size("head_bytes", 64, HELD_BYTES_MAX, |limits, value| limits.head_bytes = value as usize),
    size("hello_bytes", 512, HELD_BYTES_MAX, |limits, value| limits.hello_bytes = value as usize),
    time("head_ms", 1, |limits, value| limits.head_ms = value),
    time("resolve_ms", 1, |limits, value| limits.resolve_ms = value),
    time("dial_ms", 1, |limits, value| limits.dial_ms = value),
    time("relay_proxy_ms", 1, |limits, value| limits.relay_proxy_ms = value),
    time("hello_ms", 1, |limits, value| limits.hello_ms = value),
    time("idle_ms", 0, |limits, value| limits.idle_ms = value),
    time("half_closed_ms", 0, |limits, value| limits.half_closed_ms = value),
    time("session_ms", 0, |limits, value| limits.session_ms = value),
    // 0 is no time at all here: a stop that waits for no one.
    time("drain_ms", 0, |limits, value| limits.drain_ms = value),
    time("drain_notice_ms", 0, |limits, value| limits.drain_notice_ms = value),
    size("keepalive_s", 0, KEEPALIVE_S_MAX, |limits, value| limits.keepalive_s = value),
];

const fn size(key: &'static str, least: u64, most: u64, set: fn(&mut Limits, u64)) -> Limit {
    Limit { key, least, most, set }
}

const fn time(key: &'static str, least: u64, set: fn(&mut Limits, u64)) -> Limit {
    Limit { key, least, most: TIME_MS_MAX, set }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_key_a_range_and_a_default_within_it() {
        let shown = format!("{:?}", Limits::default());
        assert_eq!(shown.matches(": ").count(), LIMITS.len(), "{shown}");
        for limit in LIMITS {
            let mut limits = Limits::default();
            (limit.set)(&mut limits, 77);
            let changed = format!("{limits:?}");
            assert!(changed.contains(&format!(" {}: 77", limit.key)), "{changed}");
            let (_, rest) = shown.split_once(&format!(" {}: ", limit.key)).expect(limit.key);
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let value: u64 = digits.parse().unwrap();
            assert!((limit.least..=limit.most).contains(&value), "{}", limit.key);
        }
    }

    #[test]
    fn flags_beat_the_file_and_absent_flags_do_not() {
        let mut config = Config::default();
        config.apply(&Overrides::default());
        assert!(config.listen_is_default && config.listen.len() == 2);
        assert!(!config.listens_on_any_port());
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.apply(&Overrides { listen: listen.clone(), log_format: Some(Format::Json) });
        assert!(config.listens_on_any_port());
        assert_eq!((config.listen, config.listen_is_default), (listen, false));
        assert_eq!(config.events.format, Format::Json);
    }
}

//! Who may come in, what may be reached, and what a handshake must show. One value per generation of
//! the configuration: a session keeps the one it began with.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use super::addresses::{Addresses, canonical};
use super::certificates::CertificateRules;
use super::hosts::{HostVerdict, Hosts};
use super::limits::Limits;
use super::reason::Reason;
use super::relay_proxies::RelayRules;
use super::watch::Watch;
use crate::proto::head::HeadError;
use crate::proto::target::{Host, Target};
use crate::proto::tls::Version;
use crate::proto::tls::hello::{ClientHello, ServerHello, ServerName};
use crate::proto::via::Via;

/// Everything that decides about a session.
#[derive(Debug)]
pub struct Policy {
    /// Target names and their ports.
    pub hosts: Hosts,
    /// What becomes of a target that `hosts` does not admit.
    pub mode: AllowMode,
    /// Special-purpose addresses that may be reached after all.
    pub addresses: Addresses,
    /// Blocks of clients that may come in; empty = everyone.
    pub clients: Vec<IpNet>,
    /// Blocks of load balancers whose PROXY header is believed, and required.
    pub balancers: Vec<IpNet>,
    /// How targets are reached: directly, or through a relay proxy.
    pub relay: RelayRules,
    /// What a handshake must show.
    pub tls: TlsRules,
    /// Whose client certificates are admitted; `None` = they are not looked at.
    pub certificates: Option<Arc<CertificateRules>>,
    /// Sizes and times.
    pub limits: Limits,
}

/// What becomes of a target that no host pattern admits. Everything else is enforced in either mode: a
/// fleet whose names are not known yet is no reason to let it reach metadata services or speak SSL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AllowMode {
    /// It is refused.
    #[default]
    Enforce,
    /// It is let through, and told of: for learning which hosts are needed.
    Report,
}

impl AllowMode {
    /// Both.
    pub const ALL: [AllowMode; 2] = [AllowMode::Enforce, AllowMode::Report];

    /// As the configuration spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            AllowMode::Enforce => "enforce",
            AllowMode::Report => "report",
        }
    }
}

/// What a handshake must show.
#[derive(Clone, Copy, Debug)]
pub struct TlsRules {
    /// The lowest version that may be offered at best, and negotiated at all.
    pub min_version: Version,
    /// Whether the hello's server name must be the CONNECT host (RFC 6066 section 3).
    pub match_server_name: bool,
}

/// Why a session is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason of the contract.
    pub reason: Reason,
    /// What the operator needs to know beyond it.
    pub detail: Option<Box<str>>,
}

impl Refusal {
    /// A refusal whose reason says it all.
    pub fn plain(reason: Reason) -> Refusal {
        Refusal { reason, detail: None }
    }

    /// A refusal with what the operator needs to know beyond its reason.
    pub fn because(reason: Reason, detail: impl Into<Box<str>>) -> Refusal {
        Refusal { reason, detail: Some(detail.into()) }
    }
}

impl From<HeadError> for Refusal {
    fn from(error: HeadError) -> Refusal {
        let reason = match &error {
            HeadError::Malformed(_) => Reason::MalformedHead,
            HeadError::MalformedTarget(_) => Reason::MalformedTarget,
            HeadError::UnsupportedVersion => Reason::UnsupportedVersion,
            HeadError::NotConnect => Reason::NotConnect,
            HeadError::TooLarge => Reason::HeadTooLarge,
        };
        Refusal::because(reason, error.to_string())
    }
}

impl Policy {
    /// The watch over a tunnel that opens at `now`.
    pub fn watch(&self, now: Instant) -> Watch {
        let watch = Watch::new(self.tls, self.limits.hello_bytes);
        match &self.certificates {
            Some(rules) => watch.with_certificates(Arc::clone(rules), now),
            None => watch,
        }
    }

    /// Judges who connects.
    pub fn judge_client(&self, client: IpAddr) -> Result<(), Refusal> {
        let client = canonical(client);
        if self.clients.is_empty() || self.clients.iter().any(|block| block.contains(&client)) {
            return Ok(());
        }
        Err(Refusal::plain(Reason::ClientNotAllowed))
    }

    /// Whether a connection from `address` must say for whom it is.
    pub fn is_balancer(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        self.balancers.iter().any(|block| block.contains(&address))
    }

    /// Judges the name and the port that a client asks for. A target that is let through only because
    /// of [`AllowMode::Report`] comes with the reason for which it would be refused.
    pub fn judge_target(&self, target: &Target) -> Result<Option<Reason>, Refusal> {
        let reason = match self.hosts.judge(target) {
            HostVerdict::Allowed(_) => return Ok(None),
            HostVerdict::PortNotAllowed => Reason::PortNotAllowed,
            HostVerdict::HostNotAllowed => Reason::HostNotAllowed,
        };
        match self.mode {
            AllowMode::Enforce => Err(Refusal::plain(reason)),
            AllowMode::Report => Ok(Some(reason)),
        }
    }

    /// Judges the way that a request has come: one that comes back to the gateway that sent it would go
    /// round for ever.
    pub fn judge_way(&self, passed: Option<&Via>) -> Result<(), Refusal> {
        let Some(passed) = passed else { return Ok(()) };
        if passed.names(&self.relay.name) {
            let text = "the request has passed this gateway before";
            return Err(Refusal::because(Reason::Loop, text));
        }
        if passed.is_too_long() {
            return Err(Refusal::because(Reason::Loop, "the request has passed too many proxies"));
        }
        Ok(())
    }

    /// Keeps those of a target's addresses that may be dialled, in their order.
    pub fn judge_addresses(&self, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Refusal> {
        let mut refused = None;
        let mut kept = Vec::with_capacity(addresses.len());
        for &address in addresses {
            match self.addresses.judge(address) {
                Ok(()) => kept.push(address),
                Err(kind) => {
                    refused.get_or_insert_with(|| format!("{address} is {kind}"));
                }
            }
        }
        if !kept.is_empty() {
            return Ok(kept);
        }
        Err(match refused {
            Some(why) => Refusal::because(Reason::AddressNotAllowed, why),
            None => Refusal::because(Reason::ResolveFailed, "the name has no address"),
        })
    }
}

impl TlsRules {
    /// Judges the hello of a client that asked for `target`: version first, then server name.
    pub fn judge_client_hello(&self, hello: &ClientHello, target: &Target) -> Result<(), Refusal> {
        self.judge_version(hello.best, "the client offers at most")?;
        if let ServerName::Unreadable(why) = hello.server_name {
            return Err(Refusal::because(Reason::HandshakeUnreadable, why));
        }
        if !self.match_server_name {
            return Ok(());
        }
        match (&hello.server_name, &target.host) {
            (ServerName::Name(name), Host::Name(host)) if name == host => Ok(()),
            (ServerName::Name(name), Host::Address(address))
                if name.parse::<IpAddr>().is_ok_and(|named| named == *address) =>
            {
                Ok(())
            }
            (ServerName::Name(name), _) => {
                Err(Refusal::because(Reason::ServerNameMismatch, name.clone()))
            }
            (_, Host::Address(_)) => Ok(()),
            (_, Host::Name(_)) => Err(Refusal::plain(Reason::ServerNameMissing)),
        }
    }

    /// Judges the version that a server chose.
    pub fn judge_server_hello(&self, hello: &ServerHello) -> Result<(), Refusal> {
        if hello.version > Version::TLS13 {
            let what = format!("the server chose the unknown version {}", hello.version);
            return Err(Refusal::because(Reason::HandshakeUnreadable, what));
        }
        self.judge_version(hello.version, "the server chose")
    }

    fn judge_version(&self, version: Version, who: &str) -> Result<(), Refusal> {
        if version <= Version::SSL3 {
            // TLCP and the like have a major version below 3 that was never SSL.
            let known = matches!(version, Version::SSL2 | Version::SSL3);
            let reason = if known { Reason::SslVersion } else { Reason::NotTls };
            return Err(Refusal::because(reason, format!("{who} {version}")));
        }
        if version < self.min_version {
            let what = format!("{who} {version}, tls.min_version is {}", self.min_version);
            return Err(Refusal::because(Reason::TlsVersionTooLow, what));
        }
        Ok(())
    }
}

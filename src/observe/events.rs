//! What can be said: ids, levels and counters of every reason, and the event that carries one.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::logic::ending::{Ending, SessionId};
use crate::logic::reason::Reason;

/// How much an event matters, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Steps of a session that goes well.
    Debug,
    /// What an operator reads to know that it runs.
    Info,
    /// A client was refused; the gateway is well.
    Warning,
    /// Something did not work.
    Error,
}

impl Level {
    /// All levels, from least to most.
    pub const ALL: [Level; 4] = [Level::Debug, Level::Info, Level::Warning, Level::Error];

    /// The spelling in events and in `events.level`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// What the contract fixes for a reason: its event id, its level, the counters it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The event id, 100 to 107 or 400 to 403.
    pub id: u16,
    /// The level of its event.
    pub level: Level,
    /// Whether it moves Error Count.
    pub counts_error: bool,
    /// Whether it moves Rejection Count.
    pub counts_rejection: bool,
}

/// The rule of `reason`: section 3 of the contract as one match.
pub const fn rule(reason: Reason) -> Rule {
    use Level::{Debug, Error, Info, Warning};
    let (id, level, counts_error, counts_rejection) = match reason {
        Reason::MalformedHead
        | Reason::MalformedTarget
        | Reason::UnsupportedVersion
        | Reason::NotConnect
        | Reason::HeadTimeout
        | Reason::HeadTooLarge => (104, Warning, false, false),
        Reason::HostNotAllowed
        | Reason::PortNotAllowed
        | Reason::AddressNotAllowed
        | Reason::ClientNotAllowed
        | Reason::Loop => (105, Warning, false, false),
        Reason::ResolveFailed
        | Reason::ResolveTimeout
        | Reason::DialFailed
        | Reason::DialTimeout
        | Reason::NoSourcePort
        | Reason::RelayProxyUnreachable
        | Reason::RelayProxyRefused
        | Reason::RelayProxyRefusedCredentials
        | Reason::RelayProxyBadReply
        | Reason::RelayProxyTimeout
        | Reason::FeedFailed => (403, Error, true, false),
        Reason::TooManySessions | Reason::TooManySessionsOfClient | Reason::ResolverBusy => {
            (400, Warning, true, false)
        }
        Reason::Draining | Reason::ReportMode => (100, Warning, false, false),
        Reason::SslVersion
        | Reason::TlsVersionTooLow
        | Reason::NotTls
        | Reason::ServerSpokeFirst => (106, Warning, false, true),
        Reason::HandshakeUnreadable | Reason::HelloTooLarge => (402, Error, true, true),
        Reason::ServerNameMismatch
        | Reason::ServerNameMissing
        | Reason::ClientCertificateNotAllowed
        | Reason::ClientCertificateUnseenTls13
        | Reason::ClientCertificateUnseenResumed
        | Reason::ClientCertificateUnseenNone => (105, Warning, false, true),
        Reason::TlsVerified => (107, Debug, false, false),
        Reason::ConnectReceived => (103, Debug, false, false),
        Reason::SessionEnded
        | Reason::Listening
        | Reason::ListenSkipped
        | Reason::ListenClosed
        | Reason::LimitsKnown
        | Reason::NothingAllowed
        | Reason::Reloaded
        | Reason::FeedUpdated
        | Reason::RelayProxyReached
        | Reason::DrainStarted => (100, Info, false, false),
        // The sessions that it fails are told and counted as errors of their own.
        Reason::RelayProxyLost => (100, Warning, false, false),
        Reason::Started => (101, Info, false, false),
        Reason::Stopped => (102, Info, false, false),
        Reason::ConfigurationInvalid | Reason::SecretReadable => (401, Error, true, false),
        Reason::SessionPanicked
        | Reason::EventsLost
        | Reason::FeedCacheFailed
        | Reason::DescriptorsExhausted
        | Reason::PipesExhausted
        | Reason::OutletFailed
        | Reason::OutletNotReopened
        | Reason::Internal => (400, Error, true, false),
    };
    Rule { id, level, counts_error, counts_rejection }
}

/// The HTTP status of a refusal before the tunnel; 500 where the contract names none.
pub const fn status(reason: Reason) -> u16 {
    match reason {
        Reason::MalformedHead | Reason::MalformedTarget | Reason::UnsupportedVersion => 400,
        Reason::NotConnect => 405,
        Reason::HeadTimeout => 408,
        Reason::HeadTooLarge => 431,
        Reason::HostNotAllowed
        | Reason::PortNotAllowed
        | Reason::AddressNotAllowed
        | Reason::ClientNotAllowed
        | Reason::Loop => 403,
        Reason::ResolveFailed
        | Reason::DialFailed
        | Reason::RelayProxyUnreachable
        | Reason::RelayProxyRefused
        | Reason::RelayProxyRefusedCredentials
        | Reason::RelayProxyBadReply => 502,
        Reason::ResolveTimeout | Reason::DialTimeout | Reason::RelayProxyTimeout => 504,
        Reason::NoSourcePort
        | Reason::TooManySessions
        | Reason::TooManySessionsOfClient
        | Reason::ResolverBusy
        | Reason::Draining => 503,
        _ => 500,
    }
}

/// Whether `reason` refuses a session, before the tunnel by a status or in it by closing:
/// the label set of `sluice_refusals_total`.
pub const fn refuses(reason: Reason) -> bool {
    // What is refused in the tunnel moves Rejection Count.
    status(reason) != 500 || rule(reason).counts_rejection
}

/// One thing that happened. Cheap to make; an outlet's thread turns it into text.
///
/// Text in it may be raw from the network: rendering escapes and caps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Wall clock, as the worker knew it.
    pub time: SystemTime,
    /// What happened; id and level follow from it by [`rule`].
    pub reason: Reason,
    /// The session it happened to.
    pub session: Option<SessionId>,
    /// Who connected to us.
    pub client: Option<SocketAddr>,
    /// The `host:port` the client named.
    pub target: Option<Box<str>>,
    /// The address dialled, bound or judged.
    pub address: Option<SocketAddr>,
    /// The name in the hello.
    pub server_name: Option<Box<str>>,
    /// The TLS version offered or agreed, as in `1.2`.
    pub tls_version: Option<&'static str>,
    /// The subject of the client's certificate.
    pub subject: Option<Box<str>>,
    /// The HTTP status sent to the client.
    pub status: Option<u16>,
    /// What a closing event adds.
    pub ended: Option<Box<Ended>>,
    /// How many events this one stands for, where like events were left out or lost.
    pub count: Option<u64>,
    /// What the message needs beyond the fields: the text of an OS error, a limit, a position.
    pub detail: Option<Box<str>>,
    /// It tells of a refusal that was left out, as `allow.mode = "report"` asks for.
    pub is_reported: bool,
}

/// What `session_ended` tells of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Stage, side and cause.
    pub ending: Ending,
    /// Bytes from client to remote.
    pub bytes_up: u64,
    /// Bytes from remote to client.
    pub bytes_down: u64,
    /// From accept to close.
    pub duration: Duration,
}

impl Event {
    /// An event without any field yet.
    pub const fn new(reason: Reason, time: SystemTime) -> Event {
        Event {
            time,
            reason,
            session: None,
            client: None,
            target: None,
            address: None,
            server_name: None,
            tls_version: None,
            subject: None,
            status: None,
            ended: None,
            count: None,
            detail: None,
            is_reported: false,
        }
    }

    /// Names the session.
    pub fn session(mut self, session: SessionId) -> Event {
        self.session = Some(session);
        self
    }

    /// Names the client.
    pub fn client(mut self, client: SocketAddr) -> Event {
        self.client = Some(client);
        self
    }

    /// Names the target, `host:port`.
    pub fn target(mut self, target: impl Into<Box<str>>) -> Event {
        self.target = Some(target.into());
        self
    }

    /// Names the address dialled, bound or judged.
    pub fn address(mut self, address: SocketAddr) -> Event {
        self.address = Some(address);
        self
    }

    /// Gives the name in the hello.
    pub fn server_name(mut self, server_name: impl Into<Box<str>>) -> Event {
        self.server_name = Some(server_name.into());
        self
    }

    /// Gives the TLS version, as in `1.2`.
    pub fn tls_version(mut self, tls_version: &'static str) -> Event {
        self.tls_version = Some(tls_version);
        self
    }

    /// Gives the subject of the client's certificate.
    pub fn subject(mut self, subject: impl Into<Box<str>>) -> Event {
        self.subject = Some(subject.into());
        self
    }

    /// Gives the HTTP status sent to the client.
    pub fn status(mut self, status: u16) -> Event {
        self.status = Some(status);
        self
    }

    /// Tells how the session ended.
    pub fn ended(mut self, ended: Ended) -> Event {
        self.ended = Some(Box::new(ended));
        self
    }

    /// Tells how many events this one stands for.
    pub fn count(mut self, count: u64) -> Event {
        self.count = Some(count);
        self
    }

    /// Adds what the message needs beyond the fields.
    pub fn detail(mut self, detail: impl Into<Box<str>>) -> Event {
        self.detail = Some(detail.into());
        self
    }

    /// Tells that nothing was refused for this.
    pub fn reported(mut self) -> Event {
        self.is_reported = true;
        self
    }

    /// Bytes this event holds while it is queued: the measure of the queue's bound.
    pub fn size_bytes(&self) -> usize {
        let texts = [&self.target, &self.server_name, &self.subject, &self.detail];
        let text_bytes: usize = texts.into_iter().flatten().map(|text| text.len()).sum();
        let ended_bytes = self.ended.as_ref().map_or(0, |_| size_of::<Ended>());
        size_of::<Event>() + text_bytes + ended_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the contract as rows: reason, id, level, status, counts (e)rror / (r)ejection.
    const CONTRACT: &[(&str, u16, &str, u16, &str)] = &[
        ("malformed_head", 104, "warning", 400, ""),
        ("malformed_target", 104, "warning", 400, ""),
        ("unsupported_version", 104, "warning", 400, ""),
        ("not_connect", 104, "warning", 405, ""),
        ("head_timeout", 104, "warning", 408, ""),
        ("head_too_large", 104, "warning", 431, ""),
        ("host_not_allowed", 105, "warning", 403, ""),
        ("port_not_allowed", 105, "warning", 403, ""),
        ("address_not_allowed", 105, "warning", 403, ""),
        ("client_not_allowed", 105, "warning", 403, ""),
        ("loop", 105, "warning", 403, ""),
        ("resolve_failed", 403, "error", 502, "e"),
        ("resolve_timeout", 403, "error", 504, "e"),
        ("dial_failed", 403, "error", 502, "e"),
        ("dial_timeout", 403, "error", 504, "e"),
        ("no_source_port", 403, "error", 503, "e"),
        ("relay_proxy_unreachable", 403, "error", 502, "e"),
        ("relay_proxy_refused", 403, "error", 502, "e"),
        ("relay_proxy_refused_credentials", 403, "error", 502, "e"),
        ("relay_proxy_bad_reply", 403, "error", 502, "e"),
        ("relay_proxy_timeout", 403, "error", 504, "e"),
        ("too_many_sessions", 400, "warning", 503, "e"),
        ("too_many_sessions_of_client", 400, "warning", 503, "e"),
        ("resolver_busy", 400, "warning", 503, "e"),
        ("draining", 100, "warning", 503, ""),
        ("ssl_version", 106, "warning", 0, "r"),
        ("tls_version_too_low", 106, "warning", 0, "r"),
        ("not_tls", 106, "warning", 0, "r"),
        ("server_spoke_first", 106, "warning", 0, "r"),
        ("handshake_unreadable", 402, "error", 0, "er"),
        ("hello_too_large", 402, "error", 0, "er"),
        ("server_name_mismatch", 105, "warning", 0, "r"),
        ("server_name_missing", 105, "warning", 0, "r"),
        ("client_certificate_not_allowed", 105, "warning", 0, "r"),
        ("client_certificate_unseen_tls13", 105, "warning", 0, "r"),
        ("client_certificate_unseen_resumed", 105, "warning", 0, "r"),
        ("client_certificate_unseen_none", 105, "warning", 0, "r"),
        ("tls_verified", 107, "debug", 500, ""),
        ("connect_received", 103, "debug", 500, ""),
        ("session_ended", 100, "info", 500, ""),
        ("listening", 100, "info", 500, ""),
        ("listen_skipped", 100, "info", 500, ""),
        ("listen_closed", 100, "info", 500, ""),
        ("limits", 100, "info", 500, ""),
        ("nothing_allowed", 100, "info", 500, ""),
        ("report_mode", 100, "warning", 500, ""),
        ("reloaded", 100, "info", 500, ""),
        ("feed_updated", 100, "info", 500, ""),
        // It is a host of the network that does not give what it should.
        ("feed_failed", 403, "error", 500, "e"),
        ("feed_cache_failed", 400, "error", 500, "e"),
        ("relay_proxy_reached", 100, "info", 500, ""),
        ("relay_proxy_lost", 100, "warning", 500, ""),
        ("drain_started", 100, "info", 500, ""),
        ("started", 101, "info", 500, ""),
        ("stopped", 102, "info", 500, ""),
        ("configuration_invalid", 401, "error", 500, "e"),
        ("secret_readable", 401, "error", 500, "e"),
        ("session_panicked", 400, "error", 500, "e"),
        ("events_lost", 400, "error", 500, "e"),
        ("descriptors_exhausted", 400, "error", 500, "e"),
        ("pipes_exhausted", 400, "error", 500, "e"),
        ("outlet_failed", 400, "error", 500, "e"),
        ("outlet_not_reopened", 400, "error", 500, "e"),
        ("internal", 400, "error", 500, "e"),
    ];

    #[test]
    fn every_reason_follows_the_contract() {
        assert_eq!(CONTRACT.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            let row = CONTRACT.iter().find(|row| row.0 == reason.as_str());
            let &(_, id, level, http, counts) = row.expect("each reason has a row");
            let rule = rule(reason);
            assert_eq!((rule.id, rule.level.as_str()), (id, level), "{reason}");
            assert_eq!(rule.counts_error, counts.contains('e'), "{reason}");
            assert_eq!(rule.counts_rejection, counts.contains('r'), "{reason}");
            // 0 marks a refusal inside the tunnel, where no status can be sent any more.
            assert_eq!(status(reason), if http == 0 { 500 } else { http }, "{reason}");
            assert_eq!(refuses(reason), http != 500, "{reason}");
        }
    }

    #[test]
    fn levels_are_ordered() {
        assert!(Level::ALL.is_sorted());
        assert!(Level::Warning > Level::Info);
    }

    #[test]
    fn the_size_of_an_event_covers_its_texts() {
        let bare = Event::new(Reason::Started, SystemTime::UNIX_EPOCH);
        let told = bare.clone().target("x".repeat(300)).detail("y".repeat(50));
        assert_eq!(told.size_bytes(), bare.size_bytes() + 350);
    }
}

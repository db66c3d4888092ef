//! Every reason the gateway can give, as one value for reply, alert, event and counter.

use std::fmt;

/// Why something happened. The spelling of [`Reason::as_str`] is part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// The request head is not HTTP.
    MalformedHead,
    /// The CONNECT target is not `host:port`.
    MalformedTarget,
    /// An HTTP version other than 1.0 and 1.1.
    UnsupportedVersion,
    /// A well-formed request that is not CONNECT.
    NotConnect,
    /// The head did not arrive in time.
    HeadTimeout,
    /// The head is longer than its limit.
    HeadTooLarge,
    /// No pattern admits the host.
    HostNotAllowed,
    /// The host is admitted, this port of it is not.
    PortNotAllowed,
    /// The host resolves to special-purpose addresses that are not admitted.
    AddressNotAllowed,
    /// The client's address is not admitted.
    ClientNotAllowed,
    /// The target, or the relay proxy, leads back to this gateway.
    Loop,
    /// The name has no address, or the resolver failed.
    ResolveFailed,
    /// The name was not resolved in time.
    ResolveTimeout,
    /// No address could be connected.
    DialFailed,
    /// No address was connected in time.
    DialTimeout,
    /// No free ephemeral port towards the target.
    NoSourcePort,
    /// No relay proxy could be connected.
    RelayProxyUnreachable,
    /// The relay proxy refuses the target, or cannot reach it.
    RelayProxyRefused,
    /// The relay proxy wants credentials, or other ones.
    RelayProxyRefusedCredentials,
    /// What the relay proxy answers is no answer.
    RelayProxyBadReply,
    /// The relay proxy did not answer in time.
    RelayProxyTimeout,
    /// The session limit is reached.
    TooManySessions,
    /// The session limit of this client address is reached.
    TooManySessionsOfClient,
    /// The queue of names to resolve is full.
    ResolverBusy,
    /// The gateway is about to stop.
    Draining,
    /// SSL 2.0 or 3.0.
    SslVersion,
    /// A TLS version below `tls.min_version`.
    TlsVersionTooLow,
    /// What came is not TLS.
    NotTls,
    /// The server sent bytes before the client's hello.
    ServerSpokeFirst,
    /// TLS that breaks its own framing or grammar.
    HandshakeUnreadable,
    /// A ClientHello above `limits.hello_bytes`.
    HelloTooLarge,
    /// The hello names another server than the CONNECT target.
    ServerNameMismatch,
    /// The hello names no server although the target is a name.
    ServerNameMissing,
    /// No entry admits the subject of the client's certificate.
    ClientCertificateNotAllowed,
    /// TLS 1.3 hides whether there is a client certificate.
    ClientCertificateUnseenTls13,
    /// A resumed session shows no client certificate.
    ClientCertificateUnseenResumed,
    /// There is no client certificate.
    ClientCertificateUnseenNone,
    /// The TLS session has been verified.
    TlsVerified,
    /// A well-formed CONNECT came in.
    ConnectReceived,
    /// A session is over.
    SessionEnded,
    /// An address is bound and accepting.
    Listening,
    /// An address could not be bound for lack of its protocol family.
    ListenSkipped,
    /// An address is not listened on any more.
    ListenClosed,
    /// What the limits of this process admit.
    LimitsKnown,
    /// No host is allowed yet.
    NothingAllowed,
    /// Hosts that are not on the list are let through.
    ReportMode,
    /// A new generation of the configuration is in force.
    Reloaded,
    /// Other hosts of the feed count, or it can be had again.
    FeedUpdated,
    /// The feed cannot be had, or does not count.
    FeedFailed,
    /// The last good list of the feed cannot be kept, or read again.
    FeedCacheFailed,
    /// A relay proxy that failed works again.
    RelayProxyReached,
    /// A relay proxy that worked has failed.
    RelayProxyLost,
    /// The gateway refuses new sessions and waits for the open ones.
    DrainStarted,
    /// The gateway is up.
    Started,
    /// The gateway is down.
    Stopped,
    /// The configuration is wrong.
    ConfigurationInvalid,
    /// A file with a secret can be read by others.
    SecretReadable,
    /// A session's code panicked; only that session ended.
    SessionPanicked,
    /// Events were dropped because the outlet was slow or full.
    EventsLost,
    /// No descriptor was left for a new connection.
    DescriptorsExhausted,
    /// No pipe could be had; tunnels copy instead.
    PipesExhausted,
    /// An outlet of events failed.
    OutletFailed,
    /// The file of events could not be opened again; the one open before is kept.
    OutletNotReopened,
    /// A fault without a name of its own.
    Internal,
}

impl Reason {
    /// All reasons, in declaration order: `Reason::ALL[reason as usize] == reason`.
    pub const ALL: [Reason; Reason::Internal as usize + 1] = [
        Reason::MalformedHead,
        Reason::MalformedTarget,
        Reason::UnsupportedVersion,
        Reason::NotConnect,
        Reason::HeadTimeout,
        Reason::HeadTooLarge,
        Reason::HostNotAllowed,
        Reason::PortNotAllowed,
        Reason::AddressNotAllowed,
        Reason::ClientNotAllowed,
        Reason::Loop,
        Reason::ResolveFailed,
        Reason::ResolveTimeout,
        Reason::DialFailed,
        Reason::DialTimeout,
        Reason::NoSourcePort,
        Reason::RelayProxyUnreachable,
        Reason::RelayProxyRefused,
        Reason::RelayProxyRefusedCredentials,
        Reason::RelayProxyBadReply,
        Reason::RelayProxyTimeout,
        Reason::TooManySessions,
        Reason::TooManySessionsOfClient,
        Reason::ResolverBusy,
        Reason::Draining,
        Reason::SslVersion,
        Reason::TlsVersionTooLow,
        Reason::NotTls,
        Reason::ServerSpokeFirst,
        Reason::HandshakeUnreadable,
        Reason::HelloTooLarge,
        Reason::ServerNameMismatch,
        Reason::ServerNameMissing,
        Reason::ClientCertificateNotAllowed,
        Reason::ClientCertificateUnseenTls13,
        Reason::ClientCertificateUnseenResumed,
        Reason::ClientCertificateUnseenNone,
        Reason::TlsVerified,
        Reason::ConnectReceived,
        Reason::SessionEnded,
        Reason::Listening,
        Reason::ListenSkipped,
        Reason::ListenClosed,
        Reason::LimitsKnown,
        Reason::NothingAllowed,
        Reason::ReportMode,
        Reason::Reloaded,
        Reason::FeedUpdated,
        Reason::FeedFailed,
        Reason::FeedCacheFailed,
        Reason::RelayProxyReached,
        Reason::RelayProxyLost,
        Reason::DrainStarted,
        Reason::Started,
        Reason::Stopped,
        Reason::ConfigurationInvalid,
        Reason::SecretReadable,
        Reason::SessionPanicked,
        Reason::EventsLost,
        Reason::DescriptorsExhausted,
        Reason::PipesExhausted,
        Reason::OutletFailed,
        Reason::OutletNotReopened,
        Reason::Internal,
    ];

    /// The reasons of the list of hosts: what `allow.mode = "report"` tells instead of refusing.
    pub const OF_HOSTS: [Reason; 2] = [Reason::HostNotAllowed, Reason::PortNotAllowed];

    /// The spelling in replies, events and counters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::MalformedHead => "malformed_head",
            Reason::MalformedTarget => "malformed_target",
            Reason::UnsupportedVersion => "unsupported_version",
            Reason::NotConnect => "not_connect",
            Reason::HeadTimeout => "head_timeout",
            Reason::HeadTooLarge => "head_too_large",
            Reason::HostNotAllowed => "host_not_allowed",
            Reason::PortNotAllowed => "port_not_allowed",
            Reason::AddressNotAllowed => "address_not_allowed",
            Reason::ClientNotAllowed => "client_not_allowed",
            Reason::Loop => "loop",
            Reason::ResolveFailed => "resolve_failed",
            Reason::ResolveTimeout => "resolve_timeout",
            Reason::DialFailed => "dial_failed",
            Reason::DialTimeout => "dial_timeout",
            Reason::NoSourcePort => "no_source_port",
            Reason::RelayProxyUnreachable => "relay_proxy_unreachable",
            Reason::RelayProxyRefused => "relay_proxy_refused",
            Reason::RelayProxyRefusedCredentials => "relay_proxy_refused_credentials",
            Reason::RelayProxyBadReply => "relay_proxy_bad_reply",
            Reason::RelayProxyTimeout => "relay_proxy_timeout",
            Reason::TooManySessions => "too_many_sessions",
            Reason::TooManySessionsOfClient => "too_many_sessions_of_client",
            Reason::ResolverBusy => "resolver_busy",
            Reason::Draining => "draining",
            Reason::SslVersion => "ssl_version",
            Reason::TlsVersionTooLow => "tls_version_too_low",
            Reason::NotTls => "not_tls",
            Reason::ServerSpokeFirst => "server_spoke_first",
            Reason::HandshakeUnreadable => "handshake_unreadable",
            Reason::HelloTooLarge => "hello_too_large",
            Reason::ServerNameMismatch => "server_name_mismatch",
            Reason::ServerNameMissing => "server_name_missing",
            Reason::ClientCertificateNotAllowed => "client_certificate_not_allowed",
            Reason::ClientCertificateUnseenTls13 => "client_certificate_unseen_tls13",
            Reason::ClientCertificateUnseenResumed => "client_certificate_unseen_resumed",
            Reason::ClientCertificateUnseenNone => "client_certificate_unseen_none",
            Reason::TlsVerified => "tls_verified",
            Reason::ConnectReceived => "connect_received",
            Reason::SessionEnded => "session_ended",
            Reason::Listening => "listening",
            Reason::ListenSkipped => "listen_skipped",
            Reason::ListenClosed => "listen_closed",
            Reason::LimitsKnown => "limits",
            Reason::NothingAllowed => "nothing_allowed",
            Reason::ReportMode => "report_mode",
            Reason::Reloaded => "reloaded",
            Reason::FeedUpdated => "feed_updated",
            Reason::FeedFailed => "feed_failed",
            Reason::FeedCacheFailed => "feed_cache_failed",
            Reason::RelayProxyReached => "relay_proxy_reached",
            Reason::RelayProxyLost => "relay_proxy_lost",
            Reason::DrainStarted => "drain_started",
            Reason::Started => "started",
            Reason::Stopped => "stopped",
            Reason::ConfigurationInvalid => "configuration_invalid",
            Reason::SecretReadable => "secret_readable",
            Reason::SessionPanicked => "session_panicked",
            Reason::EventsLost => "events_lost",
            Reason::DescriptorsExhausted => "descriptors_exhausted",
            Reason::PipesExhausted => "pipes_exhausted",
            Reason::OutletFailed => "outlet_failed",
            Reason::OutletNotReopened => "outlet_not_reopened",
            Reason::Internal => "internal",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_declaration_order_and_spelled_once() {
        let mut spellings = std::collections::HashSet::new();
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            assert!(spellings.insert(reason.as_str()), "{reason} is spelled twice");
        }
    }
}

//! The words for people: what happened, to whom, what to do. Ids, reasons and keys are fixed
//! elsewhere; these texts are all that a translation would replace.

use crate::logic::reason::Reason;

use super::escape;
use super::events::Event;

/// The sentence of an event for its operator. Events of 105 keep the words that scripts written
/// for the original look for: `Target host (NAME) is forbidden`, `Invalid Client certificate:
/// SUBJECT`.
pub fn message(event: &Event) -> String {
    if let Some(count) = event.count {
        return counted(event, count);
    }
    let (client, target) = (client(event), target(event));
    let host = host(&target);
    let why = detail(event, escape::network);
    match event.reason {
        Reason::MalformedHead => format!(
            "The request of {client} is no HTTP request head{why}. Only HTTP clients can use this \
             port: check what connects to it"
        ),
        Reason::MalformedTarget => format!(
            "The CONNECT of {client} names no valid target{why}. It must be host:port, as in \
             CONNECT www.example.com:443"
        ),
        Reason::UnsupportedVersion => {
            format!("The request of {client} is neither HTTP/1.0 nor HTTP/1.1{why}")
        }
        Reason::NotConnect => format!(
            "The request of {client} is not CONNECT{why}. This gateway only tunnels: use https:// \
             addresses through it"
        ),
        Reason::HeadTimeout => format!(
            "The request head of {client} did not arrive in time{why}. limits.head_ms is the limit"
        ),
        Reason::HeadTooLarge => format!(
            "The request head of {client} is too large{why}. limits.head_bytes is the limit"
        ),
        Reason::HostNotAllowed | Reason::PortNotAllowed if event.is_reported => {
            reported(event.reason, host, &target)
        }
        Reason::HostNotAllowed => format!(
            "Target host ({host}) is forbidden: no allowed host pattern admits it{why}; to admit \
             it, add it to allow.hosts"
        ),
        Reason::PortNotAllowed => format!(
            "Target host ({host}) is forbidden on this port: the host is allowed on another{why}; \
             to admit this one, add {target} to allow.hosts"
        ),
        Reason::AddressNotAllowed => format!(
            "Target host ({host}) is forbidden: {} is special-purpose{why}; if it is meant to be \
             reached, add its range to allow.addresses (a metadata address by itself, exactly)",
            address(event)
        ),
        Reason::ClientNotAllowed => format!(
            "The connection of {client} is forbidden: no range in allow.clients holds its \
             address{why}; to admit it, add it there"
        ),
        Reason::Loop => {
            format!("Target host ({host}) is forbidden: it leads back to this gateway{why}")
        }
        Reason::ServerNameMismatch => format!(
            "Target host ({host}) is forbidden: the TLS hello names another server{}; set \
             tls.server_name = \"off\" if clients must do that",
            server_name(event)
        ),
        Reason::ServerNameMissing => format!(
            "Target host ({host}) is forbidden: the TLS hello names no server{why}; set \
             tls.server_name = \"off\" if clients cannot send a name"
        ),
        Reason::ClientCertificateNotAllowed => format!(
            "Invalid Client certificate: {}: no allowed subject admits it{why}; to admit it, add \
             it to allow.client_certificates as a whole, or one of its common names by itself",
            subject(event)
        ),
        Reason::ClientCertificateUnseenTls13 => format!(
            "Invalid Client certificate: none can be seen in TLS 1.3{why}. Let the client speak TLS \
             1.2 at most, or set tls13 = \"allow\" in tls.unseen_client_certificate"
        ),
        Reason::ClientCertificateUnseenResumed => format!(
            "Invalid Client certificate: none is shown by a resumed session{why}. Let the client \
             begin a new one, or set resumed = \"allow\" in tls.unseen_client_certificate"
        ),
        Reason::ClientCertificateUnseenNone => format!(
            "Invalid Client certificate: there is none{why}. Give the client one, or set \
             none = \"allow\" in tls.unseen_client_certificate"
        ),
        Reason::ResolveFailed => format!(
            "The name {host} has no address{why}. Check the name and the DNS of this machine"
        ),
        Reason::ResolveTimeout => format!(
            "The name {host} was not resolved in time{why}. Check the DNS of this machine; \
             limits.resolve_ms is the limit"
        ),
        Reason::DialFailed => format!(
            "{target} could not be connected{}{why}. Check that it runs and that the network lets \
             this machine reach it",
            at(event)
        ),
        Reason::DialTimeout => format!(
            "{target} was not connected in time{}{why}. Often a firewall drops the packets; \
             limits.dial_ms is the limit",
            at(event)
        ),
        Reason::NoSourcePort => format!(
            "No source port is left towards {target}{why}. Widen the system's range of ephemeral \
             ports, or name more addresses in dial.source_addresses"
        ),
        Reason::RelayProxyUnreachable => format!(
            "No relay proxy towards {target} could be connected{why}. Check that it runs, that \
             relay_proxy.addresses names it, and that the network lets this machine reach it"
        ),
        Reason::RelayProxyRefused => format!(
            "The relay proxy{} refused {target}{why}. Check what it allows, and whether it can \
             reach the target",
            at(event)
        ),
        Reason::RelayProxyRefusedCredentials => format!(
            "The relay proxy{} refused the credentials for {target}{why}. Check \
             relay_proxy.username and its password",
            at(event)
        ),
        Reason::RelayProxyBadReply => format!(
            "The relay proxy{} gave no answer for {target} that can be used{why}. Check that \
             relay_proxy.addresses names an HTTP proxy",
            at(event)
        ),
        Reason::RelayProxyTimeout => format!(
            "The relay proxy{} did not answer for {target} in time{why}. Check whether it can \
             reach the target; limits.relay_proxy_ms is the limit",
            at(event)
        ),
        Reason::TooManySessions => format!(
            "{client} was refused: all sessions are taken{why}. limits.sessions, or the limit of \
             descriptors, is reached"
        ),
        Reason::TooManySessionsOfClient => format!(
            "{client} was refused: its address has all the sessions it may have{why}. \
             limits.sessions_per_client is the limit"
        ),
        Reason::ResolverBusy => format!(
            "{client} was refused: the queue of names to resolve is full{why}. Check the DNS of \
             this machine"
        ),
        Reason::Draining => format!("{client} was refused: the gateway is about to stop{why}"),
        Reason::SslVersion => format!(
            "The hello of {client} to {target} speaks SSL, which is never admitted{why}. Enable \
             TLS 1.2 on the client"
        ),
        Reason::TlsVersionTooLow => format!(
            "The TLS version between {client} and {target} is too low{}{why}. tls.min_version is \
             the limit",
            version(event)
        ),
        Reason::NotTls => {
            format!(
                "What passes between {client} and {target} is not TLS{why}. Only TLS passes this gateway"
            )
        }
        Reason::ServerSpokeFirst => format!(
            "{target} spoke before the hello of {client}, so it is no TLS server{why}. Only TLS \
             passes this gateway"
        ),
        Reason::HandshakeUnreadable => {
            format!("The TLS handshake of {client} with {target} cannot be read{why}")
        }
        Reason::HelloTooLarge => format!(
            "The hello of {client} to {target} is too large{why}. limits.hello_bytes is the limit"
        ),
        Reason::TlsVerified => {
            format!("TLS of {client} with {target} is verified{}", version(event))
        }
        Reason::ConnectReceived => format!("CONNECT {target} from {client}"),
        Reason::SessionEnded => match &event.ended {
            Some(ended) => format!("Session ended: {}", ended.ending),
            None => "Session ended".to_owned(),
        },
        Reason::Listening => format!("Listening on {}", address(event)),
        Reason::ListenClosed => format!("Not listening any more on {}", address(event)),
        _ => of_the_gateway(event),
    }
}

/// A refusal that was left out keeps the words of the refusal, for the scripts that look for them.
fn reported(reason: Reason, host: &str, target: &str) -> String {
    let (why, listed) = match reason {
        Reason::PortNotAllowed => ("the host is allowed on another port", target),
        _ => ("no allowed host pattern admits it", "it"),
    };
    format!(
        "Target host ({host}) is forbidden, but was not refused for it, as allow.mode is \"report\": \
         {why}; to admit it, add {listed} to allow.hosts"
    )
}

/// Reasons that concern no client: what they tell is our own text, or the system's.
fn of_the_gateway(event: &Event) -> String {
    let why = detail(event, escape::local);
    match event.reason {
        Reason::ListenSkipped => format!(
            "{} is not listened on: this machine has no such address family{why}",
            address(event)
        ),
        Reason::LimitsKnown => format!("Limits of this process{why}"),
        Reason::NothingAllowed => format!(
            "No host is allowed yet, so every CONNECT will be refused{why}. List the hosts under \
             [allow] in the configuration, as in hosts = [\"*.ods.opinsights.azure.com\"]"
        ),
        Reason::ReportMode => format!(
            "allow.mode is \"report\": hosts that are not allowed are LET THROUGH and only told of{why}. \
             `sluice allowed-host suggest` lists them; set it to \"enforce\" when they are listed"
        ),
        Reason::Reloaded => format!("The configuration was read again{why}"),
        Reason::FeedUpdated => format!("The feed has been downloaded{why}"),
        Reason::FeedFailed => format!(
            "The feed changes nothing: it cannot be had, or is no list of hosts{why}. It is tried \
             again"
        ),
        Reason::FeedCacheFailed => format!(
            "The last good list of the feed cannot be kept or read again{why}. Check \
             allow.feed.cache_file: without it, a start needs the feed itself"
        ),
        Reason::RelayProxyReached => format!("A relay proxy works again{why}"),
        Reason::RelayProxyLost => format!("A relay proxy has failed{why}"),
        Reason::DrainStarted => format!("The gateway drains before it stops{why}"),
        Reason::Started => format!("The gateway is up{why}"),
        Reason::Stopped => format!("The gateway is down{why}"),
        Reason::ConfigurationInvalid | Reason::SecretReadable => match &event.detail {
            Some(problem) => escape::local(problem),
            None => "The configuration is wrong".to_owned(),
        },
        Reason::SessionPanicked => format!(
            "A fault in the gateway ended one session{why}. The others go on; please report it"
        ),
        Reason::EventsLost => format!("Events were lost{why}"),
        Reason::DescriptorsExhausted => format!(
            "No file descriptor is left for a new connection{why}. Raise the limit of open files, \
             as with LimitNOFILE= or ulimit -n"
        ),
        Reason::PipesExhausted => format!(
            "No pipe could be had{why}. Tunnels copy instead, at some more processor time; raise \
             the limit of open files or fs.pipe-user-pages-soft"
        ),
        Reason::OutletFailed => format!(
            "Events cannot be written{why}. Lost lines are counted, and writing is tried again; \
             check what events.to names"
        ),
        Reason::OutletNotReopened => format!(
            "The file of events cannot be opened again{why}. Events go on into the one that was \
             open before; check the folder and its permissions, and reload once more"
        ),
        _ => format!("A fault without a name of its own{why}. Please report it"),
    }
}

/// The reason phrase of the refusal's status line: many clients show nothing else. Short, fixed,
/// ASCII, and without anything from the network.
pub const fn phrase(reason: Reason) -> &'static str {
    match reason {
        Reason::MalformedHead => "Request is not HTTP",
        Reason::MalformedTarget => "CONNECT target is not host:port",
        Reason::UnsupportedVersion => "HTTP version is neither 1.0 nor 1.1",
        Reason::NotConnect => "Only CONNECT is served",
        Reason::HeadTimeout => "Request head did not arrive in time",
        Reason::HeadTooLarge => "Request head is too large",
        Reason::HostNotAllowed => "Target host is forbidden by the gateway's allow list",
        Reason::PortNotAllowed => "Target port is forbidden by the gateway's allow list",
        Reason::AddressNotAllowed => "Target address is special-purpose and forbidden",
        Reason::ClientNotAllowed => "Client address is forbidden by the gateway's allow list",
        Reason::Loop => "Target leads back to this gateway",
        Reason::ResolveFailed => "Target name has no address",
        Reason::ResolveTimeout => "Target name was not resolved in time",
        Reason::DialFailed => "Target cannot be connected",
        Reason::DialTimeout => "Target was not connected in time",
        Reason::NoSourcePort => "Gateway has no source port left, try later",
        Reason::RelayProxyUnreachable => "Relay proxy cannot be connected",
        Reason::RelayProxyRefused => "Relay proxy refused the target",
        Reason::RelayProxyRefusedCredentials => "Relay proxy refused the gateway's credentials",
        Reason::RelayProxyBadReply => "Relay proxy gave no usable answer",
        Reason::RelayProxyTimeout => "Relay proxy did not answer in time",
        Reason::TooManySessions => "Gateway has too many sessions, try later",
        Reason::TooManySessionsOfClient => "Client address has too many sessions, try later",
        Reason::ResolverBusy => "Gateway's resolver is busy, try later",
        Reason::Draining => "Gateway is about to stop, try later",
        Reason::SslVersion => "SSL is not admitted",
        Reason::TlsVersionTooLow => "TLS version is too low",
        Reason::NotTls => "Only TLS is admitted",
        Reason::ServerSpokeFirst => "Target is no TLS server",
        Reason::HandshakeUnreadable => "TLS handshake cannot be read",
        Reason::HelloTooLarge => "TLS hello is too large",
        Reason::ServerNameMismatch => "TLS server name is not the target",
        Reason::ServerNameMissing => "TLS server name is missing",
        Reason::ClientCertificateNotAllowed => "Client certificate is not allowed",
        Reason::ClientCertificateUnseenTls13 => "Client certificate is unseen in TLS 1.3",
        Reason::ClientCertificateUnseenResumed => {
            "Client certificate is unseen in a resumed session"
        }
        Reason::ClientCertificateUnseenNone => "Client certificate is missing",
        Reason::TlsVerified => "TLS is verified",
        Reason::ConnectReceived => "CONNECT received",
        Reason::SessionEnded => "Session ended",
        Reason::Listening => "Listening",
        Reason::ListenSkipped => "Address is not listened on",
        Reason::ListenClosed => "Not listening any more",
        Reason::LimitsKnown => "Limits of this process",
        Reason::NothingAllowed => "No host is allowed yet",
        Reason::ReportMode => "Hosts that are not allowed are let through",
        Reason::Reloaded => "Configuration was read again",
        Reason::FeedUpdated => "Feed has been downloaded",
        Reason::FeedFailed => "Feed changes nothing",
        Reason::FeedCacheFailed => "Feed cannot be kept",
        Reason::RelayProxyReached => "Relay proxy works again",
        Reason::RelayProxyLost => "Relay proxy has failed",
        Reason::DrainStarted => "Gateway drains",
        Reason::Started => "Gateway is up",
        Reason::Stopped => "Gateway is down",
        Reason::ConfigurationInvalid => "Configuration is wrong",
        Reason::SecretReadable => "Secret can be read by others",
        Reason::SessionPanicked => "Gateway failed on this session",
        Reason::EventsLost => "Events were lost",
        Reason::DescriptorsExhausted => "Gateway has no descriptor left",
        Reason::PipesExhausted => "Gateway has no pipe left",
        Reason::OutletFailed => "Events cannot be written",
        Reason::OutletNotReopened => "File of events cannot be opened again",
        Reason::Internal => "Gateway failed",
    }
}

fn counted(event: &Event, count: u64) -> String {
    if event.reason == Reason::EventsLost {
        return format!(
            "{count} events were lost, because what events.to names was slow, full or failing"
        );
    }
    let but = if event.is_reported { ", but not refused (allow.mode is \"report\")" } else { "" };
    format!("{count} more like this in the last second: {}{but}", phrase(event.reason))
}

fn client(event: &Event) -> String {
    event.client.map_or_else(|| "A client".to_owned(), |client| format!("Client {client}"))
}

fn target(event: &Event) -> String {
    event.target.as_deref().map_or_else(|| "the target".to_owned(), escape::network)
}

/// The name without its port: what scripts expect in the parentheses.
fn host(target: &str) -> &str {
    match target.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => target,
    }
}

fn address(event: &Event) -> String {
    event.address.map_or_else(|| "its address".to_owned(), |address| address.to_string())
}

fn at(event: &Event) -> String {
    event.address.map_or_else(String::new, |address| format!(" at {address}"))
}

fn version(event: &Event) -> String {
    event.tls_version.map_or_else(String::new, |version| format!(" ({version})"))
}

fn server_name(event: &Event) -> String {
    event
        .server_name
        .as_deref()
        .map_or_else(String::new, |name| format!(" ({})", escape::network(name)))
}

fn subject(event: &Event) -> String {
    match event.subject.as_deref() {
        None | Some("") => "(an empty subject)".to_owned(),
        Some(subject) => escape::network(subject),
    }
}

fn detail(event: &Event, escaped: fn(&str) -> String) -> String {
    event.detail.as_deref().map_or_else(String::new, |detail| format!(": {}", escaped(detail)))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::observe::events::{refuses, rule};

    fn event(reason: Reason) -> Event {
        Event::new(reason, SystemTime::UNIX_EPOCH)
            .client("192.0.2.1:5".parse().unwrap())
            .target("host.example:8443")
    }

    #[test]
    fn events_of_105_keep_the_words_of_the_original() {
        for reason in Reason::ALL {
            if rule(reason).id == 105 && reason != Reason::ClientNotAllowed {
                let message = message(&event(reason).subject("CN=Gateway"));
                let words = match reason {
                    Reason::ClientCertificateNotAllowed => "Invalid Client certificate: CN=Gateway",
                    Reason::ClientCertificateUnseenTls13
                    | Reason::ClientCertificateUnseenResumed
                    | Reason::ClientCertificateUnseenNone => "Invalid Client certificate: ",
                    _ => "Target host (host.example) is forbidden",
                };
                assert!(message.starts_with(words), "{reason}: {message}");
            }
        }
        let literal = event(Reason::HostNotAllowed).target("[2001:db8::1]:443");
        assert!(message(&literal).starts_with("Target host ([2001:db8::1]) is forbidden"));
    }

    #[test]
    fn messages_name_what_they_know_and_do_without_it() {
        let address = "10.0.0.1:443".parse().unwrap();
        for (event, words) in [
            (
                event(Reason::NotTls),
                "What passes between Client 192.0.2.1:5 and host.example:8443 is",
            ),
            (event(Reason::DialFailed).address(address).detail("refused"), "10.0.0.1:443: refused"),
            (event(Reason::PortNotAllowed), "add host.example:8443 to"),
            (event(Reason::AddressNotAllowed).address(address), "10.0.0.1:443 is special-purpose"),
            (event(Reason::TlsVersionTooLow).tls_version("1.0"), "too low (1.0)"),
            (
                // The detail is that name again.
                event(Reason::ServerNameMismatch).server_name("o.example").detail("o.example"),
                "server (o.example); set",
            ),
            (Event::new(Reason::Listening, SystemTime::UNIX_EPOCH).address(address), "on 10.0.0.1"),
            (Event::new(Reason::Internal, SystemTime::UNIX_EPOCH), "own. Please"),
            (event(Reason::ConfigurationInvalid).detail("/h/\u{fc}:1:2: x"), "/h/\u{fc}:1:2: x"),
        ] {
            assert!(message(&event).contains(words), "{words:?} is not in {:?}", message(&event));
        }
    }

    #[test]
    fn a_count_takes_the_place_of_the_single_event() {
        let lost = event(Reason::EventsLost).count(7);
        assert!(message(&lost).starts_with("7 events were lost"));
        let many = event(Reason::HostNotAllowed).count(30);
        assert!(message(&many).starts_with("30 more like this in the last second: Target host is"));
    }

    #[test]
    fn phrases_fit_a_status_line() {
        for reason in Reason::ALL.into_iter().filter(|reason| refuses(*reason)) {
            let phrase = phrase(reason);
            assert!((10..=60).contains(&phrase.len()), "{phrase:?}");
            assert!(phrase.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
        }
    }
}

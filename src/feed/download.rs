//! One download: over HTTPS, through the relay proxies where they lead there, within limits of time and
//! size. The environment has no say in it: no proxy is taken from there.
//!
//! A redirect is refused. The operator has named one server, whose certificate is checked; that server is
//! not to choose where else this machine, which may reach what others may not, asks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use ureq::http::header::{CONTENT_LENGTH, ETAG, IF_NONE_MATCH, TRANSFER_ENCODING};
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Body, Error, Proxy, ProxyProtocol};

use super::fault;
use crate::config::feed::FeedSettings;
use crate::config::relay_proxy::RelayProxySettings;
use crate::logic::feed::FEED_BYTES_MAX;
use crate::logic::hosts::HostVerdict;
use crate::proto::target::{Host, Target};

/// All of a download: several ways share it.
const DOWNLOAD_MS: u64 = 30_000;
/// Bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a tag: those of real servers have some dozens.
const TAG_BYTES_MAX: usize = 256;

/// What a server gave.
#[derive(Debug)]
pub(super) enum Answer {
    /// A list, not judged yet, and the tag by which it can be asked whether there is another.
    List(Vec<u8>, Option<String>),
    /// There is no other than that of the tag.
    Same,
}

/// Asks for the list, or whether there is another than that of `tag`.
///
/// # Errors
/// What came of each way that was tried, in words; nothing in them is a secret.
pub(super) fn download(
    settings: &FeedSettings,
    relay: &RelayProxySettings,
    tag: Option<&str>,
) -> Result<Answer, String> {
    let roots = roots(settings)?;
    let ways = ways(settings, relay);
    let time = Duration::from_millis(DOWNLOAD_MS / ways.len().max(1) as u64);
    let mut failures = Vec::new();
    for way in ways {
        match attempt(&way, settings, relay, &roots, tag, time) {
            Ok(answer) => return Ok(answer),
            Err(Failure::Answer(why)) => return Err(format!("{way}: {why}")),
            Err(Failure::Way(why)) => failures.push(format!("{way}: {why}")),
        }
    }
    Err(failures.join("; "))
}

/// How the server is reached.
enum Way<'a> {
    Direct,
    Through(&'a Target),
}

/// Why there is no list.
enum Failure {
    /// The server says so, or what it gave; another way would lead to the same.
    Answer(String),
    /// It was not reached, or not for long enough.
    Way(String),
}

fn attempt(
    way: &Way<'_>,
    settings: &FeedSettings,
    relay: &RelayProxySettings,
    roots: &RootCerts,
    tag: Option<&str>,
    time: Duration,
) -> Result<Answer, Failure> {
    let agent = agent(way, relay, roots, time)?;
    read(ask(&agent, settings, tag)?, tag.is_some())
}

fn ways<'a>(settings: &FeedSettings, relay: &'a RelayProxySettings) -> Vec<Way<'a>> {
    let verdict = relay.direct_hosts();
    let is_direct = matches!(verdict.judge(settings.url.target()), HostVerdict::Allowed(_));
    match is_direct || relay.addresses.is_empty() {
        true => vec![Way::Direct],
        false => relay.addresses.iter().map(Way::Through).collect(),
    }
}

/// Read anew each time: an authority that the system has come to trust counts without a restart.
fn roots(settings: &FeedSettings) -> Result<RootCerts, String> {
    let of_file = settings.authorities.iter().map(|der| Certificate::from_der(der).to_owned());
    let mut all: Vec<Certificate<'static>> = of_file.collect();
    if all.is_empty() {
        let found = rustls_native_certs::load_native_certs();
        all.extend(found.certs.iter().map(|der| Certificate::from_der(der).to_owned()));
        if all.is_empty() {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(format!(
                "this system has no authorities that it trusts{why}; name some in \
                 allow.feed.ca_file"
            ));
        }
    }
    Ok(RootCerts::new_with_certs(&all))
}

fn agent(
    way: &Way<'_>,
    relay: &RelayProxySettings,
    roots: &RootCerts,
    time: Duration,
) -> Result<ureq::Agent, Failure> {
    let proxy = match way {
        Way::Direct => None,
        Way::Through(address) => Some(proxy(address, relay).map_err(Failure::of)?),
    };
    let tls = TlsConfig::builder()
        .root_certs(roots.clone())
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    let config = ureq::Agent::config_builder()
        .https_only(true)
        .proxy(proxy)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(time))
        .max_response_header_size(HEAD_BYTES_MAX)
        .max_idle_connections(0)
        .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
        .accept("text/plain")
        .tls_config(tls);
    Ok(config.build().new_agent())
}

fn proxy(address: &Target, relay: &RelayProxySettings) -> Result<Proxy, Error> {
    let host = match &address.host {
        Host::Address(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        host => host.to_string(),
    };
    let mut proxy = Proxy::builder(ProxyProtocol::Http).host(&host).port(address.port);
    if let (Some(username), Some(password)) = (&relay.username, &relay.password) {
        proxy = proxy.username(username).password(password.reveal());
    }
    proxy.build()
}

fn ask(
    agent: &ureq::Agent,
    settings: &FeedSettings,
    tag: Option<&str>,
) -> Result<Response<Body>, Failure> {
    let mut request = agent.get(settings.url.as_str());
    if let Some(tag) = tag {
        request = request.header(IF_NONE_MATCH, tag);
    }
    request.call().map_err(Failure::of)
}

fn read(mut answer: Response<Body>, has_tag: bool) -> Result<Answer, Failure> {
    let status = answer.status();
    if status == StatusCode::NOT_MODIFIED && has_tag {
        return Ok(Answer::Same);
    }
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        let why = format!("answers {}: redirects are not followed", status.as_u16());
        return Err(Failure::Answer(format!("{why}; name the list's own address")));
    }
    if status != StatusCode::OK {
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; the token in allow.feed.url may not be valid any more"
            }
            _ if status.is_client_error() => "; check allow.feed.url",
            _ => "",
        };
        return Err(Failure::Answer(format!("answers {}{hint}", status.as_u16())));
    }
    let headers = answer.headers();
    if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        // Its end would be that of the connection, which anything can bring about.
        return Err(Failure::Answer("does not say how long the list is".to_owned()));
    }
    let tag = headers.get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let tag = tag.filter(|tag| tag.len() <= TAG_BYTES_MAX);
    let list = answer.body_mut().with_config().limit(FEED_BYTES_MAX as u64).read_to_vec();
    match list {
        Ok(list) => Ok(Answer::List(list, tag)),
        Err(Error::BodyExceedsLimit(_)) => {
            Err(Failure::Answer(format!("gives more than {FEED_BYTES_MAX} bytes")))
        }
        Err(error) => Err(Failure::of(error)),
    }
}

impl Failure {
    fn of(error: Error) -> Failure {
        Failure::Way(fault::told(&error))
    }
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Direct => f.write_str("direct"),
            Way::Through(address) => write!(f, "through http://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::config::feed::FeedUrl;

    /// A server that gives the head of a list and then a byte now and then.
    fn drip() -> (u16, Vec<u8>) {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
        let own = signed.cert.der().clone();
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![own.clone()], key.into())
                .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let session = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"));
            while stream.write_all(b"a").and_then(|()| stream.flush()).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        (port, own.to_vec())
    }

    #[test]
    fn a_list_that_drips_is_given_up_in_time() {
        let (port, authority) = drip();
        let settings = FeedSettings {
            url: FeedUrl::parse(&format!("https://localhost:{port}/")).unwrap(),
            refresh_s: 1,
            authorities: vec![authority],
            cache_file: "none".into(),
        };
        let roots = roots(&settings).unwrap();
        let (relay, time) = (RelayProxySettings::default(), Duration::from_millis(600));
        let answer = attempt(&Way::Direct, &settings, &relay, &roots, None, time);
        let Err(Failure::Way(why)) = answer else { panic!("it is given up") };
        assert_eq!(why, "not done in time");
    }
}

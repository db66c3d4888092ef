//! Programs that people have, through the real gateway with real TLS: curl, OpenSSL, Python.
//!
//! A program that is missing fails its test with what to install: a check that skips itself is none.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod programs;

use programs::{Endpoint, finish};
use support::gateway::{CARRIERS, Gateway, KINDS, Kind, SPLICE, Setup};

/// A gateway that allows this endpoint.
fn gateway(kind: Kind, endpoint: &Endpoint) -> Gateway {
    Setup::new(kind).host(&endpoint.authority()).start()
}

/// What has happened at a gateway, as ids and reasons, without its own coming and going.
fn told(gateway: Gateway) -> Vec<(u64, String)> {
    let events = gateway.stop();
    let of_sessions = events.iter().filter(|event| event.has("session"));
    of_sessions.map(|event| (event.id(), event.reason().to_owned())).collect()
}

fn passed() -> Vec<(u64, String)> {
    [(103, "connect_received"), (107, "tls_verified"), (100, "session_ended")]
        .map(|(id, reason)| (id, reason.to_owned()))
        .to_vec()
}

#[test]
fn curl_gets_and_posts_through_the_gateway() {
    for kind in KINDS {
        let endpoint = Endpoint::start(false);
        for proxy in ["--proxy", "--proxy1.0"] {
            let gateway = gateway(kind, &endpoint);
            let mut curl = endpoint.curl(&gateway, proxy);
            let (status, out, error) = finish(curl.arg(endpoint.url()), b"");
            assert!(status.success() && out == "hello", "{kind}, {proxy}: {out} {error}");
            assert_eq!(told(gateway), passed(), "{kind}, {proxy}");

            let gateway = self::gateway(kind, &endpoint);
            let mut curl = endpoint.curl(&gateway, proxy);
            curl.args(["--data-binary", "@-", &endpoint.url()]);
            let body: Vec<u8> = (0..200_000u32).map(|n| n.wrapping_mul(n) as u8).collect();
            let (status, out, error) = finish(&mut curl, &body);
            assert!(status.success() && out.starts_with("200000 "), "{kind}: {out} {error}");
            assert_eq!(told(gateway), passed(), "{kind}, {proxy}");
        }
    }
}

#[test]
fn curl_shows_the_status_of_a_refusal() {
    let endpoint = Endpoint::start(false);
    let gateway = Setup::new(SPLICE).host("other.example").start();
    let mut curl = endpoint.curl(&gateway, "--proxy");
    let (status, _, error) = finish(curl.arg("--verbose").arg(endpoint.url()), b"");
    assert_eq!(status.code(), Some(56), "{error}");
    assert!(error.contains("403 Target host is forbidden"), "{error}");
    assert!(error.contains("Sluice-Reason: host_not_allowed"), "{error}");
    let told = told(gateway);
    assert!(told.contains(&(105, "host_not_allowed".to_owned())), "{told:?}");
}

#[test]
fn openssl_passes_by_its_version() {
    // min_version, the client's only version, and whether it passes.
    let rows = [
        (None, "-tls1_3", true),
        (None, "-tls1_2", true),
        (None, "-tls1_1", false),
        (None, "-tls1", false),
        (Some("1.0"), "-tls1", true),
        (Some("1.0"), "-tls1_1", true),
        (Some("1.1"), "-tls1", false),
        (Some("1.1"), "-tls1_1", true),
        (Some("1.3"), "-tls1_2", false),
        (Some("1.3"), "-tls1_3", true),
    ];
    let endpoint = Endpoint::start(true);
    for kind in CARRIERS {
        for (least, version, passes) in rows {
            let what = format!("{kind}, least {least:?}, {version}");
            let mut setup = Setup::new(kind).host(&endpoint.authority());
            if let Some(least) = least {
                setup = setup.set("tls.min_version", format!("{least:?}"));
            }
            let gateway = setup.start();
            let mut openssl = endpoint.s_client(&gateway);
            openssl.args([version, "-cipher", "DEFAULT@SECLEVEL=0"]);
            let (status, out, error) = finish(&mut openssl, b"");
            assert_eq!(status.success(), passes, "{what}: {out} {error}");
            if passes {
                assert!(error.contains("Verification: OK"), "{what}: {error}");
                assert_eq!(told(gateway), passed(), "{what}");
            } else {
                // The client shows the alert: it is told why, not just cut off.
                assert!(error.contains("protocol version"), "{what}: {error}");
                let told = told(gateway);
                let refused = (106, "tls_version_too_low".to_owned());
                assert!(told.contains(&refused) && told.len() == 3, "{what}: {told:?}");
            }
        }
    }
}

#[test]
fn openssl_shows_the_alert_for_a_wrong_name() {
    let endpoint = Endpoint::start(false);
    for (flags, reason) in [
        (&["-servername", "other.example"][..], "server_name_mismatch"),
        (&["-noservername"][..], "server_name_missing"),
    ] {
        let gateway = gateway(SPLICE, &endpoint);
        let (status, _, error) = finish(endpoint.s_client(&gateway).args(flags), b"");
        assert!(!status.success() && error.contains("unrecognized name"), "{error}");
        let told = told(gateway);
        assert!(told.contains(&(105, reason.to_owned())), "{told:?}");
    }
}

const HTTP_CLIENT: &str = "
import http.client, ssl, sys
gateway, port, ca = sys.argv[1].rsplit(':', 1), int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=ca)
connection = http.client.HTTPSConnection(gateway[0], int(gateway[1]), context=context)
connection.set_tunnel('localhost', port)
connection.request('POST', '/', body=b'x' * 200_000)
print(connection.getresponse().read().decode())
connection.request('GET', '/')
print(connection.getresponse().read().decode())
";

const REQUESTS: &str = "
import requests, sys
gateway, port, ca = 'http://' + sys.argv[1], int(sys.argv[2]), sys.argv[3]
session = requests.Session()
session.trust_env = False
session.proxies, session.verify = {'https': gateway}, ca
url = f'https://localhost:{port}/'
print(session.post(url, data=b'x' * 200_000).text)
print(session.get(url).text)
";

#[test]
fn python_http_client_gets_and_posts_through_the_gateway() {
    python(HTTP_CLIENT);
}

#[test]
fn python_requests_gets_and_posts_through_the_gateway() {
    programs::need_requests();
    python(REQUESTS);
}

/// Runs a script that posts and then gets over one tunnel, and once more where it is refused.
fn python(script: &str) {
    let endpoint = Endpoint::start(false);
    for kind in KINDS {
        let gateway = gateway(kind, &endpoint);
        let (status, out, error) = finish(&mut endpoint.python(&gateway, script), b"");
        assert!(status.success(), "{kind}: {error}");
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].starts_with("200000 ") && lines[1..] == ["hello"], "{kind}: {out}");
        assert_eq!(told(gateway), passed(), "{kind}");
    }
    let gateway = Setup::new(SPLICE).host("other.example").start();
    let (status, _, error) = finish(&mut endpoint.python(&gateway, script), b"");
    assert!(!status.success(), "a host that is not allowed");
    // All that Python shows of a refusal is its reason phrase.
    assert!(error.contains("403 Target host is forbidden by the gateway"), "{error}");
    gateway.stop();
}

//! `explain`, with and without `--dial`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::deadline::PATIENCE;

use super::program::{Site, run};

#[test]
fn a_verdict_has_its_rule_and_the_place_of_it() {
    let site = Site::new(
        "listen = [\"127.0.0.1:8080\"]\n[allow]\nhosts = [\n  \"*.test.com\",\n  \"127.0.0.1\",\n  \
         \"127.0.0.1:8080\", \"10.0.0.1\", \"localhost:8443\",\n  \"8.8.8.8\"]\n\
         addresses = [\"127.0.0.0/8\", \"::1\"]\n",
    );
    for (line, code, words) in [
        (
            "nope.example",
            1,
            &["refused: 403 host_not_allowed (event 105)", "sluice allowed-host add nope.example"]
                [..],
        ),
        ("x.test.com:80", 1, &["refused: 403 port_not_allowed (event 105)", "add x.test.com:80"]),
        (
            "127.0.0.1",
            0,
            &[
                "allowed by 127.0.0.1 (/sluice.toml:5:3)",
                "allowed: loopback, by 127.0.0.0/8 (/sluice.toml:8:14)",
                "verdict      allowed",
            ],
        ),
        (
            "10.0.0.1",
            1,
            &["10.0.0.1  refused: it is private", "403 address_not_allowed (event 105)"],
        ),
        ("8.8.8.8", 0, &["8.8.8.8  allowed\n"]),
        ("localhost:8443", 0, &["allowed by localhost:8443", "127.0.0.1"]),
        ("127.0.0.1:8080", 1, &["403 loop (event 105): 127.0.0.1:8080 is this gateway itself"]),
        ("no-such-name.test.com", 1, &["allowed by *.test.com (/sluice.toml:4:3)", "resolve_"]),
        ("https://www.test.com/", 2, &["is no target", "a scheme or a path"]),
        ("*.test.com", 2, &["is no target"]),
    ] {
        site.expect(&format!("explain {line}"), code, words);
    }
    Site::new("wrokers = 1").expect("explain a.b", 2, &["sluice.toml:1:1: unknown key"]);
}

/// An address that refuses connections and that nobody else gets: bound, and not listened on.
fn bound() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A server of TLS with a certificate for localhost, which is its own authority.
fn tls_server(folder: &Path) -> SocketAddr {
    let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/O=Example/CN=localhost", "-days", "2"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl, which .ci/install installs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let chain = vec![CertificateDer::from_pem_file(&certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut bytes = Vec::new();
            // Ends with the client's close.
            let _ = StreamOwned::new(session, stream).read_to_end(&mut bytes);
        }
    });
    address
}

#[test]
fn a_dial_tells_what_the_server_shows() {
    let site = Site::empty();
    let address = tls_server(site.folder.path());
    let port = address.port();
    std::fs::write(
        &site.file,
        format!(
            "allow.hosts = [\"localhost:{port}\", \"127.0.0.1:{port}\"]\n\
             allow.addresses = [\"127.0.0.0/8\", \"::1\"]\n"
        ),
    )
    .unwrap();
    let target = format!("localhost:{port}");
    let dial = |trusted: &str| {
        let mut command = site.command();
        command.args(["explain", &target, "--dial"]);
        command.env("SSL_CERT_FILE", site.folder.path().join(trusted)).env_remove("SSL_CERT_DIR");
        run(&mut command, "")
    };
    let good = dial("certificate.pem");
    let words = ["verdict      allowed", "connected in", "TLS 1.3, TLS13_", "CN=localhost"];
    good.expect("dial", 0, &words, site.folder.path());
    assert!(good.out.contains("good, by the root certificates"), "{}", good.out);
    let without = dial("no-such-file");
    without.expect("dial", 0, &["trust        not judged"], site.folder.path());
}

#[test]
fn a_dial_that_fails_tells_why() {
    let (_bound, closed) = bound();
    let closed = closed.port();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let no_tls = TcpListener::bind("127.0.0.1:0").unwrap();
    let (silent_port, no_tls_port) =
        (silent.local_addr().unwrap().port(), no_tls.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in no_tls.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut &stream, b"SSH-2.0-nothing here\r\n");
        }
    });
    let site = Site::new(&format!(
        "allow.hosts = [\"127.0.0.1:{closed}\", \"127.0.0.1:{silent_port}\", \
         \"127.0.0.1:{no_tls_port}\"]\nallow.addresses = [\"127.0.0.1\"]\nlimits.hello_ms = 300\n"
    ));
    for (port, words) in [
        (closed, ["dial         fails: 502 dial_failed (event 403)", "refused"]),
        (silent_port, ["the handshake fails", "no answer within 300 ms"]),
        (no_tls_port, ["the handshake fails", ""]),
    ] {
        site.expect(&format!("explain 127.0.0.1:{port} --dial"), 1, &words);
    }
}

/// A relay proxy that answers each CONNECT so, once it has read its head; gives the heads.
fn relay_proxy(answer: &'static str) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, heads) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            let _ = sender.send(String::from_utf8_lossy(&head).into_owned());
            if answer.is_empty() {
                // Says nothing, and keeps the connection until the client gives up.
                let _ = stream.read(&mut [0]);
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, heads)
}

#[test]
fn a_relay_proxy_is_asked_as_the_gateway_asks() {
    const SECRET: &str = "hunter2";
    const BASE64: &str = "dTpodW50ZXIy";
    let rows = [
        (
            "HTTP/1.1 407 Who are you\r\n\r\n",
            "502 relay_proxy_refused_credentials",
            "answered 407 Who are you",
        ),
        ("HTTP/1.1 403 No\r\n\r\n", "502 relay_proxy_refused (event 403)", "answered 403 No"),
        ("ICY 200 OK\r\n\r\n", "502 relay_proxy_bad_reply", "dial"),
        ("", "504 relay_proxy_timeout", "no answer within 300 ms"),
        ("HTTP/1.1 200 OK\r\n\r\n", "the handshake fails", "answered 200 OK in"),
    ];
    for (answer, outcome, words) in rows {
        let (address, heads) = relay_proxy(answer);
        // Only who says nothing is waited for to the end.
        let relay_proxy_ms = if answer.is_empty() { 300 } else { 10_000 };
        let site = Site::new(&format!(
            "allow.hosts = [\"www.test.com\", \"near.test.com\", \"10.0.0.1\"]\n\
             limits.relay_proxy_ms = {relay_proxy_ms}\nlimits.hello_ms = 10000\n\
             relay_proxy.direct = [\"near.test.com\"]\n",
        ));
        let set = [
            "relay-proxy",
            "set",
            &format!("http://{address}"),
            "--username",
            "u",
            "--password-stdin",
        ];
        site.words(&set, SECRET).expect("set", 0, &[], site.folder.path());
        let route = format!("route        through http://{address}, with the credentials of u");
        site.expect("explain www.test.com", 0, &[&route, "the relay proxy does that", "allowed"]);
        let ran = site.expect("explain www.test.com --dial", 1, &[outcome, words]);
        assert!(!format!("{ran:?}").contains(SECRET) && !format!("{ran:?}").contains(BASE64));
        let head = heads.recv_timeout(PATIENCE).unwrap();
        assert!(head.starts_with("CONNECT www.test.com:443 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("Proxy-Authorization: Basic {BASE64}\r\n")), "{head}");
        let direct =
            "route        direct, by near.test.com in relay_proxy.direct (/sluice.toml:4:23)";
        site.run("explain near.test.com").expect(
            "near",
            1,
            &[direct, "resolve_"],
            site.folder.path(),
        );
        // An address is judged here, whoever dials it.
        site.expect("explain 10.0.0.1", 1, &["403 address_not_allowed"]);
    }
}

#[test]
fn the_next_relay_proxy_is_asked_where_one_is_away() {
    let (_bound, closed) = bound();
    let (busy, _busy_heads) = relay_proxy("HTTP/1.1 503 Later\r\n\r\n");
    let (good, _heads) = relay_proxy("HTTP/1.1 200 OK\r\n\r\n");
    let site = Site::new(&format!(
        "allow.hosts = [\"www.test.com\"]\nlimits.hello_ms = 300\n[relay_proxy]\n\
         addresses = [\"http://{closed}\", \"http://{busy}\", \"http://{good}\"]\n"
    ));
    let words = [
        &format!("dial         http://{closed}: Connection refused"),
        &format!("dial         http://{busy}: answered 503 Later (relay_proxy_refused)"),
        &format!("dial         http://{good}: answered 200 OK"),
    ];
    site.expect("explain www.test.com --dial", 1, &words.map(String::as_str));
    let text = site.text().replace(&format!(", \"http://{good}\""), "");
    std::fs::write(&site.file, text).unwrap();
    site.expect("explain www.test.com --dial", 1, &["fails: 502 relay_proxy_refused (event 403)"]);
    let only = format!(", \"http://{busy}\"");
    std::fs::write(&site.file, site.text().replace(&only, "")).unwrap();
    let fails = "fails: 502 relay_proxy_unreachable (event 403): http://";
    let ran = site.expect("explain www.test.com --dial", 1, &[fails, "(os error"]);
    let dials: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("dial")).collect();
    assert_eq!(dials.len(), 1, "{ran:?}");
    assert_eq!(dials[0].matches(&closed.to_string()).count(), 1, "{ran:?}");
    assert!(!ran.out.contains("dial_failed"), "{ran:?}");
}

#[test]
fn what_an_explanation_needs_beside_the_name_is_told() {
    let site = Site::new("allow.hosts = [\"169.254.169.254\"]\n");
    site.words(&["explain", ""], "").expect("", 2, &["No target is named"], site.folder.path());
    site.expect("explain 169.254.169.254", 1, &["name this very address in allow.addresses"]);
    let folder = Site::empty();
    let port = tls_server(folder.folder.path()).port();
    let allowed = format!(
        "allow.hosts = [\"localhost:{port}\"]\nallow.addresses = [\"127.0.0.1\", \"::1\"]\n"
    );
    let site = Site::new(&format!("{allowed}allow.client_certificates = [\"agent\"]\n"));
    let words = [
        "a client needs one that is on the list",
        "would refuse it (tls.unseen_client_certificate.tls13)",
    ];
    site.expect(&format!("explain localhost:{port} --dial"), 0, &words);
}

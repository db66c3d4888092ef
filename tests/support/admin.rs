//! Asking the admin listener of a gateway under test.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::gateway::Gateway;
use super::peer::Peer;
use super::reply::Reply;

/// The admin listener of a gateway.
#[derive(Clone, Copy, Debug)]
pub struct Admin(pub SocketAddr);

impl Admin {
    /// That of a gateway whose setup has one.
    ///
    /// # Panics
    /// Where it does not tell one.
    pub fn of(gateway: &Gateway) -> Admin {
        let line = gateway.printed();
        let address = line.strip_prefix("admin on ").and_then(|text| text.parse().ok());
        Admin(address.unwrap_or_else(|| panic!("{line:?} is no address")))
    }

    /// Connects to it.
    pub fn connect(self) -> Peer {
        Peer::connect(self.0)
    }

    /// What it answers to a request line without its version.
    pub fn ask(self, request: &str) -> Reply {
        let mut peer = self.connect();
        peer.send(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        Reply::read(&mut peer)
    }

    /// The body of a page that is there.
    pub fn get(self, path: &str) -> String {
        let reply = self.ask(&format!("GET {path}"));
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        reply.body
    }

    /// Its status.
    pub fn status(self) -> serde_json::Value {
        serde_json::from_str(&self.get("/status")).expect("a status is JSON")
    }

    /// Its metrics, by name and labels.
    pub fn metrics(self) -> HashMap<String, f64> {
        let page = self.get("/metrics");
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let told = samples.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
        told.collect()
    }
}

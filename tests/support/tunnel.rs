//! A tunnel with both of its ends in hand.

use super::gateway::Gateway;
use super::peer::{Cut, Peer};
use super::server::Server;
use super::tls;

/// Both ends of a tunnel through the gateway.
#[derive(Debug)]
pub struct Tunnel {
    /// Who asked for it.
    pub client: Peer,
    /// Whom it reached.
    pub server: Peer,
}

impl Tunnel {
    /// Opens a tunnel to an address; the hellos have not been sent.
    pub fn open(gateway: &Gateway, server: &Server) -> Tunnel {
        Tunnel::open_to(gateway, server, &server.authority())
    }

    /// Opens a tunnel to `server` by this name; the hellos have not been sent.
    pub fn open_to(gateway: &Gateway, server: &Server, authority: &str) -> Tunnel {
        let client = gateway.open(authority);
        Tunnel { client, server: server.accept() }
    }

    /// Opens a tunnel and exchanges hellos: every byte from now on passes unseen.
    pub fn verified(gateway: &Gateway, server: &Server) -> Tunnel {
        let mut tunnel = Tunnel::open(gateway, server);
        tunnel.shake_hands();
        tunnel
    }

    /// Exchanges hellos.
    pub fn shake_hands(&mut self) {
        let (hello, answer) = (tls::hello(None), tls::answer());
        self.client.send(&hello);
        self.server.expect(&hello);
        self.server.send(&answer);
        self.client.expect(&answer);
    }

    /// Exchanges this hello and an answer, which must arrive as they were sent, and be told as verified.
    ///
    /// # Panics
    /// Where they do not; `what` says which hello it was.
    pub fn carries(gateway: &Gateway, server: &Server, hello: &[u8], cut: Cut, what: &str) {
        let mut tunnel = Tunnel::open_to(gateway, server, &server.named());
        let session = gateway.session_of(&tunnel.client);
        tunnel.client.send_cut(hello, cut);
        assert!(tunnel.server.read_exact(hello.len()) == hello, "{what}: other bytes arrive");
        tunnel.server.send_cut(&tls::answer_13(), cut);
        tunnel.client.expect(&tls::answer_13());
        let verified = gateway.events().of("tls_verified", &session);
        let told = (verified.id(), verified.text("tls_version"), verified.text("server_name"));
        assert_eq!(told, (107, "1.3", tls::NAMED), "{what}");
        assert_eq!(verified.text("level"), "debug");
    }
}

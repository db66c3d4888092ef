//! A server of feeds with real TLS under an authority of its own, and a relay proxy before it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::deadline::PATIENCE;
use crate::support::peer::connect;
use crate::support::port::reserved;

/// What a server gives.
#[derive(Clone, Debug)]
pub enum Gives {
    /// This list, with its length and a tag; 304 to who has it already.
    List(String),
    /// These bytes as they are, and then the end.
    Raw(String),
}

/// Head and body of a good answer whose length is said to be this.
pub fn of_length(bytes: usize, body: &str) -> Gives {
    Gives::Raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n{body}"))
}

/// The head of an answer with this status line, and nothing else.
pub fn status(line: &str) -> Gives {
    Gives::Raw(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n"))
}

/// A server of one feed.
pub struct FeedServer {
    listening: Listening,
    gives: Arc<Mutex<Gives>>,
    /// The heads of the requests that came.
    pub asked: Arc<Mutex<Vec<String>>>,
    /// The certificate of its authority.
    pub authority: String,
}

impl FeedServer {
    /// Gives this until it is told otherwise.
    pub fn start(gives: Gives) -> FeedServer {
        let (config, authority) = identity();
        let gives = Arc::new(Mutex::new(gives));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (giving, asking) = (Arc::clone(&gives), Arc::clone(&asked));
        let listening = Listening::start(move |stream| {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a good configuration");
            let mut stream = StreamOwned::new(session, stream);
            // A client that does not trust us says so and goes.
            let Some(head) = read_head(&mut stream) else { return };
            asking.lock().push(head.clone());
            let answer = answer(&giving.lock(), &head);
            let _ = stream.write_all(answer.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        });
        FeedServer { listening, gives, asked, authority }
    }

    /// From now on.
    pub fn give(&self, gives: Gives) {
        *self.gives.lock() = gives;
    }

    /// `https://localhost:PORT/list`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/list", self.listening.address.port())
    }
}

fn answer(gives: &Gives, head: &str) -> String {
    match gives {
        Gives::Raw(bytes) => bytes.clone(),
        Gives::List(list) => {
            let mut hasher = DefaultHasher::new();
            list.hash(&mut hasher);
            let tag = format!("\"{:x}\"", hasher.finish());
            match head.to_lowercase().contains(&format!("if-none-match: {tag}")) {
                true => format!("HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n\r\n"),
                false => format!(
                    "HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Length: {}\r\n\r\n{list}",
                    list.len()
                ),
            }
        }
    }
}

fn identity() -> (Arc<ServerConfig>, String) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names are good names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority, key).expect("an authority");
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("a good name");
    let key = KeyPair::generate().expect("a key");
    let leaf = leaf.signed_by(&key, &authority).expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .expect("certificate and key fit");
    (Arc::new(config), authority.pem())
}

fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// A relay proxy that opens every tunnel to one who shows credentials: to localhost for real, and to
/// everyone else to nobody.
pub struct RelayProxy {
    listening: Listening,
    /// The heads of the requests that came.
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl RelayProxy {
    /// Wants this in `Proxy-Authorization`.
    pub fn start(authorization: &'static str) -> RelayProxy {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let asking = Arc::clone(&asked);
        let listening = Listening::start(move |mut stream| {
            let Some(head) = read_head(&mut stream) else { return };
            asking.lock().push(head.clone());
            let is_known = head.contains(&format!("roxy-Authorization: {authorization}\r\n"));
            let reply = if is_known { "200 OK" } else { "407 Who are you" };
            if stream.write_all(format!("HTTP/1.1 {reply}\r\n\r\n").as_bytes()).is_err()
                || !is_known
            {
                return;
            }
            let port =
                head.strip_prefix("CONNECT localhost:").and_then(|rest| rest.split(' ').next());
            match port.and_then(|port| port.parse().ok()) {
                Some(port) => join(stream, SocketAddr::from(([127, 0, 0, 1], port))),
                None => drop(stream.read(&mut [0; 64])),
            }
        });
        RelayProxy { listening, asked }
    }

    /// `http://ADDRESS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listening.address)
    }
}

fn join(client: TcpStream, target: SocketAddr) {
    let Ok(remote) = connect(target) else { return };
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    };
    let (Ok(up), Ok(down)) = (client.try_clone(), remote.try_clone()) else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| copy(up, remote));
        copy(down, client);
    });
}

/// A listener whose connections each have a thread.
struct Listening {
    address: SocketAddr,
    stopping: Arc<Mutex<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Listening {
        // Where it is gone, nobody may be in its place: not the gateway, which is started after it.
        let listener = TcpListener::bind(reserved("127.0.0.1")).expect("a port to listen on");
        let address = listener.local_addr().expect("a bound socket has an address");
        let stopping = Arc::new(Mutex::new(false));
        let (told, serve) = (Arc::clone(&stopping), Arc::new(serve));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if *told.lock() {
                    return;
                }
                let serve = Arc::clone(&serve);
                stream.set_read_timeout(Some(PATIENCE)).expect("a time is set");
                std::thread::spawn(move || serve(stream));
            }
        });
        Listening { address, stopping, thread: Some(thread) }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        *self.stopping.lock() = true;
        if connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

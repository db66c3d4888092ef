//! A name server that says what a test wants it to say (RFC 1035), on port 53 of a network of the test's
//! own. What does not fit into 512 bytes is cut, as then, and told in full over TCP.

#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Where it listens, and where `/etc/resolv.conf` points.
const ADDRESS: &str = "127.0.0.1:53";
const DATAGRAM_BYTES: usize = 512;
const CUT: u8 = 0x02;
/// As long as the C library waits for a datagram inside of [`within`](super::namespace::within).
const STREAM_TIME: Duration = Duration::from_secs(10);

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// What is said of a name.
#[derive(Clone, Debug)]
pub enum Answer {
    /// These addresses; of each family, if there are any.
    Addresses(Vec<IpAddr>),
    /// The name is another name, which is another name, and so on; the last has these addresses.
    Chain(Vec<String>, Vec<IpAddr>),
    /// The name is the second, and the second is the first.
    Circle(String),
    /// No address, and this code (RFC 1035 section 4.1.1).
    Code(u8),
    /// Bytes that are no answer.
    Noise,
    /// Nothing.
    Silence,
    /// As the inner one, after this time.
    Late(Duration, Box<Answer>),
    /// Over TCP as the inner one; as a datagram only that it was cut.
    Cut(Box<Answer>),
}

impl Answer {
    /// One address.
    pub fn address(text: &str) -> Answer {
        Answer::addresses(&[text])
    }

    /// These addresses.
    pub fn addresses(texts: &[&str]) -> Answer {
        Answer::Addresses(texts.iter().map(|text| text.parse().expect("an address")).collect())
    }
}

/// Says what is known of a name, in lower case and without its trailing dot, when it is asked for so
/// many times, both families of addresses as one.
type Zone = dyn Fn(&str, usize) -> Answer + Send + Sync;

/// A name server; its threads live as long as the process.
pub struct NameServer {
    inner: Arc<Inner>,
}

struct Inner {
    zone: Mutex<Arc<Zone>>,
    asked: Mutex<Vec<String>>,
    streams: AtomicU64,
}

impl NameServer {
    /// Answers as `zone` says.
    pub fn start(zone: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> NameServer {
        let inner = Arc::new(Inner {
            zone: Mutex::new(Arc::new(zone)),
            asked: Mutex::default(),
            streams: AtomicU64::new(0),
        });
        let socket = Arc::new(UdpSocket::bind(ADDRESS).expect("port 53 of a network of our own"));
        let listener = TcpListener::bind(ADDRESS).expect("port 53 of a network of our own");
        let of_datagrams = Arc::clone(&inner);
        std::thread::spawn(move || {
            let mut buffer = [0; DATAGRAM_BYTES];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let (inner, socket) = (Arc::clone(&of_datagrams), Arc::clone(&socket));
                let question = buffer[..len].to_vec();
                inner.answer(question, false, move |reply| {
                    let _ = socket.send_to(&reply, from);
                });
            }
        });
        let of_streams = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let inner = Arc::clone(&of_streams);
                inner.streams.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || inner.serve(stream));
            }
        });
        NameServer { inner }
    }

    /// Answers otherwise from now on.
    pub fn change(&self, zone: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) {
        *self.inner.zone.lock() = Arc::new(zone);
    }

    /// How often a name has been asked for, both families of addresses as one.
    pub fn asked(&self, name: &str) -> usize {
        self.inner.asked(name)
    }

    /// Connections taken: a question whose answer was cut is asked again over one.
    pub fn streams(&self) -> u64 {
        self.inner.streams.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn asked(&self, name: &str) -> usize {
        self.asked.lock().iter().filter(|asked| *asked == name).count()
    }

    fn serve(self: Arc<Inner>, mut stream: TcpStream) {
        // Who gets no answer over a stream waits for it as long as the stream is open.
        let _ = stream.set_read_timeout(Some(STREAM_TIME));
        let mut len = [0; 2];
        while stream.read_exact(&mut len).is_ok() {
            let mut question = vec![0; usize::from(u16::from_be_bytes(len))];
            let Ok(mut back) = stream.try_clone() else { return };
            if stream.read_exact(&mut question).is_err() {
                return;
            }
            self.clone().answer(question, true, move |reply| {
                let len = u16::try_from(reply.len()).expect("an answer of a test fits");
                let _ = back.write_all(&[&len.to_be_bytes()[..], &reply].concat());
            });
        }
    }

    fn answer(
        self: Arc<Inner>,
        question: Vec<u8>,
        in_full: bool,
        send: impl FnOnce(Vec<u8>) + Send + 'static,
    ) {
        let Some(question) = Question::parse(question) else { return };
        let zone = Arc::clone(&self.zone.lock());
        if question.family == A && !in_full {
            self.asked.lock().push(question.name.clone());
        }
        match zone(&question.name, self.asked(&question.name)) {
            Answer::Late(time, answer) => {
                std::thread::spawn(move || {
                    std::thread::sleep(time);
                    if let Some(reply) = question.reply(&answer, in_full) {
                        send(reply);
                    }
                });
            }
            answer => {
                if let Some(reply) = question.reply(&answer, in_full) {
                    send(reply);
                }
            }
        }
    }
}

struct Question {
    bytes: Vec<u8>,
    /// Where the question itself ends; what follows is not needed.
    end: usize,
    name: String,
    family: u16,
}

impl Question {
    fn parse(bytes: Vec<u8>) -> Option<Question> {
        let mut labels = Vec::new();
        let mut at = 12;
        loop {
            let len = usize::from(*bytes.get(at)?);
            at += 1;
            if len == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(bytes.get(at..at + len)?).to_ascii_lowercase());
            at += len;
        }
        let family = u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
        Some(Question { end: at + 4, name: labels.join("."), family, bytes })
    }

    fn reply(&self, answer: &Answer, in_full: bool) -> Option<Vec<u8>> {
        let (records, code) = match answer {
            Answer::Silence | Answer::Late(..) => return None,
            Answer::Noise => return Some(vec![0xa5; 40]),
            Answer::Cut(_) if !in_full => return Some(self.message(&[], 0, CUT)),
            Answer::Cut(answer) => return self.reply(answer, in_full),
            Answer::Code(code) => (Vec::new(), *code),
            Answer::Addresses(addresses) => (self.addresses(&self.name, addresses), 0),
            Answer::Circle(other) => (vec![alias(&self.name, other), alias(other, &self.name)], 0),
            Answer::Chain(names, addresses) => {
                let names = [std::slice::from_ref(&self.name), names].concat();
                let mut records: Vec<_> =
                    names.windows(2).map(|pair| alias(&pair[0], &pair[1])).collect();
                let last = names.last().map_or("", String::as_str);
                records.extend(self.addresses(last, addresses));
                (records, 0)
            }
        };
        let whole = self.message(&records, code, 0);
        if in_full || whole.len() <= DATAGRAM_BYTES {
            return Some(whole);
        }
        Some(self.message(&[], code, CUT))
    }

    fn addresses(&self, name: &str, addresses: &[IpAddr]) -> Vec<Vec<u8>> {
        let of_family = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(v4) if self.family == A => Some(record(name, A, &v4.octets())),
            IpAddr::V6(v6) if self.family == AAAA => Some(record(name, AAAA, &v6.octets())),
            _ => None,
        });
        of_family.collect()
    }

    fn message(&self, records: &[Vec<u8>], code: u8, flags: u8) -> Vec<u8> {
        let count = u16::try_from(records.len()).expect("an answer of a test fits").to_be_bytes();
        // A response with recursion, to one question.
        let head = [0x81 | flags, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0];
        [&self.bytes[..2], &head, &self.bytes[12..self.end], &records.concat()].concat()
    }
}

fn alias(name: &str, other: &str) -> Vec<u8> {
    record(name, CNAME, &spelled(other))
}

/// A record with no time to live.
fn record(name: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).expect("a name or an address is short");
    let fixed = [&kind.to_be_bytes()[..], &[0, 1], &[0; 4], &len.to_be_bytes()].concat();
    [&spelled(name), &fixed, data].concat()
}

fn spelled(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).expect("labels are short"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

//! The proxy, with manners good and bad, and the binary sent through it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What the proxy does to those who ask for a tunnel.
#[derive(Clone, Copy)]
pub enum Manners {
    Honest,
    /// Refuses with 403.
    Refuses,
    /// Refuses the first so many with 503 and asks to be left alone for a second.
    BusyAtFirst(usize),
    /// Refuses with 503 whoever comes while so many tunnels are open.
    Serves(usize),
    /// Closes the first so many without an answer.
    DropsFirst(usize),
    /// Never answers the first so many.
    HangsFirst(usize),
    /// Closes the first so many when the answer to an upload comes.
    LosesFirstAnswers(usize),
    /// Flips a bit of the up direction once so many bytes have passed.
    Damages(usize),
    /// Flips a bit of the down direction once so many bytes have passed.
    DamagesDown(usize),
    /// Accepts and never answers.
    Silent,
    /// Answers CONNECT so many milliseconds late.
    Slow(u64),
    /// Closes both sides once so many bytes have gone up.
    Cuts(usize),
}

/// More than a handshake sends up: an answer that comes after so much is that of an upload.
const HANDSHAKE_BYTES: usize = 10_000;

/// How long the proxy waits for a place to become free.
const PATIENCE_MS: u64 = 2_000;

/// Each connection gets two threads; they end with their sockets, and all ends with the test.
pub fn proxy(manners: Manners) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let open = Arc::new(AtomicUsize::new(0));
        for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
            let open = open.clone();
            thread::spawn(move || {
                if matches!(manners, Manners::Serves(most) if !has_place(&open, most)) {
                    return answer(client, "503 Too many tunnels");
                }
                serve(client, manners, number);
                open.fetch_sub(1, Ordering::Relaxed);
                Some(())
            });
        }
    });
    address
}

fn has_place(open: &AtomicUsize, most: usize) -> bool {
    let take = |taken| (taken < most).then_some(taken + 1);
    (0..PATIENCE_MS / 20).any(|_| {
        let taken = open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if !taken {
            thread::sleep(Duration::from_millis(20));
        }
        taken
    })
}

fn answer(mut client: TcpStream, status: &str) -> Option<()> {
    read_head(&mut client)?;
    let text = format!("HTTP/1.1 {status}\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n");
    client.write_all(text.as_bytes()).ok()
}

fn read_head(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn serve(mut client: TcpStream, manners: Manners, number: usize) -> Option<()> {
    client.set_nodelay(true).ok()?;
    if matches!(manners, Manners::BusyAtFirst(count) if number < count) {
        return answer(client, "503 Busy");
    }
    let head = read_head(&mut client)?;
    match manners {
        Manners::Refuses => {
            let text = b"HTTP/1.1 403 Target host forbidden\r\nSluice-Reason: host_not_allowed\r\n\
                Connection: close\r\nContent-Length: 0\r\n\r\n";
            return client.write_all(text).ok();
        }
        Manners::DropsFirst(count) if number < count => return None,
        Manners::HangsFirst(count) if number >= count => {}
        Manners::Silent | Manners::HangsFirst(_) => {
            // Held until the client goes away.
            return client.read(&mut [0]).ok().map(drop);
        }
        Manners::Slow(delay_ms) => thread::sleep(Duration::from_millis(delay_ms)),
        _ => {}
    }
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    let remote = TcpStream::connect(target).ok()?;
    remote.set_nodelay(true).ok()?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
    let up_bytes = Arc::new(AtomicUsize::new(0));
    let down = Pour {
        from: remote.try_clone().ok()?,
        to: client.try_clone().ok()?,
        damages: match manners {
            Manners::DamagesDown(at) => Some(at),
            _ => None,
        },
        cuts: None,
        loses: matches!(manners, Manners::LosesFirstAnswers(count) if number < count),
        up_bytes: up_bytes.clone(),
    };
    let up = Pour {
        from: client,
        to: remote,
        damages: match manners {
            Manners::Damages(at) => Some(at),
            _ => None,
        },
        cuts: match manners {
            Manners::Cuts(at) => Some(at),
            _ => None,
        },
        loses: false,
        up_bytes,
    };
    let down = thread::spawn(move || down.run(false));
    up.run(true);
    down.join().ok()
}

/// One direction.
struct Pour {
    from: TcpStream,
    to: TcpStream,
    damages: Option<usize>,
    cuts: Option<usize>,
    loses: bool,
    up_bytes: Arc<AtomicUsize>,
}

impl Pour {
    fn run(mut self, is_up: bool) {
        let mut buffer = vec![0; 65_536];
        let mut passed = 0;
        while let Ok(count @ 1..) = self.from.read(&mut buffer) {
            if is_up {
                self.up_bytes.fetch_add(count, Ordering::Relaxed);
            }
            let cut = self.cuts.is_some_and(|at| passed + count > at)
                || (self.loses && self.up_bytes.load(Ordering::Relaxed) > HANDSHAKE_BYTES);
            if cut {
                let _ = self.from.shutdown(Shutdown::Both);
                let _ = self.to.shutdown(Shutdown::Both);
                return;
            }
            if let Some(at) = self.damages.filter(|at| (passed..passed + count).contains(at)) {
                buffer[at - passed] ^= 1;
            }
            passed += count;
            if self.to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = self.to.shutdown(Shutdown::Write);
    }
}

pub fn loadgen(manners: Manners, options: &str) -> Output {
    undisturbed(|| {
        let gateway = proxy(manners).to_string();
        Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(options.split_whitespace())
            .args(["--json", "--gateway", &gateway])
            .output()
            .expect("loadgen runs")
    })
}

/// A run that the machine did not hold up. Loads are judged by a clock, and where a witness that only wants to wake
/// every 10 ms could not, nobody could be on time: such a run tells nothing of loadgen and is done again. Its outcome
/// has no say in that, and the last of so many tries counts as it is.
pub fn undisturbed<T>(run: impl Fn() -> T) -> T {
    const TRIES: usize = 20;
    const LONGEST_GAP: Duration = Duration::from_millis(150);
    for number in 1..TRIES {
        let (outcome, gap) = witnessed(&run);
        if gap < LONGEST_GAP {
            return outcome;
        }
        eprintln!("try {number} stood still for {gap:?}: it says nothing");
    }
    run()
}

/// What a run gave, and the longest that the witness was not awake meanwhile.
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
fn witnessed<T>(run: impl Fn() -> T) -> (T, Duration) {
    /// Ends the watch also where the run panics, or its scope would wait for the witness for ever.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    let mut awake_at = Instant::now();
    thread::scope(|scope| {
        let witness = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            loop {
                // Asked before the look at the clock: the last gap counts, too.
                let is_last = is_over.load(Ordering::Relaxed);
                let now = Instant::now();
                longest = longest.max(now - awake_at);
                awake_at = now;
                if is_last {
                    return longest;
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        let over = Over(&is_over);
        let outcome = run();
        drop(over);
        (outcome, witness.join().expect("the witness lives"))
    })
}

pub fn report(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {stderr}"))
}

pub fn reasons(report: &Value) -> String {
    report["verdict"]["reasons"].to_string() + &report["examples"].to_string()
}

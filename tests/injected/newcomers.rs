//! Clients that come one after another: each asks for a tunnel, uploads a little and goes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sluice::proto::reply::ESTABLISHED;

use crate::support::deadline::Stopwatch;
use crate::support::gateway::connect_head;
use crate::support::pattern::Pattern;
use crate::support::tls;

/// Between two that come.
const PAUSE: Duration = Duration::from_millis(25);
const UPLOAD_BYTES: usize = 40_000;
/// How long one of them waits for the next byte.
const PATIENCE: Duration = Duration::from_secs(20);

/// How it went for one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// Every byte came back.
    Served,
    /// Refused before there was a tunnel, for this reason.
    Refused(String),
    /// The connection ended or broke, with what the system calls it.
    Broken(io::ErrorKind),
}

/// One that came.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Since the first one could come.
    pub began: Duration,
    /// How it went.
    pub met: Met,
}

/// Newcomers, as long as they come.
#[derive(Debug)]
pub struct Newcomers {
    watch: Stopwatch,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Visit>>,
}

impl Newcomers {
    /// They come from now on, in turn for each of these targets.
    pub fn come(gateway: SocketAddr, targets: Vec<String>) -> Newcomers {
        let watch = Stopwatch::start();
        let stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopping);
        let thread = std::thread::spawn(move || {
            let mut under_way = Vec::new();
            for target in targets.into_iter().cycle() {
                // One still comes, so that there is one behind each moment before the end.
                let is_last = told.load(Ordering::Acquire);
                let began = watch.elapsed();
                let visit = std::thread::spawn(move || visit(gateway, &target));
                under_way.push((began, visit));
                if is_last {
                    break;
                }
                std::thread::sleep(PAUSE);
            }
            let met = under_way.into_iter().map(|(began, visit)| Visit {
                began,
                met: visit.join().expect("see the failure above"),
            });
            met.collect()
        });
        Newcomers { watch, stopping, thread }
    }

    /// The time by which they came, as in [`Visit::began`].
    pub fn now(&self) -> Duration {
        self.watch.elapsed()
    }

    /// Lets one more come and then nobody, and waits for those who are there.
    pub fn stop(self) -> Vec<Visit> {
        self.stopping.store(true, Ordering::Release);
        self.thread.join().expect("see the failure above")
    }
}

/// One newcomer.
///
/// # Panics
/// Where other bytes come than should.
pub fn visit(gateway: SocketAddr, target: &str) -> Met {
    match try_visit(gateway, target) {
        Ok(met) => met,
        Err(error) => Met::Broken(error.kind()),
    }
}

fn try_visit(gateway: SocketAddr, target: &str) -> io::Result<Met> {
    let mut stream = TcpStream::connect_timeout(&gateway, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&connect_head(target))?;
    let mut first = [0; 12];
    stream.read_exact(&mut first)?;
    if !ESTABLISHED.starts_with(&first) {
        let mut rest = String::new();
        stream.read_to_string(&mut rest)?;
        let reason = rest.lines().find_map(|line| line.strip_prefix("Sluice-Reason: "));
        return Ok(Met::Refused(reason.unwrap_or_default().to_owned()));
    }
    let answer = tls::answer();
    let mut rest = vec![0; ESTABLISHED.len() - first.len()];
    stream.read_exact(&mut rest)?;
    // Of an address there is nothing to name.
    let name = target.rsplit_once(':').map(|(host, _)| host).filter(|host| !host.contains('.'));
    stream.write_all(&tls::hello(name))?;
    let mut answered = vec![0; answer.len()];
    stream.read_exact(&mut answered)?;
    assert_eq!(answered, answer, "the answer to the hello");
    let pattern = Pattern::from(u64::from(stream.local_addr()?.port()));
    stream.write_all(pattern.slice(0, UPLOAD_BYTES))?;
    let (mut at, mut bytes) = (0, vec![0; UPLOAD_BYTES]);
    while at < UPLOAD_BYTES as u64 {
        match pattern.read(&mut stream, at, &mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => at += read as u64,
        }
    }
    Ok(Met::Served)
}

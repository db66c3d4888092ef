//! One connection to the admin listener: a head in, an answer out, and the close.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::request::{HEAD_BYTES, Progress, Request, read};
use super::routes::Answer;

/// Time for a head, and again for the client to take the answer.
pub(super) const CLIENT_TIME: Duration = Duration::from_secs(5);
/// Time for an answer that has to be waited for: longer than a reload waits, which says why it gave up.
pub(super) const WAIT_TIME: Duration = Duration::from_secs(35);
/// Bytes behind the head that are read and dropped so that the close is no reset: a reset could
/// destroy the answer before it is read.
const REST_BYTES: usize = 64 * 1024;

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    stage: Stage,
    deadline: Instant,
}

#[derive(Debug)]
enum Stage {
    /// The head has come so far.
    Asks(Vec<u8>),
    /// The answer is being made.
    Waits,
    /// So many bytes of the answer are out.
    Takes(Vec<u8>, usize),
    /// All is out. So many bytes more may come before its end.
    Leaves(usize),
}

/// What became of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits for an event.
    Rests,
    /// It has asked this and waits for [`Connection::answer`].
    Asked(Request),
    /// It is over.
    IsOver,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, now: Instant) -> Connection {
        Connection { stream, stage: Stage::Asks(Vec::new()), deadline: now + CLIENT_TIME }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Goes as far as the socket allows.
    pub(super) fn drive(&mut self, now: Instant) -> Fate {
        match self.proceed(now) {
            Ok(fate) => fate,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Fate::Rests,
            Err(_) => Fate::IsOver,
        }
    }

    /// Sends the answer.
    pub(super) fn answer(&mut self, answer: &Answer, now: Instant) -> Fate {
        self.stage = Stage::Takes(answer.bytes(), 0);
        self.deadline = now + CLIENT_TIME;
        self.drive(now)
    }

    /// Its time is over: one that still waits for something is told so.
    pub(super) fn expire(&mut self, now: Instant) -> Fate {
        match self.stage {
            Stage::Asks(_) => self.answer(&Answer::refusal(408), now),
            Stage::Waits => self.answer(&Answer::plain(504, "No result in time\n"), now),
            Stage::Takes(..) | Stage::Leaves(_) => Fate::IsOver,
        }
    }

    fn proceed(&mut self, now: Instant) -> io::Result<Fate> {
        let mut piece = [0; 2048];
        loop {
            match &mut self.stage {
                Stage::Asks(head) => {
                    let room = piece.len().min(HEAD_BYTES - head.len());
                    let read_bytes = retry(|| self.stream.read(&mut piece[..room]))?;
                    if read_bytes == 0 {
                        return Ok(Fate::IsOver);
                    }
                    head.extend_from_slice(&piece[..read_bytes]);
                    match read(head) {
                        Progress::More => {}
                        Progress::Whole(request) => {
                            self.stage = Stage::Waits;
                            self.deadline = now + WAIT_TIME;
                            return Ok(Fate::Asked(request));
                        }
                        Progress::Refused(status) => {
                            self.stage = Stage::Takes(Answer::refusal(status).bytes(), 0);
                            self.deadline = now + CLIENT_TIME;
                        }
                    }
                }
                Stage::Waits => return Ok(Fate::Rests),
                Stage::Takes(bytes, written) => {
                    while *written < bytes.len() {
                        match retry(|| self.stream.write(&bytes[*written..]))? {
                            0 => return Err(ErrorKind::WriteZero.into()),
                            more => *written += more,
                        }
                    }
                    self.stream.shutdown(Shutdown::Write)?;
                    self.stage = Stage::Leaves(REST_BYTES);
                }
                Stage::Leaves(left) => {
                    let read_bytes = retry(|| self.stream.read(&mut piece))?;
                    match left.checked_sub(read_bytes) {
                        Some(rest) if read_bytes > 0 => *left = rest,
                        _ => return Ok(Fate::IsOver),
                    }
                }
            }
        }
    }
}

fn retry(mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match operation() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

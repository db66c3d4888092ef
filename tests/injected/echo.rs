//! A target for newcomers: it answers the hello and sends back what comes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::support::deadline::PATIENCE;
use crate::support::tls;

/// A server that takes every connection, each by a thread.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Listens on 127.0.0.1.
    pub fn start() -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
        let address = listener.local_addr().expect("a bound socket has an address");
        let stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopping);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if told.load(Ordering::Acquire) {
                    return;
                }
                std::thread::spawn(move || drop(serve(stream)));
            }
        });
        Echo { address, stopping, thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// `localhost:PORT`.
    pub fn named(&self) -> String {
        format!("localhost:{}", self.address.port())
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // The thread waits in accept; where it cannot be reached it is gone.
        if TcpStream::connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut header = [0; 5];
    stream.read_exact(&mut header)?;
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut hello)?;
    stream.write_all(&tls::answer())?;
    let mut bytes = [0; 16 * 1024];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            read => stream.write_all(&bytes[..read])?,
        }
    }
}

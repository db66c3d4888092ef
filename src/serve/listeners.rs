//! The sockets that listen: bound before anything depends on them, so that a change either happens as a
//! whole or not at all.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::acceptor::Accepting;
use crate::config::schema::ADDRESSES_MAX;
use crate::net::slots::LISTENERS_MAX;
use crate::net::sockets;
use crate::sys;

// All of them may be exchanged at once, and live side by side for a moment.
const _: () = assert!(2 * ADDRESSES_MAX <= LISTENERS_MAX);

/// What listens now.
#[derive(Debug)]
pub struct Listeners {
    accepting: Accepting,
    workers: usize,
    open: Vec<Open>,
}

/// One address that is listened on.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// As configured; its port may be 0.
    wanted: SocketAddr,
    bound: SocketAddr,
    number: usize,
}

/// A change that can be made without failing.
#[derive(Debug)]
pub struct Prepared {
    opened: Vec<(Open, Vec<TcpListener>)>,
    closed: Vec<Open>,
    /// Addresses that this system cannot have, with the reason.
    pub skipped: Vec<(SocketAddr, io::Error)>,
}

/// A change that was made.
#[derive(Debug, Default)]
pub struct Changed {
    /// New listeners by number: one for each worker, or one for the acceptor.
    pub opened: Vec<(usize, SocketAddr, Vec<TcpListener>)>,
    /// Numbers of listeners to close, with where they listened.
    pub closed: Vec<(usize, SocketAddr)>,
}

impl Listeners {
    /// Nothing listens yet.
    pub fn new(accepting: Accepting, workers: usize) -> Listeners {
        Listeners { accepting, workers, open: Vec::new() }
    }

    /// Binds what is wanted and not open yet. Nothing changes until [`Listeners::commit`].
    ///
    /// # Errors
    /// The first address that cannot be bound, and why.
    pub fn prepare(
        &self,
        wanted: &[SocketAddr],
        keepalive: Option<Duration>,
    ) -> Result<Prepared, (SocketAddr, io::Error)> {
        let mut prepared = Prepared { opened: Vec::new(), closed: Vec::new(), skipped: Vec::new() };
        for &wanted_here in wanted {
            if self.open.iter().any(|open| open.wanted == wanted_here) {
                continue;
            }
            let new = prepared.opened.iter().map(|(open, _)| open);
            let number = self.free_number(new).map_err(|why| (wanted_here, why))?;
            match self.bind(wanted_here, keepalive) {
                Ok((bound, sockets)) => {
                    let open = Open { wanted: wanted_here, bound, number };
                    prepared.opened.push((open, sockets));
                }
                // A system may lack IPv6; then the other addresses do.
                Err(error) if wanted.len() > 1 && is_of_lacking_family(wanted_here, &error) => {
                    prepared.skipped.push((wanted_here, error));
                }
                Err(error) => return Err((wanted_here, error)),
            }
        }
        if prepared.skipped.len() == wanted.len()
            && let Some(nothing_else) = prepared.skipped.pop()
        {
            return Err(nothing_else);
        }
        prepared.closed =
            self.open.iter().filter(|open| !wanted.contains(&open.wanted)).copied().collect();
        Ok(prepared)
    }

    /// Makes a prepared change.
    pub fn commit(&mut self, prepared: Prepared) -> Changed {
        let mut changed = Changed::default();
        for (open, sockets) in prepared.opened {
            self.open.push(open);
            changed.opened.push((open.number, open.bound, sockets));
        }
        for closed in prepared.closed {
            self.open.retain(|open| open.number != closed.number);
            changed.closed.push((closed.number, closed.bound));
        }
        changed
    }

    /// Takes over sockets that were inherited, in place of what is configured.
    pub fn inherit(&mut self, sockets: Vec<TcpListener>) -> io::Result<Changed> {
        let mut changed = Changed::default();
        for socket in sockets {
            socket.set_nonblocking(true)?;
            let bound = socket.local_addr()?;
            let number = self.free_number(std::iter::empty())?;
            let open = Open { wanted: bound, bound, number };
            self.open.push(open);
            changed.opened.push((open.number, bound, vec![socket]));
        }
        Ok(changed)
    }

    /// Addresses that are listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.open.iter().map(|open| open.bound).collect()
    }

    /// Sockets that listen at all of them.
    pub fn sockets(&self) -> usize {
        self.open.len() * self.sharing()
    }

    /// Sockets that share an address.
    fn sharing(&self) -> usize {
        match self.accepting {
            Accepting::ByWorkers => self.workers,
            Accepting::ByOne => 1,
        }
    }

    /// A number that nobody has: neither those of `new`, nor those that close once these are there.
    fn free_number<'a>(&'a self, new: impl Iterator<Item = &'a Open>) -> io::Result<usize> {
        let taken: HashSet<usize> = self.open.iter().chain(new).map(|open| open.number).collect();
        let free = (0..LISTENERS_MAX).find(|number| !taken.contains(number));
        free.ok_or_else(|| {
            io::Error::other(format!("{LISTENERS_MAX} listeners are all there can be"))
        })
    }

    fn bind(
        &self,
        wanted: SocketAddr,
        keepalive: Option<Duration>,
    ) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
        // Sharing a port would hide another gateway that is there already, so the first try is for the
        // port alone. Only a listener of our own that overlaps may stand in the way.
        let alone = sockets::bind(wanted, false, keepalive);
        let overlaps = self.open.iter().any(|open| open.bound.port() == wanted.port());
        let bound = match alone {
            Ok(listener) if !sys::SHARES_PORTS => {
                return Ok((listener.local_addr()?, vec![listener]));
            }
            Ok(listener) => listener.local_addr()?,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && overlaps => wanted,
            Err(error) => return Err(error),
        };
        let shared = (0..self.sharing()).map(|_| sockets::bind(bound, true, keepalive));
        Ok((bound, shared.collect::<io::Result<_>>()?))
    }
}

/// An address of IPv6 that every system with IPv6 has.
fn is_of_lacking_family(address: SocketAddr, error: &io::Error) -> bool {
    let ip = address.ip();
    ip.is_ipv6() && (ip.is_unspecified() || ip.is_loopback()) && sys::lacks_family(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(last: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, u8::try_from(last).expect("a host of 127.0.0.0/24")], 0))
    }

    fn change(listeners: &mut Listeners, wanted: &[SocketAddr]) -> Vec<usize> {
        let prepared = listeners.prepare(wanted, None).map_err(|(_, why)| why).expect("free ports");
        listeners.commit(prepared).opened.iter().map(|(number, ..)| *number).collect()
    }

    #[test]
    fn a_number_is_used_again_once_its_listener_is_closed() {
        let mut listeners = Listeners::new(Accepting::ByOne, 1);
        assert_eq!(change(&mut listeners, &[loopback(1), loopback(2)]), [0, 1]);
        for _ in 0..LISTENERS_MAX {
            assert_eq!(change(&mut listeners, &[loopback(2), loopback(3)]), [2]);
            assert_eq!(change(&mut listeners, &[loopback(2), loopback(1)]), [0]);
            assert_eq!(change(&mut listeners, &[loopback(2), loopback(4)]), [2]);
            assert_eq!(change(&mut listeners, &[loopback(2), loopback(1)]), [0]);
        }
    }

    #[test]
    fn more_listeners_than_have_numbers_are_refused_as_a_whole() {
        let mut listeners = Listeners::new(Accepting::ByOne, 1);
        let all: Vec<SocketAddr> = (1..=255).map(loopback).collect();
        assert_eq!(change(&mut listeners, &all).len(), 255);
        let more: Vec<SocketAddr> = all
            .iter()
            .copied()
            .chain(["127.0.1.1:0", "127.0.1.2:0"].map(|one| one.parse().expect("an address")))
            .collect();
        let (at, why) = listeners.prepare(&more, None).expect_err("one too many");
        assert_eq!(
            (at, why.to_string()),
            (more[256], "256 listeners are all there can be".to_owned())
        );
        assert_eq!(listeners.addresses().len(), 255);
    }
}

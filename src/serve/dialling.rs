//! Connecting to one of several addresses: staggered attempts, losers closed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::tools::Tools;
use crate::logic::policy::Refusal;
use crate::logic::reason::Reason;
use crate::logic::stagger::Stagger;
use crate::net::kernel::Kernel;
use crate::net::slots::Token;
use crate::sys;

/// The attempts of one session.
#[derive(Debug)]
pub struct Dialling<K: Kernel> {
    stagger: Stagger,
    port: u16,
    under_way: Vec<Attempt<K>>,
    lanes_used: usize,
    failures: Vec<(SocketAddr, io::Error)>,
}

#[derive(Debug)]
struct Attempt<K: Kernel> {
    address: SocketAddr,
    stream: K::Stream,
}

/// How dialling stands.
#[derive(Debug)]
pub enum Dialled<K: Kernel> {
    /// Attempts are under way, or will be.
    NotYet,
    /// This stream is connected to this address.
    Connected(K::Stream, SocketAddr),
    /// Nothing is left to try.
    Failed(Refusal),
}

impl<K: Kernel> Dialling<K> {
    /// Dialling of judged addresses; the first attempt is made by [`Dialling::advance`].
    pub fn new(addresses: &[IpAddr], port: u16, now: Instant) -> Dialling<K> {
        Dialling {
            stagger: Stagger::new(addresses, now),
            port,
            under_way: Vec::with_capacity(1),
            lanes_used: 0,
            failures: Vec::new(),
        }
    }

    /// Looks at the attempts under way and starts those that are due.
    pub fn advance(&mut self, tools: &mut Tools<K>, token: Token) -> Dialled<K> {
        let now = tools.kernel.now();
        if let Some(connected) = self.look(tools, now) {
            return connected;
        }
        while let Some(ip) = self.stagger.due(now) {
            let address = SocketAddr::new(ip, self.port);
            if tools.is_own(address) {
                return Dialled::Failed(Refusal::because(Reason::Loop, address.to_string()));
            }
            if let Err(error) = self.attempt(tools, token, address) {
                self.failures.push((address, error));
                self.stagger.hurry(now);
            }
        }
        if self.under_way.is_empty() && self.stagger.next_at().is_none() {
            return Dialled::Failed(self.refusal());
        }
        Dialled::NotYet
    }

    /// When [`Dialling::advance`] is due without an event.
    pub fn next_at(&self) -> Option<Instant> {
        self.stagger.next_at()
    }

    /// Where the first attempt under way, or the last that failed, went.
    pub fn address(&self) -> Option<SocketAddr> {
        let under_way = self.under_way.first().map(|attempt| attempt.address);
        under_way.or_else(|| self.failures.last().map(|(address, _)| *address))
    }

    /// Closes every attempt.
    pub fn abandon(&mut self, tools: &mut Tools<K>) {
        for attempt in self.under_way.drain(..) {
            tools.kernel.close(attempt.stream);
        }
    }

    fn look(&mut self, tools: &mut Tools<K>, now: Instant) -> Option<Dialled<K>> {
        let mut index = 0;
        while index < self.under_way.len() {
            match tools.kernel.is_connected(&self.under_way[index].stream) {
                Ok(false) => index += 1,
                Ok(true) => {
                    let attempt = self.under_way.swap_remove(index);
                    self.abandon(tools);
                    return Some(Dialled::Connected(attempt.stream, attempt.address));
                }
                Err(error) => {
                    let attempt = self.under_way.swap_remove(index);
                    tools.kernel.close(attempt.stream);
                    self.failures.push((attempt.address, error));
                    self.stagger.hurry(now);
                }
            }
        }
        None
    }

    fn attempt(
        &mut self,
        tools: &mut Tools<K>,
        token: Token,
        address: SocketAddr,
    ) -> io::Result<()> {
        let source = tools.source_for(address.ip());
        let mut stream = tools.kernel.dial(address, source)?;
        self.lanes_used += 1;
        let lane = Token::CLIENT_LANE + self.lanes_used;
        if let Err(error) = tools.kernel.register(&mut stream, token.with_lane(lane)) {
            tools.kernel.close(stream);
            return Err(error);
        }
        self.under_way.push(Attempt { address, stream });
        Ok(())
    }

    fn refusal(&self) -> Refusal {
        let all = |lacking: fn(&io::Error) -> bool| {
            !self.failures.is_empty() && self.failures.iter().all(|(_, error)| lacking(error))
        };
        let reason = if all(sys::is_out_of_ports) {
            Reason::NoSourcePort
        } else if all(sys::is_out_of_descriptors) {
            Reason::DescriptorsExhausted
        } else {
            Reason::DialFailed
        };
        let told: Vec<String> =
            self.failures.iter().map(|(address, error)| format!("{address}: {error}")).collect();
        Refusal::because(reason, told.join("; "))
    }
}

//! In which order and at which pace the addresses of a target are dialled (RFC 8305, "happy eyeballs").

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Pause before the next address is tried beside the ones under way (RFC 8305 section 5).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses that are tried at most: a name with a thousand must not cost a thousand sockets.
pub const ATTEMPTS_MAX: usize = 8;

/// The addresses still to try.
#[derive(Debug)]
pub struct Stagger {
    waiting: VecDeque<IpAddr>,
    next_at: Instant,
}

impl Stagger {
    /// Orders `addresses`: their own order, with the families taking turns, capped.
    pub fn new(addresses: &[IpAddr], now: Instant) -> Stagger {
        let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
        let mut first = addresses.iter().filter(|address| address.is_ipv6() == first_is_v6);
        let mut second = addresses.iter().filter(|address| address.is_ipv6() != first_is_v6);
        let mut waiting = VecDeque::with_capacity(addresses.len().min(ATTEMPTS_MAX));
        while waiting.len() < ATTEMPTS_MAX {
            let before = waiting.len();
            waiting.extend(first.next());
            waiting.extend(second.next());
            if waiting.len() == before {
                break;
            }
        }
        waiting.truncate(ATTEMPTS_MAX);
        Stagger { waiting, next_at: now }
    }

    /// The address to dial now, if it is time.
    pub fn due(&mut self, now: Instant) -> Option<IpAddr> {
        if now < self.next_at {
            return None;
        }
        self.next_at = now + ATTEMPT_DELAY;
        self.waiting.pop_front()
    }

    /// An attempt failed: the next address need not wait.
    pub fn hurry(&mut self, now: Instant) {
        self.next_at = now;
    }

    /// When [`Stagger::due`] is worth asking again.
    pub fn next_at(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next_at)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_and_the_list_is_capped() {
        let now = Instant::now();
        let given = addresses(&["::1", "::2", "::3", "10.0.0.1"]);
        let stagger = Stagger::new(&given, now);
        assert_eq!(stagger.waiting, addresses(&["::1", "10.0.0.1", "::2", "::3"]));
        let many: Vec<IpAddr> =
            (0..1000).map(|n| IpAddr::from([10, 0, (n / 256) as u8, n as u8])).collect();
        assert_eq!(Stagger::new(&many, now).waiting.len(), ATTEMPTS_MAX);
    }

    #[test]
    fn the_next_attempt_waits_unless_one_failed() {
        let now = Instant::now();
        let mut stagger = Stagger::new(&addresses(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]), now);
        assert!(stagger.due(now).is_some());
        assert_eq!(stagger.due(now), None);
        assert_eq!(stagger.next_at(), Some(now + ATTEMPT_DELAY));
        assert!(stagger.due(now + ATTEMPT_DELAY).is_some());
        stagger.hurry(now + ATTEMPT_DELAY);
        assert!(stagger.due(now + ATTEMPT_DELAY).is_some());
        assert_eq!(stagger.next_at(), None);
    }
}

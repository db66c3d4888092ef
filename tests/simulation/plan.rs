//! What one session of a seeded run will do, drawn before it begins: what the client says and how it
//! is cut, how its name and its dials go, what the remote answers, and how each side ends.

use std::io::ErrorKind;
use std::net::SocketAddr;

use sluice::logic::reason::Reason;
use sluice::proto::tls::Version;

use crate::chance::Chance;
use crate::generations::Generation;
use crate::names::{Name, Service};
use crate::speech::{self, Gate, HeadKind, HelloKind, NEVER, ServerKind};
use crate::world::DialPlan;

/// How a side leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Shuts its side after its last byte and closes when it has heard the other's end.
    HalfClose,
    /// Closes after its last byte, whatever is still to come.
    Close,
    /// Resets when so many bytes are written.
    Reset(usize),
    /// Never.
    Stay,
}

/// At what pace a side writes and reads.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub piece_max: usize,
    pub pause_us: u64,
    pub bite: usize,
    pub bite_pause_us: u64,
    /// Reads nothing any more after so many bytes.
    pub deaf_after: usize,
}

/// One side of a session.
#[derive(Clone, Debug)]
pub struct Part {
    /// All that it will say.
    pub stream: Vec<u8>,
    /// It goes no further than this before it has heard so much.
    pub waits: Vec<Gate>,
    pub leave: Leave,
    pub pace: Pace,
    /// Closes as soon as it hears the other's end.
    pub closes_on_end: bool,
}

/// All that a session will do. What it may do follows from the rules under which it begins, see
/// [`Plan::begin_under`].
#[derive(Clone, Debug)]
pub struct Plan {
    pub address: SocketAddr,
    pub name: String,
    pub arrive_us: u64,
    pub head: HeadKind,
    pub head_bytes: usize,
    pub hello: HelloKind,
    pub hello_bytes: usize,
    pub server: ServerKind,
    /// The version that the remote chooses, where that is not always the best.
    pub chosen: Option<Version>,
    pub client: Part,
    pub remote: Part,
    /// Bytes of the client's stream behind the head may reach the remote only when so many have been
    /// read; `usize::MAX` means never.
    pub up_gates: Vec<Gate>,
    pub down_gates: Vec<Gate>,
    /// Bytes of the remote behind which nothing is watched any more.
    pub released_at: usize,
    pub service: Name,
    pub dials: Vec<(String, DialPlan)>,
    /// Nothing in it can go wrong but what `outcome` says.
    pub tame: bool,
    /// What its head, its hello or the remote's hello is refused for.
    pub refusals: [Option<Reason>; 3],
    /// What it would be refused for if the list of hosts were enforced.
    pub reported: Option<Reason>,
}

impl Plan {
    /// Session number `index` of a run.
    pub fn draw(index: usize, chance: &mut Chance) -> Plan {
        let name = format!("t{index}.example.com");
        let tame = chance.once_in(3);
        let head = if chance.once_in(4) { chance.pick(&HeadKind::ALL) } else { HeadKind::Good };
        let hello = if chance.once_in(4) { chance.pick(&HelloKind::ALL) } else { HelloKind::Good };
        let server =
            if chance.once_in(4) { chance.pick(&ServerKind::ALL) } else { ServerKind::Good };
        let said = speech::draw(&name, head, hello, server, chance);
        let mut client = part(said.client, said.client_waits, tame, chance);
        let mut remote = part(said.remote, said.remote_waits, tame, chance);
        let bulk = client.stream.len().max(remote.stream.len());
        for part in [&mut client, &mut remote] {
            // A long stream in single bytes would only take long.
            part.pace.piece_max = part.pace.piece_max.max(bulk / 200 + 1);
            part.pace.bite = part.pace.bite.max(bulk / 200 + 1);
        }
        if matches!(head, HeadKind::Silent | HeadKind::Partial) || hello == HelloKind::Partial {
            client.leave = Leave::Stay;
        }
        let (service, dials) = if tame || chance.once_in(2) {
            kind_names(index, chance)
        } else {
            odd_names(index, chance)
        };
        let silent = hello == HelloKind::Silent || server == ServerKind::Silent;
        let stays = client.leave == Leave::Stay || silent;
        let ends_early = hello == HelloKind::PartialEnd && head != HeadKind::Health;
        // Whoever speaks first may be overtaken by the hello.
        let racy =
            matches!(server, ServerKind::SpeaksFirst | ServerKind::EndsAtOnce | ServerKind::Alert);
        Plan {
            address: SocketAddr::from(([198, 51, 100, index as u8 / 2 + 1], 40_000 + index as u16)),
            arrive_us: chance.between(0, 200_000),
            head,
            head_bytes: said.head_bytes,
            hello,
            hello_bytes: said.hello_bytes,
            server,
            chosen: said.chosen,
            client,
            remote,
            up_gates: said.up_gates,
            down_gates: said.down_gates,
            released_at: said.released_at,
            service,
            dials,
            tame: tame && !stays && !ends_early && !racy,
            refusals: [head.refusal(), hello.refusal(), server.refusal()],
            reported: None,
            name,
        }
    }

    /// The client has come while `generation` is in force: it is judged by that to its end.
    pub fn begin_under(&mut self, generation: &Generation, session: usize) {
        let limits = generation.limits();
        let objection = generation.objection(session, self.head);
        let asks = match self.head {
            HeadKind::Large => limits.head_bytes > self.head_bytes,
            HeadKind::Good | HeadKind::Old | HeadKind::BareLf => true,
            HeadKind::OtherHost | HeadKind::OtherPort => true,
            _ => false,
        };
        let [of_head, of_hello, of_server] = &mut self.refusals;
        if asks {
            *of_head = objection.filter(|_| !generation.reports);
            self.reported = objection.filter(|_| generation.reports);
            // Nobody knows the other host.
            self.tame &= self.head != HeadKind::OtherHost || !generation.reports;
        }
        let passes = match self.hello {
            HelloKind::Low => generation.min_version() <= Version::TLS10,
            HelloKind::Large => limits.hello_bytes >= self.hello_bytes,
            _ => false,
        };
        if passes {
            *of_hello = None;
            self.up_gates[0] = Gate { from: 0, needs: self.hello_bytes };
        }
        if self.chosen.is_some_and(|chosen| chosen < generation.min_version()) {
            *of_server = Some(Reason::TlsVersionTooLow);
            self.down_gates = vec![NEVER];
            self.released_at = usize::MAX;
        }
    }

    /// The refusal it must meet unless something else ends it before, or none: then it must finish.
    pub fn outcome(&self) -> Option<Reason> {
        match self.head {
            HeadKind::Health => None,
            _ => self.refusals.iter().flatten().next().copied(),
        }
    }

    /// The port that it asks for.
    pub fn port(&self) -> u16 {
        if self.head == HeadKind::OtherPort { 8443 } else { 443 }
    }

    /// Its head is a CONNECT that passes.
    pub fn asks_in_order(&self) -> bool {
        let asks = matches!(
            self.head,
            HeadKind::Good
                | HeadKind::Old
                | HeadKind::BareLf
                | HeadKind::Large
                | HeadKind::OtherHost
                | HeadKind::OtherPort
        );
        asks && self.refusals[0].is_none()
    }
}

fn part(stream: Vec<u8>, waits: Vec<Gate>, tame: bool, chance: &mut Chance) -> Part {
    let leave = match chance.below(8) {
        _ if tame => Leave::HalfClose,
        0 => Leave::Close,
        1 | 2 => Leave::Reset(chance.below(stream.len() + 1)),
        3 => Leave::Stay,
        _ => Leave::HalfClose,
    };
    let deaf = !tame && chance.once_in(8);
    let pause = if tame { 2_000 } else { chance.pick(&[0, 100, 5_000, 400_000, 20_000_000]) };
    Part {
        leave,
        waits,
        closes_on_end: !tame && chance.once_in(3),
        pace: Pace {
            piece_max: 1 + chance.size(stream.len() + 1),
            pause_us: if chance.once_in(2) { 0 } else { pause },
            bite: 1 + chance.size(1 << 15),
            bite_pause_us: if chance.once_in(2) { 0 } else { pause.min(5_000) },
            deaf_after: if deaf { chance.below(stream.len() + 100) } else { usize::MAX },
        },
        stream,
    }
}

fn kind_names(index: usize, chance: &mut Chance) -> (Name, Vec<(String, DialPlan)>) {
    let address = format!("93.184.{index}.0");
    let service =
        if chance.once_in(2) { Service::Known } else { Service::After(chance.between(0, 50_000)) };
    let dial = DialPlan::Connect(chance.between(0, 50_000));
    (Name::new(service, &[&address]), vec![(address, dial)])
}

fn odd_names(index: usize, chance: &mut Chance) -> (Name, Vec<(String, DialPlan)>) {
    let mut dials = Vec::new();
    for number in 0..chance.below(5) {
        let address = format!("93.184.{index}.{number}");
        let after_us = chance.moment(24);
        let plan = match chance.below(6) {
            0 => DialPlan::Silence,
            1 => DialPlan::Fail(after_us, ErrorKind::ConnectionRefused),
            2 => DialPlan::Fail(after_us, ErrorKind::HostUnreachable),
            3 => DialPlan::AtOnce(NO_SOURCE_PORT),
            _ => DialPlan::Connect(after_us),
        };
        dials.push((address, plan));
    }
    let private = format!("10.184.{index}.9");
    dials.push((private.clone(), DialPlan::Connect(chance.moment(20))));
    let public = &dials[..dials.len() - 1];
    let mut addresses: Vec<&str> = public.iter().map(|(address, _)| address.as_str()).collect();
    if chance.once_in(4) {
        let at = chance.below(addresses.len() + 1);
        addresses.insert(at, &private);
    }
    let service = match chance.below(5) {
        0 => Service::Known,
        1 => Service::Dead,
        2 => Service::Busy,
        _ => Service::After(chance.moment(24)),
    };
    let mut name = Name::new(service, &addresses);
    if chance.once_in(4) {
        name.stale = name.answer.as_ref().ok().cloned().filter(|known| !known.is_empty());
    }
    if chance.once_in(5) {
        name.answer = Name::failing("no such name").answer;
    }
    name.answers_the_gone = chance.once_in(2);
    (name, dials)
}

/// EADDRNOTAVAIL.
const NO_SOURCE_PORT: i32 = if cfg!(target_os = "linux") {
    99
} else if cfg!(windows) {
    10049
} else {
    49
};

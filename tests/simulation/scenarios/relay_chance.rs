//! Relay proxies that answer, refuse, hang, vanish or never were there, drawn from a number: whatever
//! they do, the client hears a 200 only after a 2xx, each hears only what is meant for it, and nothing
//! stays behind.

use std::io::ErrorKind;
use std::net::IpAddr;

use sluice::logic::reason::Reason;

use crate::chance::Chance;
use crate::lab::{ESTABLISHED, HEAD, Lab, hello, server_hello};
use crate::link::{LinkId, Who};
use crate::names::{Name, Service};
use crate::options::{Options, PollModel};
use crate::peer::Heard;
use crate::world::DialPlan;

use super::relay_proxy::{OK, REQUEST, lab, name};

const RUNS: u64 = 1_000;
const STEPS: usize = 80;
const NAMES: [&str; 3] = ["p0.test:3128", "p1.test:3128", "p2.test:3128"];

/// What a relay proxy sends, and what it does behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Script {
    answer: &'static [u8],
    then: Then,
    opens: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Stays,
    Closes,
    Resets,
}

const SCRIPTS: [Script; 10] = [
    script(OK, Then::Stays, true),
    script(OK, Then::Stays, true),
    script(b"HTTP/1.0 100 x\r\n\r\nHTTP/1.1 200 y\r\nContent-Length: 5\r\n\r\n", Then::Stays, true),
    script(b"HTTP/1.1 503 Busy\r\n\r\n", Then::Stays, false),
    script(b"HTTP/1.1 503 Busy\r\n\r\nbody", Then::Closes, false),
    script(b"HTTP/1.1 407 Who\r\n\r\n", Then::Closes, false),
    script(b"HTTP/1.1 200 O", Then::Resets, false),
    script(b"SSH-2.0-x\r\n", Then::Stays, false),
    script(b"", Then::Closes, false),
    script(b"", Then::Stays, false),
];

const fn script(answer: &'static [u8], then: Then, opens: bool) -> Script {
    Script { answer, then, opens }
}

/// One relay proxy at work.
#[derive(Debug)]
struct Worked {
    link: LinkId,
    script: Script,
    heard: Vec<u8>,
    sent: usize,
    gone: bool,
}

impl Worked {
    fn has_opened(&self) -> bool {
        self.script.opens && self.sent == self.script.answer.len()
    }

    /// Hears what there is, and says a piece of its answer once it has been asked.
    fn work(&mut self, lab: &mut Lab, chance: &mut Chance) {
        if self.gone {
            return;
        }
        self.heard.extend(lab.hear(self.link).0);
        if self.heard.len() < REQUEST.len() {
            return;
        }
        let rest = &self.script.answer[self.sent..];
        if !rest.is_empty() {
            let len = 1 + chance.below(rest.len());
            let sent = lab.world.borrow_mut().actor_writes(self.link, &rest[..len]);
            self.sent += sent;
        } else if self.script.then != Then::Stays {
            self.gone = true;
            let then = self.script.then;
            let link = self.link;
            lab.act(|world| match then {
                Then::Resets => world.actor_resets(link),
                _ => world.actor_closes(link),
            });
        }
        lab.settle();
    }
}

#[test]
fn whatever_relay_proxies_do() {
    let mut opened = 0;
    for seed in 0..RUNS {
        opened += usize::from(run(seed));
    }
    assert!(opened > RUNS as usize / 10, "{opened} tunnels of {RUNS} were opened");
}

/// One session; whether it got its tunnel.
fn run(seed: u64) -> bool {
    let mut chance = Chance::new(seed);
    let model = chance.pick(&[PollModel::Epoll, PollModel::Narrow, PollModel::Windows]);
    let mut options = Options::of_model(model);
    options.queues_max[0] = chance.pick(&[40, 300, 1 << 16]);
    options.queues_max[1] = chance.pick(&[40, 300, 1 << 16]);
    options.piece_bytes = chance.pick(&[1, 40, 1460]);
    options.latency_us = chance.pick(&[0, 100, 3_000]);
    options.short_once_in = chance.pick(&[0, 2, 10]);
    let count = 1 + chance.below(NAMES.len());
    let mut lab = lab(options, &NAMES[..count]);
    draw_ways(&mut lab, count, &mut chance);

    let glued = chance.once_in(2);
    let client = lab.connect();
    let head = if glued { [HEAD, &hello()].concat() } else { HEAD.to_vec() };
    lab.send(client, &head);
    let leaves_at = if chance.once_in(4) { chance.below(STEPS) } else { STEPS };
    let (mut worked, mut heard): (Vec<Worked>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut spoken = glued;
    for step in 0..STEPS {
        if step == leaves_at {
            lab.act(|world| world.actor_resets(client));
        }
        if step < leaves_at {
            heard.extend(lab.hear(client).0);
        }
        meet(&lab, &mut worked, &mut chance);
        for one in &mut worked {
            one.work(&mut lab, &mut chance);
        }
        let has_opened = worked.last().is_some_and(Worked::has_opened);
        if !heard.is_empty() && heard.starts_with(&ESTABLISHED[..heard.len().min(12)]) {
            assert!(has_opened, "seed {seed}: a 200 of nobody: {worked:?}\n{}", lab.trace());
        }
        if heard.starts_with(ESTABLISHED) && !spoken && step < leaves_at {
            spoken = true;
            lab.send(client, &hello());
        }
        let pause_ms = chance.moment(12);
        lab.pass_ms(pause_ms);
    }
    let is_open = heard == ESTABLISHED && worked.last().is_some_and(Worked::has_opened);
    if is_open && leaves_at == STEPS {
        shake_hands(&mut lab, client, worked.last_mut().unwrap(), seed);
    }
    for one in &worked {
        let asked = one.heard.len().min(REQUEST.len());
        assert_eq!(one.heard[..asked], REQUEST.as_bytes()[..asked], "seed {seed}");
        assert!(one.has_opened() || one.heard.len() <= REQUEST.len(), "seed {seed}: {one:?}");
    }
    let links: Vec<LinkId> = worked.iter().map(|one| one.link).chain([client]).collect();
    for link in links {
        lab.act(|world| world.actor_closes(link));
        lab.settle();
    }
    lab.pass_ms(90_000);
    // A client that resets at once may be gone before its head has come.
    let received = lab.reasons().iter().filter(|r| **r == Reason::ConnectReceived).count();
    assert_eq!(
        (lab.endings().len(), received <= 1),
        (received, true),
        "seed {seed}: {}",
        lab.trace()
    );
    lab.assert_at_rest();
    is_open
}

/// How names and dials go.
fn draw_ways(lab: &mut Lab, count: usize, chance: &mut Chance) {
    let mut plans = Vec::new();
    for (number, proxy) in NAMES[..count].iter().enumerate() {
        let address = format!("10.0.0.{number}");
        let service = match chance.below(8) {
            0 => Service::Dead,
            1 => Service::Busy,
            2 | 3 => Service::After(chance.moment(23)),
            _ => Service::Known,
        };
        let mut known = match chance.below(8) {
            0 => Name::failing("no such name"),
            _ => Name::new(service, &[&address]),
        };
        known.answers_the_gone = chance.once_in(2);
        name(lab, proxy.split_once(':').unwrap().0, known);
        let plan = match chance.below(6) {
            0 => DialPlan::Silence,
            1 => DialPlan::Fail(chance.moment(20), ErrorKind::ConnectionRefused),
            _ => DialPlan::Connect(chance.moment(22)),
        };
        plans.push((address.parse::<IpAddr>().unwrap(), plan));
    }
    lab.act(|world| world.dials = plans);
}

/// A relay proxy that was dialled since the last look gets its script.
fn meet(lab: &Lab, worked: &mut Vec<Worked>, chance: &mut Chance) {
    let world = lab.world.borrow();
    for &link in &world.dialled {
        let is_known = worked.iter().any(|one| one.link == link);
        if !is_known && !world.links[link].look(Who::Gateway).closed {
            let script = chance.pick(&SCRIPTS);
            worked.push(Worked { link, script, heard: Vec::new(), sent: 0, gone: false });
        }
    }
}

/// An open tunnel is one: the hello has reached the target behind the request, and the answer to it
/// reaches the client.
fn shake_hands(lab: &mut Lab, client: LinkId, last: &mut Worked, seed: u64) {
    last.heard.extend(lab.hear(last.link).0);
    let expected = [REQUEST.as_bytes(), &hello()].concat();
    if last.heard.len() < expected.len() {
        // The hello went out too late for the client's own limit, or is on its way.
        assert!(expected.starts_with(&last.heard), "seed {seed}: {}", lab.trace());
        return;
    }
    assert_eq!(last.heard, expected, "seed {seed}");
    let sent = lab.world.borrow_mut().actor_writes(last.link, &server_hello());
    lab.pass_ms(50);
    let (answer, heard) = lab.hear(client);
    let gone = heard != Heard::Nothing || sent == 0;
    assert!(gone || answer == server_hello(), "seed {seed}: {heard:?} {}", lab.trace());
}

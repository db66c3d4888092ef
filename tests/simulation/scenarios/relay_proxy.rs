//! Through a relay proxy, at every pace: names, dials, answers, deadlines, and what is left afterwards.

use std::io::ErrorKind;
use std::sync::Arc;

use sluice::logic::limits::Limits;
use sluice::logic::policy::Policy;
use sluice::logic::reason::Reason;
use sluice::logic::relay_proxies::{RelayProxy, RelayRules};
use sluice::logic::secret::Secret;
use sluice::net::kernel::Kernel;
use sluice::proto::target::Target;
use sluice::proto::via::ViaName;
use sluice::serve::orders::Rules;

use crate::lab::{ESTABLISHED, HEAD, Lab, hello, policy, server_hello};
use crate::names::{Name, Service};
use crate::options::{Options, PollModel};
use crate::peer::Heard;
use crate::world::DialPlan;

pub(super) const REQUEST: &str = "CONNECT a.example.com:443 HTTP/1.1\r\nHost: a.example.com:443\r\n\
                       Via: 1.1 sluice-0000000000000001\r\nProxy-Authorization: Basic dTpw\r\n\r\n";
pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const FIRST: &str = "first.test:3128";
const SECOND: &str = "second.test:3128";

/// A gateway that goes through these. Their names are known, and both can be dialled at once.
pub(super) fn lab(options: Options, relay_proxies: &[&str]) -> Lab {
    let pipes_max = options.pipes_max;
    let mut lab = Lab::new(options, Limits::default());
    let now = lab.worker.tools().kernel.now();
    let proxies = relay_proxies
        .iter()
        .map(|text| Arc::new(RelayProxy::new(Target::parse(text.as_bytes()).unwrap(), now)));
    let relay = RelayRules {
        proxies: proxies.collect(),
        authorization: Some(Arc::new(Secret::new("Basic dTpw".to_owned()))),
        name: ViaName::new(1),
        ..RelayRules::default()
    };
    let own = lab.worker.tools().own.clone();
    lab.worker.go_by(&Rules {
        policy: Arc::new(Policy { relay, ..policy(Limits::default()) }),
        sources: Vec::new(),
        own,
        keepalive: None,
        pipes_max,
        cuts_open: false,
    });
    name(&mut lab, "first.test", Name::new(Service::Known, &["10.0.0.1"]));
    name(&mut lab, "second.test", Name::new(Service::Known, &["10.0.0.2"]));
    dials(&mut lab, DialPlan::Connect(0), DialPlan::Connect(0));
    lab
}

pub(super) fn name(lab: &mut Lab, name: &str, known: Name) {
    lab.act(|world| drop(world.names.insert(name.to_owned(), known)));
}

fn dials(lab: &mut Lab, first: DialPlan, second: DialPlan) {
    let plans = [("10.0.0.1", first), ("10.0.0.2", second)];
    let plans = plans.map(|(address, plan)| (address.parse().unwrap(), plan));
    lab.act(|world| world.dials = plans.to_vec());
}

fn reply_of(lab: &mut Lab, client: usize) -> String {
    String::from_utf8(lab.hear(client).0).unwrap()
}

fn request_of(lab: &mut Lab, remote: usize) -> String {
    String::from_utf8(lab.hear(remote).0).unwrap()
}

/// A session that has asked its relay proxy, which is the `index`th remote.
fn asked(lab: &mut Lab, index: usize) -> (usize, usize) {
    let client = lab.connect();
    lab.send(client, HEAD);
    let remote = lab.dialled(index);
    assert_eq!(request_of(lab, remote), REQUEST, "{}", lab.trace());
    (client, remote)
}

/// Both sides leave, and nothing of the session stays.
fn leave(lab: &mut Lab, client: usize, remote: usize) {
    lab.act(|world| world.actor_closes(client));
    lab.settle();
    lab.act(|world| world.actor_closes(remote));
    lab.settle();
    lab.pass_ms(20_000);
    lab.assert_at_rest();
}

#[test]
fn a_whole_session() {
    for model in [PollModel::Epoll, PollModel::Narrow, PollModel::Windows] {
        for glued in [false, true] {
            let mut lab = lab(Options::of_model(model), &[FIRST]);
            let client = lab.connect();
            let early = if glued { hello() } else { Vec::new() };
            lab.send(client, &[HEAD, &early].concat());
            let remote = lab.dialled(0);
            assert_eq!(request_of(&mut lab, remote), REQUEST);
            for byte in OK {
                assert_eq!(lab.hear(client), (Vec::new(), Heard::Nothing));
                lab.send(remote, &[*byte]);
            }
            assert_eq!(lab.hear(client), (ESTABLISHED.to_vec(), Heard::Nothing));
            if !glued {
                lab.send(client, &hello());
            }
            assert_eq!(lab.hear(remote), (hello(), Heard::Nothing));
            lab.send(remote, &server_hello());
            assert_eq!(lab.hear(client), (server_hello(), Heard::Nothing));
            lab.send(client, b"up");
            assert_eq!(lab.hear(remote), (b"up".to_vec(), Heard::Nothing));
            leave(&mut lab, client, remote);
            assert_eq!(lab.endings(), ["tunnel.remote.finished"]);
        }
    }
}

/// The request goes out, and the 200, however little of them a socket takes at once; and the target's
/// first bytes, which came with the answer, are judged behind them.
#[test]
fn sockets_that_take_little_at_once() {
    for model in [PollModel::Epoll, PollModel::Narrow, PollModel::Windows] {
        for early in [&b""[..], b"220 hello"] {
            let mut options = Options::of_model(model);
            options.queues_max[0] = 7;
            let mut lab = lab(options, &[FIRST]);
            let (client, remote) = asked(&mut lab, 0);
            lab.send(remote, &[OK, early].concat());
            let (heard, end) = lab.hear(client);
            if early.is_empty() {
                assert_eq!((heard, end), (ESTABLISHED.to_vec(), Heard::Nothing));
                lab.send(client, &hello());
                assert_eq!(lab.hear(remote).0, hello());
            } else {
                assert_eq!((heard, end), (ESTABLISHED.to_vec(), Heard::End));
                assert!(lab.reasons().contains(&Reason::ServerSpokeFirst), "{:?}", lab.reasons());
            }
            leave(&mut lab, client, remote);
        }
    }
}

#[test]
fn the_next_one_is_tried_where_one_cannot_be_reached() {
    const REFUSED: DialPlan = DialPlan::Fail(10, ErrorKind::ConnectionRefused);
    for (known, plan, waits_ms) in [
        (Name::new(Service::Known, &["10.0.0.1"]), REFUSED, 1),
        (Name::new(Service::Known, &["10.0.0.1"]), DialPlan::Silence, 5_001),
        (Name::new(Service::Known, &[]), REFUSED, 1),
        (Name::failing("no such name"), REFUSED, 1),
        (Name::new(Service::Busy, &[]), REFUSED, 1),
        (Name::new(Service::Dead, &[]), REFUSED, 2_501),
    ] {
        let what = format!("{known:?} {plan:?}");
        let mut lab = lab(Options::default(), &[FIRST, SECOND]);
        name(&mut lab, "first.test", known);
        dials(&mut lab, plan, DialPlan::Connect(0));
        let client = lab.connect();
        lab.send(client, HEAD);
        lab.pass_ms(waits_ms);
        let index = lab.world.borrow().dialled.len() - 1;
        let remote = lab.dialled(index);
        assert_eq!(request_of(&mut lab, remote), REQUEST, "{what}");
        lab.send(remote, OK);
        assert_eq!(lab.hear(client), (ESTABLISHED.to_vec(), Heard::Nothing), "{what}");
        leave(&mut lab, client, remote);
    }
}

/// An answer to the question for the first one's name, that comes when the second one's is asked for,
/// does not say where the second one is.
#[test]
fn a_late_address_is_not_that_of_the_next_one() {
    let mut lab = lab(Options::default(), &[FIRST, SECOND]);
    let mut late = Name::new(Service::After(2_600_000), &["10.0.0.1"]);
    late.answers_the_gone = true;
    name(&mut lab, "first.test", late);
    name(&mut lab, "second.test", Name::new(Service::After(500_000), &["10.0.0.2"]));
    let client = lab.connect();
    lab.send(client, HEAD);
    lab.pass_ms(2_700);
    assert_eq!(lab.world.borrow().dialled.len(), 0, "{}", lab.trace());
    lab.pass_ms(400);
    let remote = lab.dialled(0);
    assert_eq!(request_of(&mut lab, remote), REQUEST);
    assert!(lab.trace().contains("dial 10.0.0.2:3128") && !lab.trace().contains("dial 10.0.0.1"));
    lab.send(remote, OK);
    assert_eq!(lab.hear(client).0, ESTABLISHED);
    leave(&mut lab, client, remote);
}

#[test]
fn whatever_a_relay_proxy_does_instead_of_an_answer_is_told_and_nothing_stays() {
    type Fault = fn(&mut Lab, usize);
    let rows: [(Fault, u64, &str, Reason); 6] = [
        (|_, _| {}, 10_001, "HTTP/1.1 504 ", Reason::RelayProxyTimeout),
        (
            |lab, remote| lab.send(remote, b"HTTP/1.1 200 O"),
            10_001,
            "HTTP/1.1 504 ",
            Reason::RelayProxyTimeout,
        ),
        (
            |lab, remote| lab.act(|world| world.actor_closes(remote)),
            1,
            "HTTP/1.1 502 ",
            Reason::RelayProxyBadReply,
        ),
        (
            |lab, remote| lab.act(|world| world.actor_resets(remote)),
            1,
            "HTTP/1.1 502 ",
            Reason::RelayProxyBadReply,
        ),
        (
            |lab, remote| lab.send(remote, b"SSH-2.0-x\r\n"),
            1,
            "HTTP/1.1 502 ",
            Reason::RelayProxyBadReply,
        ),
        (
            |lab, remote| lab.send(remote, b"HTTP/1.1 407 x\r\n\r\n"),
            1,
            "HTTP/1.1 502 ",
            Reason::RelayProxyRefusedCredentials,
        ),
    ];
    for model in [PollModel::Epoll, PollModel::Narrow, PollModel::Windows] {
        for (fault, waits_ms, status, reason) in rows {
            let mut lab = lab(Options::of_model(model), &["10.0.0.1:3128"]);
            let (client, remote) = asked(&mut lab, 0);
            fault(&mut lab, remote);
            lab.pass_ms(waits_ms);
            let reply = reply_of(&mut lab, client);
            assert!(reply.starts_with(status), "{reply}");
            assert!(lab.reasons().contains(&reason), "{:?}", lab.reasons());
            assert!(lab.is_closed(remote), "{}", lab.trace());
            leave(&mut lab, client, remote);
            let ending = format!("await_relay_proxy.gateway.{reason}");
            assert_eq!(lab.endings(), [ending]);
        }
    }
}

#[test]
fn a_client_that_resets_takes_everything_with_it() {
    // On Windows nothing tells of it: the client has not been read until it would block.
    for model in [PollModel::Epoll, PollModel::Narrow] {
        for (known, plan, ending) in [
            (Service::Dead, DialPlan::Silence, "await_dial.client.reset"),
            (Service::Known, DialPlan::Silence, "await_dial.client.reset"),
            (Service::Known, DialPlan::Connect(0), "await_relay_proxy.client.reset"),
        ] {
            let mut lab = lab(Options::of_model(model), &[FIRST]);
            name(&mut lab, "first.test", Name::new(known, &["10.0.0.1"]));
            dials(&mut lab, plan, DialPlan::Silence);
            let client = lab.connect();
            lab.send(client, HEAD);
            lab.act(|world| world.actor_resets(client));
            lab.pass_ms(20_000);
            assert_eq!(lab.endings(), [ending], "{}", lab.trace());
            lab.assert_at_rest();
        }
    }
}

/// What the first one had readable when it was left is not taken for the second one's.
#[test]
fn the_second_answer_is_the_second_ones() {
    for model in [PollModel::Epoll, PollModel::Narrow, PollModel::Windows] {
        let mut lab = lab(Options::of_model(model), &[FIRST, SECOND]);
        let (client, first) = asked(&mut lab, 0);
        lab.send(
            first,
            b"HTTP/1.1 503 Busy\r\nContent-Length: 22\r\n\r\nHTTP/1.1 200 OK\r\n\r\n...",
        );
        let second = lab.dialled(1);
        assert_eq!(request_of(&mut lab, second), REQUEST);
        assert!(lab.is_closed(first));
        assert_eq!(lab.hear(client), (Vec::new(), Heard::Nothing));
        lab.send(second, OK);
        assert_eq!(lab.hear(client).0, ESTABLISHED);
        assert!(lab.reasons().contains(&Reason::RelayProxyLost), "{:?}", lab.reasons());
        leave(&mut lab, client, second);
    }
}

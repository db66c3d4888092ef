//! From accept to the open tunnel: names, dials, deadlines.

use std::io::ErrorKind;

use sluice::logic::limits::Limits;
use sluice::logic::reason::Reason;

use crate::lab::{ESTABLISHED, HEAD, Lab, hello, server_hello};
use crate::link::Who;
use crate::names::{Name, Service, ips};
use crate::options::{Options, PollModel};
use crate::peer::Heard;
use crate::world::{Act, DialPlan};

fn lab() -> Lab {
    Lab::new(Options::default(), Limits::default())
}

fn name(lab: &mut Lab, name: Name) {
    lab.act(|world| drop(world.names.insert("a.example.com".to_owned(), name)));
}

fn dials(lab: &mut Lab, plans: &[(&str, DialPlan)]) {
    let plans = plans.iter().map(|(address, plan)| (address.parse().unwrap(), *plan));
    lab.act(|world| world.dials = plans.collect());
}

fn reply_of(lab: &mut Lab, link: usize) -> String {
    String::from_utf8(lab.hear(link).0).unwrap()
}

#[test]
fn a_whole_session() {
    for model in [PollModel::Epoll, PollModel::Narrow, PollModel::Windows] {
        let mut lab = Lab::new(Options::of_model(model), Limits::default());
        let (client, remote) = lab.open_tunnel();
        let upload: Vec<u8> = (0..50_000u32).map(|n| (n % 251) as u8).collect();
        lab.send(client, &upload);
        assert_eq!(lab.hear(remote), (upload.clone(), Heard::Nothing));
        lab.send(remote, b"200 OK");
        lab.act(|world| world.actor_shuts(client));
        assert_eq!(lab.hear(remote), (Vec::new(), Heard::End));
        assert_eq!(lab.hear(client), (b"200 OK".to_vec(), Heard::Nothing));
        lab.send(remote, b"bye");
        lab.act(|world| world.actor_shuts(remote));
        assert_eq!(lab.hear(client), (b"bye".to_vec(), Heard::End));
        assert_eq!(
            lab.reasons(),
            [Reason::ConnectReceived, Reason::TlsVerified, Reason::SessionEnded]
        );
        assert_eq!(lab.endings(), ["tunnel.remote.finished"]);
        let ended = lab.events[2].ended.clone().unwrap();
        assert_eq!(ended.bytes_up, (hello().len() + upload.len()) as u64);
        assert_eq!(ended.bytes_down, (server_hello().len() + 9) as u64);
        lab.pass_ms(20_000);
        lab.assert_at_rest();
        assert_eq!(lab.world.borrow().descriptors, 0, "pipes are not kept for ever");
    }
}

#[test]
fn a_head_in_single_bytes_with_the_hello_glued_on() {
    let mut lab = lab();
    let client = lab.connect();
    for byte in &HEAD[..HEAD.len() - 1] {
        lab.send(client, &[*byte]);
    }
    let last = [&HEAD[HEAD.len() - 1..], &hello()].concat();
    lab.send(client, &last);
    assert_eq!(lab.hear(client), (ESTABLISHED.to_vec(), Heard::Nothing));
    let remote = lab.dialled(0);
    assert_eq!(lab.hear(remote), (hello(), Heard::Nothing));
}

#[test]
fn nothing_of_the_client_reaches_the_remote_before_its_hello_is_whole() {
    let mut lab = lab();
    let client = lab.connect();
    lab.send(client, HEAD);
    let remote = lab.dialled(0);
    let hello = hello();
    for byte in &hello[..hello.len() - 1] {
        lab.send(client, &[*byte]);
        assert_eq!(lab.hear(remote), (Vec::new(), Heard::Nothing));
    }
    lab.send(client, &hello[hello.len() - 1..]);
    assert_eq!(lab.hear(remote), (hello, Heard::Nothing));
}

#[test]
fn a_slow_name() {
    let mut lab = lab();
    name(&mut lab, Name::new(Service::After(300_000), &["93.184.0.1"]));
    let client = lab.connect();
    lab.send(client, HEAD);
    lab.pass_ms(299);
    assert_eq!(lab.hear(client), (Vec::new(), Heard::Nothing));
    lab.pass_ms(2);
    assert_eq!(lab.hear(client), (ESTABLISHED.to_vec(), Heard::Nothing));
}

#[test]
fn a_dead_resolver_ends_in_504_at_its_deadline() {
    let mut lab = lab();
    name(&mut lab, Name::new(Service::Dead, &[]));
    let client = lab.connect();
    lab.send(client, HEAD);
    lab.pass_ms(4_998);
    assert_eq!(lab.hear(client), (Vec::new(), Heard::Nothing));
    lab.pass_ms(3);
    let reply = reply_of(&mut lab, client);
    assert!(reply.starts_with("HTTP/1.1 504 "), "{reply}");
    assert_eq!(lab.reasons(), [Reason::ConnectReceived, Reason::ResolveTimeout]);
    lab.pass_ms(2_001);
    assert_eq!(lab.endings(), ["await_address.gateway.resolve_timeout"]);
    lab.assert_at_rest();
}

#[test]
fn a_dead_resolver_with_a_memory() {
    let mut lab = lab();
    let stale = Some(ips(&["93.184.0.1"]));
    name(&mut lab, Name { stale, ..Name::new(Service::Dead, &[]) });
    let client = lab.connect();
    lab.send(client, HEAD);
    lab.pass_ms(5_001);
    assert_eq!(lab.hear(client), (ESTABLISHED.to_vec(), Heard::Nothing));
}

#[test]
fn answers_that_come_to_nobody() {
    let mut lab = lab();
    let slow = Name::new(Service::After(200_000), &["93.184.0.1"]);
    name(&mut lab, Name { answers_the_gone: true, ..slow });
    let client = lab.connect();
    lab.send(client, HEAD);
    lab.act(|world| world.actor_resets(client));
    lab.settle();
    assert_eq!(lab.endings(), ["await_address.client.reset"]);
    // The slot is taken again before the answer for its past session comes.
    let dead = Name::new(Service::Dead, &[]);
    lab.act(|world| assert!(world.names.insert("b.example.com".to_owned(), dead).is_none()));
    let next = lab.connect();
    lab.send(next, b"CONNECT b.example.com:443 HTTP/1.1\r\n\r\n");
    lab.pass_ms(300);
    assert_eq!(lab.worker.sessions(), 1);
    assert_eq!(lab.world.borrow().dialled.len(), 0);
    assert_eq!(lab.hear(next), (Vec::new(), Heard::Nothing));
}

#[test]
fn refusals_before_the_tunnel() {
    let busy = Name::new(Service::Busy, &[]);
    let rows: [(Name, DialPlan, &str, Reason); 6] = [
        (busy, DialPlan::Silence, "HTTP/1.1 503 ", Reason::ResolverBusy),
        (Name::failing("no such name"), DialPlan::Silence, "HTTP/1.1 502 ", Reason::ResolveFailed),
        (Name::new(Service::Known, &[]), DialPlan::Silence, "HTTP/1.1 502 ", Reason::ResolveFailed),
        (
            Name::new(Service::Known, &["10.0.0.1", "127.0.0.1"]),
            DialPlan::Silence,
            "HTTP/1.1 403 ",
            Reason::AddressNotAllowed,
        ),
        (
            Name::new(Service::Known, &["93.184.0.1"]),
            DialPlan::Fail(10, ErrorKind::ConnectionRefused),
            "HTTP/1.1 502 ",
            Reason::DialFailed,
        ),
        (
            Name::new(Service::After(5), &["93.184.0.1"]),
            DialPlan::Silence,
            "HTTP/1.1 504 ",
            Reason::DialTimeout,
        ),
    ];
    for (answer, plan, status, reason) in rows {
        let mut lab = lab();
        name(&mut lab, answer);
        dials(&mut lab, &[("93.184.0.1", plan)]);
        let client = lab.connect();
        lab.send(client, &[HEAD, &hello()].concat());
        lab.pass_ms(10_001);
        let reply = reply_of(&mut lab, client);
        assert!(reply.starts_with(status), "{reply}");
        assert!(lab.reasons().contains(&reason), "{:?}", lab.reasons());
        lab.act(|world| world.actor_closes(client));
        lab.settle();
        assert_eq!(lab.endings().len(), 1);
        lab.assert_at_rest();
    }
}

#[test]
fn a_refusal_waits_for_what_the_client_still_says() {
    for head in [&b"CONNECT other.example.org:443 HTTP/1.1\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n"]
    {
        let mut lab = lab();
        let client = lab.connect();
        lab.send(client, head);
        lab.send(client, &hello());
        assert!(!lab.is_closed(client), "{}", lab.trace());
        let (reply, heard) = lab.hear(client);
        assert!(reply.starts_with(b"HTTP/1.1 40") && heard == Heard::End);
        lab.act(|world| world.actor_closes(client));
        lab.settle();
        lab.assert_at_rest();
    }
}

#[cfg(unix)]
#[test]
fn no_source_port_is_told_from_a_refusal() {
    const EADDRNOTAVAIL: i32 = if cfg!(target_os = "linux") { 99 } else { 49 };
    let mut lab = lab();
    dials(&mut lab, &[("93.184.0.1", DialPlan::AtOnce(EADDRNOTAVAIL))]);
    let client = lab.connect();
    lab.send(client, HEAD);
    let reply = reply_of(&mut lab, client);
    assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
    assert!(lab.reasons().contains(&Reason::NoSourcePort));
}

#[test]
fn attempts_are_staggered_and_losers_closed() {
    let mut lab = lab();
    let addresses = ["93.184.0.1", "93.184.0.2", "93.184.0.3", "93.184.0.4"];
    name(&mut lab, Name::new(Service::Known, &addresses));
    dials(
        &mut lab,
        &[
            ("93.184.0.1", DialPlan::Silence),
            ("93.184.0.2", DialPlan::Fail(100_000, ErrorKind::ConnectionRefused)),
            ("93.184.0.3", DialPlan::Connect(400_000)),
            ("93.184.0.4", DialPlan::Connect(10_000)),
        ],
    );
    let client = lab.connect();
    lab.send(client, HEAD);
    assert_eq!(lab.world.borrow().dialled.len(), 1);
    lab.pass_ms(251);
    assert_eq!(lab.world.borrow().dialled.len(), 2, "the second joins the silent first");
    lab.pass_ms(101);
    assert_eq!(lab.world.borrow().dialled.len(), 3, "a failure hurries the next on");
    lab.pass_ms(251);
    assert_eq!(lab.world.borrow().dialled.len(), 4);
    lab.pass_ms(20);
    assert_eq!(lab.hear(client), (ESTABLISHED.to_vec(), Heard::Nothing));
    let winner = lab.dialled(3);
    for loser in 0..3 {
        assert!(lab.is_closed(lab.dialled(loser)), "{}", lab.trace());
    }
    assert!(!lab.is_closed(winner));
    lab.send(client, &hello());
    assert_eq!(lab.hear(winner), (hello(), Heard::Nothing));
}

#[test]
fn a_spurious_event_does_not_connect() {
    let mut lab = lab();
    dials(&mut lab, &[("93.184.0.1", DialPlan::Connect(50_000))]);
    let client = lab.connect();
    lab.send(client, HEAD);
    let remote = lab.dialled(0);
    lab.act(|world| world.tell(remote, Who::Gateway, true, true, true));
    lab.act(|world| world.options.model = PollModel::Narrow);
    lab.settle();
    assert_eq!(lab.hear(client), (Vec::new(), Heard::Nothing));
    lab.pass_ms(51);
    assert_eq!(lab.hear(client), (ESTABLISHED.to_vec(), Heard::Nothing));
}

#[test]
fn each_stage_has_its_deadline() {
    type Enter = fn(&mut Lab) -> usize;
    let rows: [(Enter, u64, &str); 5] = [
        (
            |lab| {
                let c = lab.connect();
                lab.send(c, b"CONN");
                c
            },
            10_000,
            "",
        ),
        (
            |lab| {
                let c = lab.connect();
                lab.send(c, HEAD);
                c
            },
            10_000,
            "await_hello.client.hello_timeout",
        ),
        (
            |lab| {
                let c = lab.connect();
                lab.send(c, &[HEAD, &hello()].concat());
                c
            },
            10_000,
            "await_server_hello.remote.hello_timeout",
        ),
        (|lab| lab.open_tunnel().0, 600_000, "tunnel.gateway.idle"),
        (
            |lab| {
                let (client, _) = lab.open_tunnel();
                lab.act(|world| world.actor_shuts(client));
                lab.settle();
                client
            },
            60_000,
            "tunnel.gateway.half_closed",
        ),
    ];
    for (enter, limit_ms, ending) in rows {
        let mut lab = lab();
        let client = enter(&mut lab);
        lab.pass_ms(limit_ms - 2);
        assert_eq!(lab.worker.sessions(), 1, "{ending} came early");
        assert!(lab.endings().is_empty(), "{:?}", lab.endings());
        lab.pass_ms(5);
        if ending.is_empty() {
            assert_eq!(lab.reasons(), [Reason::HeadTimeout]);
            let reply = reply_of(&mut lab, client);
            assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
            lab.pass_ms(2_001);
        } else {
            assert_eq!(lab.endings(), [ending]);
        }
        lab.assert_at_rest();
    }
}

#[test]
fn a_reset_cancels_a_dial_and_a_half_close_does_not() {
    for resets in [true, false] {
        let mut lab = lab();
        dials(&mut lab, &[("93.184.0.1", DialPlan::Connect(100_000))]);
        let client = lab.connect();
        lab.send(client, &[HEAD, &hello()].concat());
        lab.act(
            |world| if resets { world.actor_resets(client) } else { world.actor_shuts(client) },
        );
        lab.pass_ms(101);
        if resets {
            assert_eq!(lab.endings(), ["await_dial.client.reset"]);
            lab.assert_at_rest();
        } else {
            assert_eq!(lab.hear(client), (ESTABLISHED.to_vec(), Heard::Nothing));
            let remote = lab.dialled(0);
            assert_eq!(lab.hear(remote), (hello(), Heard::End));
        }
    }
}

#[test]
fn a_head_and_a_reset_on_one_edge_dial_nobody() {
    let mut lab = lab();
    dials(&mut lab, &[("93.184.0.1", DialPlan::Connect(100_000))]);
    let client = lab.connect();
    lab.act(|world| {
        world.actor_writes(client, HEAD);
        while world.perform_next(world.now_us) {}
        world.actor_resets(client);
    });
    lab.settle();
    assert_eq!(lab.endings(), ["await_dial.client.reset"], "{}", lab.trace());
    lab.assert_at_rest();
}

#[test]
fn a_stop_behind_a_connection_in_the_mail_leaves_nothing() {
    let options = Options { by_mail: true, ..Options::default() };
    let mut lab = Lab::new(options, Limits::default());
    let early = lab.connect();
    lab.send(early, HEAD);
    lab.later(0, Act::Stop);
    let late = lab.world.borrow_mut().connect("198.51.100.9:999".parse().unwrap());
    lab.act(|world| assert!(world.actor_writes(late, HEAD) > 0));
    lab.settle();
    assert!(!lab.running);
    let begun = lab.reasons().iter().filter(|r| **r == Reason::ConnectReceived).count();
    assert_eq!(lab.endings().len(), begun, "{}", lab.trace());
    lab.assert_at_rest();
}

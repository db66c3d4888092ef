//! Reloads and drains: what they change, and what they leave alone.

use std::sync::Arc;

use sluice::logic::hosts::{HostPattern, Hosts};
use sluice::logic::limits::Limits;
use sluice::logic::policy::{AllowMode, Policy};
use sluice::logic::reason::Reason;
use sluice::serve::orders::{Order, Rules};

use crate::lab::{ESTABLISHED, HEAD, Lab, OWN_ADDRESS, policy};
use crate::link::LinkId;
use crate::names::{Name, Service};
use crate::options::Options;
use crate::peer::Heard;
use crate::world::DialPlan;

const OTHER_HEAD: &[u8] = b"CONNECT b.example.com:443 HTTP/1.1\r\n\r\n";

fn lab() -> Lab {
    let mut lab = Lab::new(Options::default(), Limits::default());
    lab.act(|world| {
        let name = Name::new(Service::Known, &["93.184.0.2"]);
        world.names.insert("b.example.com".to_owned(), name);
        world.dials.push(("93.184.0.2".parse().unwrap(), DialPlan::Connect(0)));
    });
    lab
}

fn rules_for(host: &str, limits: Limits, cuts_open: bool) -> Rules {
    let hosts = Hosts::new([HostPattern::parse(host).unwrap()]);
    Rules {
        policy: Arc::new(Policy { hosts, ..policy(limits) }),
        sources: Vec::new(),
        own: vec![OWN_ADDRESS.into()],
        keepalive: None,
        pipes_max: 64,
        cuts_open,
    }
}

fn reporting(host: &str, cuts_open: bool) -> Rules {
    let rules = rules_for(host, Limits::default(), cuts_open);
    let hosts = Hosts::new([HostPattern::parse(host).unwrap()]);
    let policy = Policy { hosts, mode: AllowMode::Report, ..policy(Limits::default()) };
    Rules { policy: Arc::new(policy), ..rules }
}

fn give(lab: &mut Lab, order: Order) {
    lab.act(|world| world.order(order));
    lab.settle();
}

fn reload(lab: &mut Lab, rules: Rules) {
    give(lab, Order::Rules(Arc::new(rules)));
}

fn goes_on(lab: &mut Lab, (client, remote): (LinkId, LinkId)) {
    lab.send(client, b"still up");
    assert_eq!(lab.hear(remote), (b"still up".to_vec(), Heard::Nothing), "{}", lab.trace());
    lab.send(remote, b"still down");
    assert_eq!(lab.hear(client), (b"still down".to_vec(), Heard::Nothing), "{}", lab.trace());
}

fn refused_for(lab: &mut Lab, client: LinkId, reason: &str) {
    let reply = String::from_utf8(lab.hear(client).0).unwrap();
    assert!(reply.contains(&format!("Sluice-Reason: {reason}\r\n")), "{reply}");
}

#[test]
fn a_connection_is_judged_by_the_rules_it_began_with() {
    let mut lab = lab();
    let early = lab.connect();
    let half = lab.connect();
    lab.send(half, &HEAD[..20]);
    reload(&mut lab, rules_for("b.example.com", Limits::default(), false));
    lab.send(early, HEAD);
    lab.send(half, &HEAD[20..]);
    for client in [early, half] {
        assert_eq!(lab.hear(client), (ESTABLISHED.to_vec(), Heard::Nothing), "{}", lab.trace());
    }
    let late = lab.connect();
    lab.send(late, HEAD);
    refused_for(&mut lab, late, "host_not_allowed");
    let other = lab.connect();
    lab.send(other, OTHER_HEAD);
    assert_eq!(lab.hear(other), (ESTABLISHED.to_vec(), Heard::Nothing));
}

#[test]
fn a_list_that_is_not_enforced_lets_through_until_it_is() {
    let mut lab = lab();
    reload(&mut lab, reporting("b.example.com", true));
    let tunnel = lab.open_tunnel();
    let reported = |lab: &Lab| {
        let told = lab.events.iter().filter(|event| event.is_reported);
        (told.count(), lab.counters.snapshot().reported[0].1)
    };
    assert_eq!(reported(&lab), (1, 1));
    assert_eq!(lab.counters.counted(Reason::HostNotAllowed), 0);
    // Another list, and still only a report: nothing is cut.
    reload(&mut lab, reporting("c.example.com", true));
    goes_on(&mut lab, tunnel);
    reload(&mut lab, rules_for("b.example.com", Limits::default(), true));
    assert_eq!(lab.hear(tunnel.0).1, Heard::Broken, "{}", lab.trace());
    let late = lab.connect();
    lab.send(late, HEAD);
    refused_for(&mut lab, late, "host_not_allowed");
    assert_eq!(reported(&lab), (1, 1));
}

#[test]
fn the_limits_of_a_tunnel_stay_those_it_began_with() {
    let mut lab = lab();
    let tunnel = lab.open_tunnel();
    let short = Limits { idle_ms: 1_000, ..Limits::default() };
    reload(&mut lab, rules_for("*.example.com", short, true));
    lab.pass_ms(5_000);
    goes_on(&mut lab, tunnel);
    lab.open_tunnel();
    lab.pass_ms(1_001);
    assert_eq!(lab.endings(), ["tunnel.gateway.idle"]);
    goes_on(&mut lab, tunnel);
}

#[test]
fn a_reload_that_cuts_takes_what_is_not_admitted_and_nothing_else() {
    for cuts_open in [false, true] {
        let mut lab = lab();
        let (client, remote) = lab.open_tunnel();
        let other = lab.connect();
        lab.send(other, OTHER_HEAD);
        assert_eq!(lab.hear(other), (ESTABLISHED.to_vec(), Heard::Nothing));
        let silent = lab.connect();
        lab.act(|world| world.names.get_mut("a.example.com").unwrap().service = Service::Dead);
        let asking = lab.connect();
        lab.send(asking, HEAD);
        reload(&mut lab, rules_for("b.example.com", Limits::default(), cuts_open));
        if cuts_open {
            assert_eq!(lab.endings(), ["tunnel.gateway.cut", "await_address.gateway.cut"]);
            for link in [client, remote, asking] {
                assert_eq!(lab.hear(link), (Vec::new(), Heard::Broken), "{}", lab.trace());
            }
        } else {
            assert!(lab.endings().is_empty());
            goes_on(&mut lab, (client, remote));
        }
        for link in [other, silent] {
            assert_eq!(lab.hear(link), (Vec::new(), Heard::Nothing));
        }
    }
}

#[test]
fn fewer_pipes_hold_for_the_pooled_ones_too() {
    // Nobody reads, so that each tunnel keeps a pipe; then all of them come back.
    let small = Options { queues_max: [512, 8192, 8192, 512], ..Options::default() };
    let mut lab = Lab::new(small, Limits::default());
    let tunnels: Vec<_> = (0..3).map(|_| lab.open_tunnel()).collect();
    for (client, _) in &tunnels {
        lab.act(|world| assert_eq!(world.actor_writes(*client, &[1; 8_000]), 8_000));
    }
    lab.settle();
    assert_eq!(lab.worker.tools().pools.pipes_out(), 3, "{}", lab.trace());
    for (_, remote) in &tunnels {
        assert_eq!(lab.hear(*remote).0.len(), 8_000);
    }
    assert_eq!(lab.worker.tools().pools.pipes_pooled(), 3);
    let rules = rules_for("*.example.com", Limits::default(), false);
    reload(&mut lab, Rules { pipes_max: 1, ..rules });
    assert_eq!(lab.worker.tools().pools.pipes_pooled(), 1);
    let rules = rules_for("*.example.com", Limits::default(), false);
    reload(&mut lab, Rules { pipes_max: 0, ..rules });
    assert_eq!(lab.worker.tools().pools.pipes_pooled(), 0);
    for tunnel in tunnels {
        goes_on(&mut lab, tunnel);
    }
}

#[test]
fn a_drain_refuses_what_is_new_and_leaves_what_is_open() {
    let mut lab = lab();
    let tunnel = lab.open_tunnel();
    let waiting = lab.connect();
    lab.send(waiting, &HEAD[..20]);
    lab.act(|world| world.dials[0].1 = DialPlan::Connect(50_000));
    let dialling = lab.connect();
    lab.send(dialling, HEAD);
    give(&mut lab, Order::Drain);
    lab.pass_ms(51);
    assert_eq!(lab.hear(dialling), (ESTABLISHED.to_vec(), Heard::Nothing), "{}", lab.trace());
    goes_on(&mut lab, tunnel);
    lab.send(waiting, &HEAD[20..]);
    refused_for(&mut lab, waiting, "draining");
    let late = lab.connect();
    lab.send(late, b"CONNECT c.example.org:443 HTTP/1.1\r\n\r\n");
    refused_for(&mut lab, late, "host_not_allowed");
    let check = lab.connect();
    lab.send(check, b"GET /healthz HTTP/1.1\r\n\r\n");
    assert!(lab.hear(check).0.starts_with(b"HTTP/1.1 503 "));
    goes_on(&mut lab, tunnel);
    assert_eq!(lab.reasons().iter().filter(|reason| **reason == Reason::Draining).count(), 1);
}

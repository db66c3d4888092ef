//! A whole gateway: bind, start the workers, do what it is told, stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use super::acceptor::{Accepting, Acceptor};
use super::admin::{self, NewAdmin};
use super::feeding::{self, Feeding, Recalled};
use super::hands::{self, Hand, keepalive, rules_of};
use super::inside::{AskSupervisor, Shell};
use super::listeners::{Changed, Listeners, Prepared};
use super::orders::{Order, Rules};
use super::panics;
use super::roster::Roster;
use super::start::{self, Fault, Reread, Start, StartError};
use super::supervisor::{self, Request, wall};
use crate::config::changes;
use crate::config::schema::Config;
use crate::feed::follow::News;
use crate::logic::reason::Reason;
use crate::logic::resumption::Resumable;
use crate::net::kernel::Mail;
use crate::net::resolver::Resolver;
use crate::observe::admin::{Admin, Panel};
use crate::observe::counters::Counters;
use crate::observe::events::Event;
use crate::observe::gauges::{Gauges, Generation, Given};
use crate::observe::liveness::Liveness;
use crate::observe::outlets::{self, Events, Outlet};
use crate::sys;

/// How long an outlet that stalls may hold up the end.
const LAST_EVENT_WAIT: Duration = Duration::from_secs(2);

/// Runs a gateway until it is told to stop. Prints `listening on ADDR:PORT` for every bound address.
///
/// # Errors
/// Where it does not start.
pub fn run(start: Start) -> Result<(), StartError> {
    let (requests, inbox) = mpsc::channel();
    let counters = Arc::new(Counters::new());
    let (events, outlet) =
        outlets::start(&start.config.events, Arc::clone(&counters)).map_err(StartError::Outlet)?;
    match Gateway::start(start, &events, &counters, &requests) {
        Ok(gateway) => {
            supervisor::run(gateway, &inbox, outlet);
            Ok(())
        }
        Err(error) => {
            let reason = match error {
                StartError::System(..) => Reason::Internal,
                _ => Reason::ConfigurationInvalid,
            };
            counters.count(reason);
            outlet.stop(Event::new(reason, wall()).detail(error.to_string()), LAST_EVENT_WAIT);
            Err(error)
        }
    }
}

/// A running gateway.
pub(super) struct Gateway {
    pub(super) config: Config,
    pub(super) events: Events,
    pub(super) counters: Arc<Counters>,
    pub(super) gauges: Arc<Gauges>,
    generation: u64,
    /// What brought this generation, and the keys in which it differs from the one before.
    by: String,
    changes: Vec<String>,
    file: Option<String>,
    reread: Reread,
    panel: Panel,
    admin: Option<(Admin, SocketAddr)>,
    listeners: Listeners,
    roster: Roster,
    inherits: bool,
    resumable: Arc<Resumable>,
    workers: Vec<Hand>,
    acceptor: Option<Acceptor>,
    feeding: Feeding,
}

impl Gateway {
    fn start(
        start: Start,
        events: &Events,
        counters: &Arc<Counters>,
        requests: &Sender<Request>,
    ) -> Result<Gateway, StartError> {
        let Start { mut config, accepting, notices, reread, file, is_from_file, overrides } = start;
        panics::keep_quiet();
        // Whoever asks for it may be in another folder.
        let whole = std::path::absolute(&file).unwrap_or_else(|_| file.clone());
        let shown = is_from_file.then(|| whole.display().to_string());
        supervisor::listen_to_operator(requests, file)
            .map_err(|error| StartError::System("signals", error))?;
        notices.into_iter().for_each(|notice| events.send(notice));
        let count = hands::count(&config);
        start::check_addresses(&config, &config.listen)?;
        let inherited = sys::inherited_listeners();
        let inherits = !inherited.is_empty();
        let accepting = if inherits { Accepting::ByOne } else { accepting };
        let mut listeners = Listeners::new(accepting, count);
        let changed = if inherits {
            listeners
                .inherit(inherited)
                .map_err(|error| StartError::System("an inherited socket", error))?
        } else {
            let prepared = listeners
                .prepare(&config.listen, keepalive(&config))
                .map_err(|(address, error)| StartError::Bind(address, error))?;
            start::tell_skipped(&prepared, events);
            listeners.commit(prepared)
        };
        let admin_listener = config.admin_listen.map(admin::bind).transpose()?;
        let recalled = feeding::recall(&mut config, None);
        let sessions_max = hands::told_limits(&config, count, listeners.sockets(), events);
        let resolver = Resolver::of_system();
        let mut roster = Roster::new();
        let relay = roster.rules(&config.relay_proxy, supervisor::clock());
        let resumable = Arc::default();
        let rules = rules_of(&config, &listeners, count, relay, &resumable);
        let workers =
            hands::start_workers(&rules, count, sessions_max, &resolver, events, counters)?;
        let acceptor = match accepting {
            Accepting::ByWorkers => None,
            Accepting::ByOne => {
                let mailboxes = workers.iter().map(|hand| Arc::clone(&hand.mailbox)).collect();
                let acceptor = Acceptor::start(mailboxes, events.clone(), Arc::clone(counters))
                    .map_err(|error| StartError::System("acceptor", error))?;
                Some(acceptor)
            }
        };
        let mailboxes = workers.iter().map(|hand| Arc::clone(&hand.mailbox)).collect();
        let shell = Shell::new(mailboxes, resolver);
        let generation = Generation {
            number: 1,
            loaded: wall(),
            by: "the start".to_owned(),
            changes: Vec::new(),
            needs_restart: Vec::new(),
            file: shown.clone(),
            listeners: listeners.addresses(),
            allow_mode: config.allow_mode,
            limits: config.limits,
        };
        let worker_gauges = workers.iter().map(|hand| Arc::clone(&hand.gauges)).collect();
        let given = Given::new(overrides, inherits);
        let gauges = Gauges::new(shell.clock(), wall(), worker_gauges, given, generation);
        let gauges = Arc::new(gauges);
        gauges.show_relay_proxies(roster.proxies());
        let panel = Panel {
            counters: Arc::clone(counters),
            gauges: Arc::clone(&gauges),
            inside: Arc::new(shell),
            reload: Some(Arc::new(AskSupervisor::new(requests.clone()))),
        };
        let admin = admin_listener.map(|bound| admin::start(bound, &panel)).transpose()?;
        let feeding = Feeding::new(
            requests.clone(),
            events.clone(),
            Arc::clone(counters),
            Arc::clone(&gauges),
        );
        let mut gateway = Gateway {
            config,
            events: events.clone(),
            counters: Arc::clone(counters),
            gauges,
            generation: 1,
            by: "the start".to_owned(),
            changes: Vec::new(),
            file: shown,
            reread,
            panel,
            admin,
            listeners,
            roster,
            inherits,
            resumable,
            workers,
            acceptor,
            feeding,
        };
        gateway.hand_out(changed, Vec::new());
        // Before the print: whoever waits for it may connect at once.
        events.send(Event::new(Reason::Started, wall()).detail(format!("{count} workers")));
        gateway.feeding.take_up(&gateway.config, recalled);
        let admin = gateway.admin.as_ref().map(|(_, address)| *address);
        start::announce(&gateway.listeners.addresses(), admin);
        Ok(gateway)
    }

    /// Takes a new configuration into force, as a whole or not at all. Tells what changed.
    pub(super) fn reload(&mut self, by: &str) -> Result<String, Vec<String>> {
        let outcome = self.prepare_reload();
        match outcome {
            Ok(Ready { config, recalled, prepared, admin }) => {
                let changes = changes::between(&self.config, &config);
                if changes.is_empty() {
                    self.show_generation();
                    let (number, asked) =
                        (self.generation, self.feeding.take_up(&self.config, None));
                    return Ok(format!("generation {number}: nothing has changed{asked}"));
                }
                if self.config.events != config.events
                    && let Err(error) = self.events.redirect(&config.events)
                {
                    return Err(self.refuse_reload(by, vec![Fault::of(&error)]));
                }
                self.config = config;
                self.generation += 1;
                self.by = by.to_owned();
                start::tell_skipped(&prepared, &self.events);
                let changed = self.listeners.commit(prepared);
                self.renew_rules(changed);
                let asked = self.feeding.take_up(&self.config, recalled);
                if let Some(changed) = admin {
                    self.move_admin(changed);
                }
                let (number, differing) = (self.generation, changes.join(", "));
                let told = format!("generation {number}, by {by}: {differing}{asked}");
                self.changes = changes;
                self.show_generation();
                self.tell(Reason::Reloaded, &told);
                start::shout(&self.config, &self.events, wall());
                Ok(told)
            }
            Err(problems) => Err(self.refuse_reload(by, problems)),
        }
    }

    /// Takes news of the feed of this number; other hosts take effect as a reload's do.
    pub(super) fn take_news(&mut self, number: u64, news: News) {
        if let Some(updated) = self.feeding.take(number, news, &mut self.config) {
            self.renew_rules(Changed::default());
            self.feeding.tell_updated(&updated);
        }
    }

    /// Whether every worker turns, or wakes when it is knocked at.
    pub(super) fn is_alive(&self, liveness: &mut Liveness, now: Instant) -> bool {
        let hanging = liveness.judge(self.gauges.workers(), now);
        self.panel.inside.knock();
        hanging.is_empty()
    }

    /// New sessions are refused from now on.
    pub(super) fn drain(&mut self) {
        self.gauges.drain();
        for hand in &self.workers {
            hand.tray.give(vec![Order::Drain], &hand.mailbox);
        }
        let open = self.counters.tunnels();
        self.tell(Reason::DrainStarted, &format!("{open} tunnels are open"));
    }

    /// Ends all sessions and all threads.
    pub(super) fn stop(self, outlet: Outlet) {
        if let Some(acceptor) = self.acceptor {
            acceptor.stop();
        }
        for hand in &self.workers {
            hand.mailbox.send(Mail::Stop);
        }
        for hand in self.workers {
            // A worker that panicked outside of a session has told so by itself.
            let _ = hand.thread.join();
        }
        if let Some((admin, _)) = self.admin {
            admin.stop();
        }
        outlet.stop(Event::new(Reason::Stopped, wall()), LAST_EVENT_WAIT);
    }

    pub(super) fn tell(&self, reason: Reason, detail: &str) {
        self.counters.count(reason);
        self.events.send(Event::new(reason, wall()).detail(detail));
    }

    /// All that can fail of a reload.
    fn prepare_reload(&mut self) -> Result<Ready, Vec<Fault>> {
        let mut config = (self.reread)()?;
        if self.inherits {
            // Inherited sockets are what there is, whatever the file says.
            config.listen.clone_from(&self.config.listen);
        }
        let wanted = if self.inherits { self.listeners.addresses() } else { config.listen.clone() };
        start::check_addresses(&config, &wanted).map_err(|error| vec![Fault::of(&error)])?;
        let prepared = self
            .listeners
            .prepare(&wanted, keepalive(&config))
            .map_err(|(address, error)| vec![Fault::of(&StartError::Bind(address, error))])?;
        let admin = match config.admin_listen {
            same if same == self.config.admin_listen => None,
            None => Some(None),
            Some(wanted) => {
                Some(Some(admin::bind(wanted).map_err(|error| vec![Fault::of(&error)])?))
            }
        };
        let recalled = feeding::recall(&mut config, Some(&self.config));
        Ok(Ready { config, recalled, prepared, admin })
    }

    fn refuse_reload(&self, by: &str, faults: Vec<Fault>) -> Vec<String> {
        for Fault { reason, text } in &faults {
            let told = format!("{text} (read again by {by}; generation {} stays)", self.generation);
            self.tell(*reason, &told);
        }
        let problems: Vec<String> = faults.into_iter().map(|fault| fault.text).collect();
        self.gauges.refuse(wall(), problems.join("; "));
        problems
    }

    /// The new admin listener answers before the old one goes.
    fn move_admin(&mut self, to: NewAdmin) {
        let started = to.map(|bound| admin::start(bound, &self.panel)).transpose();
        match started {
            Ok(admin) => {
                if let Some((_, address)) = &admin {
                    self.events.send(Event::new(Reason::Listening, wall()).address(*address));
                }
                if let Some((old, _)) = std::mem::replace(&mut self.admin, admin) {
                    // Whoever asked for this reload is answered by it first.
                    old.finish();
                }
            }
            Err(error) => self.tell(Reason::Internal, &error.to_string()),
        }
    }

    fn show_generation(&self) {
        self.gauges.take_effect(Generation {
            number: self.generation,
            loaded: wall(),
            by: self.by.clone(),
            changes: self.changes.clone(),
            needs_restart: changes::pending(self.workers.len(), hands::count(&self.config)),
            file: self.file.clone(),
            listeners: self.listeners.addresses(),
            allow_mode: self.config.allow_mode,
            limits: self.config.limits,
        });
    }

    /// Gives out the rules of the configuration in force, with what changed of the listeners.
    fn renew_rules(&mut self, changed: Changed) {
        let relay = self.roster.rules(&self.config.relay_proxy, supervisor::clock());
        self.gauges.show_relay_proxies(self.roster.proxies());
        let (count, resumable) = (self.workers.len(), &self.resumable);
        let rules = rules_of(&self.config, &self.listeners, count, relay, resumable);
        self.hand_out(changed, vec![Arc::new(rules)]);
    }

    /// Gives new listeners and rules to whom they are for. The new is there before the old goes.
    fn hand_out(&mut self, changed: Changed, rules: Vec<Arc<Rules>>) {
        let mut orders: Vec<Vec<Order>> = Vec::new();
        orders.resize_with(self.workers.len(), Vec::new);
        for orders in &mut orders {
            orders.extend(rules.iter().map(|rules| Order::Rules(Arc::clone(rules))));
        }
        for (number, address, sockets) in changed.opened {
            self.events.send(Event::new(Reason::Listening, wall()).address(address));
            match &self.acceptor {
                Some(acceptor) => {
                    sockets.into_iter().for_each(|socket| acceptor.open(number, socket));
                }
                None => {
                    for (orders, socket) in orders.iter_mut().zip(sockets) {
                        orders.push(Order::Listen(socket, number));
                    }
                }
            }
        }
        for (number, address) in changed.closed {
            self.events.send(Event::new(Reason::ListenClosed, wall()).address(address));
            match &self.acceptor {
                Some(acceptor) => acceptor.close(number),
                None => orders.iter_mut().for_each(|orders| orders.push(Order::Unlisten(number))),
            }
        }
        for (hand, orders) in self.workers.iter().zip(orders) {
            hand.tray.give(orders, &hand.mailbox);
        }
    }
}

/// Another configuration, and all for it that could have failed.
struct Ready {
    config: Config,
    recalled: Option<Recalled>,
    prepared: Prepared,
    admin: Option<NewAdmin>,
}

//! The configurations that follow one another in a run, and what each of them makes of a session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sluice::logic::addresses::Addresses;
use sluice::logic::hosts::{HostPattern, Hosts};
use sluice::logic::limits::Limits;
use sluice::logic::policy::{AllowMode, Policy, TlsRules};
use sluice::logic::reason::Reason;
use sluice::proto::tls::Version;
use sluice::serve::orders::Rules;

use crate::chance::Chance;
use crate::lab::{OWN_ADDRESS, policy};
use crate::options::Options;
use crate::speech::{HELLO_BYTES, HeadKind};

/// One configuration. What it admits is kept beside the rules, so that nothing of the policy judges
/// itself.
#[derive(Clone, Debug)]
pub struct Generation {
    pub rules: Arc<Rules>,
    /// By session: whether its target is admitted.
    pub admits: Vec<bool>,
    /// Whether private addresses may be dialled.
    pub dials_private: bool,
    /// Targets that are not admitted are only reported.
    pub reports: bool,
}

/// The keep-alive time of generation 0. Each has one of its own, by which the kernel knows it.
const FIRST_KEEPALIVE: Duration = Duration::from_secs(60);

impl Generation {
    /// The `number`th configuration of a run of so many sessions.
    pub fn draw(
        number: usize,
        sessions: usize,
        harsh: bool,
        options: &Options,
        chance: &mut Chance,
    ) -> Generation {
        let admits: Vec<bool> = if chance.once_in(2) {
            vec![true; sessions]
        } else {
            (0..sessions).map(|_| !chance.once_in(4)).collect()
        };
        let hosts = if admits.contains(&false) {
            let admitted = (0..sessions).filter(|&session| admits[session]);
            Hosts::new(admitted.map(|session| pattern(&format!("t{session}.example.com"))))
        } else {
            Hosts::new([pattern("*.example.com")])
        };
        let dials_private = chance.once_in(3);
        let private = dials_private.then(|| "10.0.0.0/8".parse().unwrap());
        let min_version =
            chance.pick(&[Version::TLS12, Version::TLS12, Version::TLS10, Version::TLS13]);
        let sources = (0..chance.below(3))
            .map(|source| IpAddr::from([198, 18, number as u8, source as u8]))
            .collect();
        // Fewer pipes than the system would give, or copying for a while.
        let pipes_max = match options.pipes_max {
            0 => 0,
            most => chance.pick(&[most, most, 1, 0]),
        };
        let reports = chance.once_in(4);
        let policy = Policy {
            hosts,
            mode: if reports { AllowMode::Report } else { AllowMode::Enforce },
            addresses: Addresses::new(private.into_iter().collect()),
            tls: TlsRules { min_version, match_server_name: true },
            ..policy(draw_limits(harsh, chance))
        };
        let rules = Rules {
            policy: Arc::new(policy),
            sources,
            own: vec![OWN_ADDRESS.into()],
            keepalive: Some(FIRST_KEEPALIVE + Duration::from_secs(number as u64)),
            pipes_max: if number == 0 { options.pipes_max } else { pipes_max },
            cuts_open: chance.once_in(2),
        };
        Generation { rules: Arc::new(rules), admits, dials_private, reports }
    }

    /// Which generation has this keep-alive time.
    pub fn of_keepalive(idle: Option<Duration>) -> Option<usize> {
        let beyond = idle?.checked_sub(FIRST_KEEPALIVE)?;
        usize::try_from(beyond.as_secs()).ok()
    }

    /// What the list of hosts says against the target of a session.
    pub fn objection(&self, session: usize, head: HeadKind) -> Option<Reason> {
        match head {
            HeadKind::OtherHost => Some(Reason::HostNotAllowed),
            _ if !self.admits[session] => Some(Reason::HostNotAllowed),
            // A port is looked at only where some port of the host is admitted.
            HeadKind::OtherPort => Some(Reason::PortNotAllowed),
            _ => None,
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.rules.policy.limits
    }

    pub fn min_version(&self) -> Version {
        self.rules.policy.tls.min_version
    }
}

fn pattern(text: &str) -> HostPattern {
    HostPattern::parse(text).unwrap()
}

fn draw_limits(harsh: bool, chance: &mut Chance) -> Limits {
    let mut limits = Limits {
        head_bytes: chance.pick(&[4_096, 4_096, 8_192]),
        hello_bytes: chance.pick(&[HELLO_BYTES, HELLO_BYTES, 2 * HELLO_BYTES]),
        ..Limits::default()
    };
    if harsh {
        limits.sessions = chance.pick(&[0, 0, 1, 2]);
        limits.sessions_per_client = chance.pick(&[0, 0, 0, 1]);
        limits.session_ms = chance.pick(&[0, 0, 100, 20_000]);
        limits.idle_ms = chance.pick(&[600_000, 1_000]);
        limits.half_closed_ms = chance.pick(&[60_000, 500, 0]);
        limits.head_ms = chance.pick(&[10_000, 10_000, 300]);
        limits.dial_ms = chance.pick(&[10_000, 10_000, 1_000]);
    }
    limits
}

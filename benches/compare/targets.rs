//! What the gateway is to reach, beside what the tables say that it does.

use std::fmt;

use crate::contestants::Contestant::{self, BareLoop, Direct, HaProxy, Sluice, Squid};
use crate::loads::Load;
use crate::table::{Table, figure};

/// One thing to reach.
pub struct Target {
    /// As the table calls it.
    pub what: &'static str,
    of: Of,
    /// What it may be at most.
    most: f64,
}

/// How the value comes about.
enum Of {
    /// The gateway's cost beside another's.
    Ratio(Load, Contestant),
    /// The gateway's PSS beside another's.
    Memory(Load, Contestant),
    /// The gateway's cost.
    Cost(Load),
    /// The gateway's 99th of a hundred less that of the load without it, in ms.
    AddedLatency(Load),
    /// The gateway's cost under the first load beside that under the second.
    Growth(Load, Load),
    /// What each further tunnel costs, in KiB.
    PerTunnel,
}

/// All of them.
pub const TARGETS: [Target; 19] = [
    Target { what: "kept, CPU / bare loop", of: Of::Ratio(Load::Kept, BareLoop), most: 1.10 },
    Target { what: "kept, CPU / HAProxy", of: Of::Ratio(Load::Kept, HaProxy), most: 0.70 },
    Target { what: "kept, CPU / squid", of: Of::Ratio(Load::Kept, Squid), most: 0.45 },
    Target {
        what: "per upload, CPU / bare loop",
        of: Of::Ratio(Load::PerUpload, BareLoop),
        most: 1.20,
    },
    Target {
        what: "per upload, CPU / HAProxy",
        of: Of::Ratio(Load::PerUpload, HaProxy),
        most: 0.75,
    },
    Target { what: "per upload, CPU / squid", of: Of::Ratio(Load::PerUpload, Squid), most: 0.55 },
    Target { what: "flat out, CPU / bare loop", of: Of::Ratio(Load::Bulk, BareLoop), most: 1.10 },
    Target { what: "flat out, CPU / HAProxy", of: Of::Ratio(Load::Bulk, HaProxy), most: 0.70 },
    Target { what: "flat out, CPU / squid", of: Of::Ratio(Load::Bulk, Squid), most: 0.40 },
    Target { what: "session, CPU / bare loop", of: Of::Ratio(Load::Churn, BareLoop), most: 1.25 },
    Target { what: "session, CPU / HAProxy", of: Of::Ratio(Load::Churn, HaProxy), most: 1.20 },
    Target { what: "session, CPU / squid", of: Of::Ratio(Load::Churn, Squid), most: 0.50 },
    Target { what: "PSS with 1,000 idle tunnels, MiB", of: Of::Cost(Load::Idle), most: 4.0 },
    Target { what: "the same / HAProxy", of: Of::Memory(Load::Idle, HaProxy), most: 0.30 },
    Target { what: "the same / squid", of: Of::Memory(Load::Idle, Squid), most: 0.04 },
    Target { what: "user memory of an idle tunnel, KiB", of: Of::PerTunnel, most: 1.0 },
    Target { what: "kept, p99 over direct, ms", of: Of::AddedLatency(Load::Kept), most: 1.0 },
    Target {
        what: "per upload, p99 over direct, ms",
        of: Of::AddedLatency(Load::PerUpload),
        most: 1.0,
    },
    Target {
        what: "CPU per upload, 9,000 agents / 100",
        of: Of::Growth(Load::ManyAgents, Load::FewAgents),
        most: 1.20,
    },
];

/// Tunnels by which `idle-9000` has more than `idle`.
const FURTHER_TUNNELS: f64 = 8000.0;

/// The targets that these tables have values for.
pub struct Verdicts<'a>(pub &'a [Table]);

impl Verdicts<'_> {
    fn table(&self, load: Load) -> Option<&Table> {
        self.0.iter().find(|table| table.load == load)
    }

    fn value(&self, of: &Of) -> Option<f64> {
        let cost = |load| self.table(load)?.median(Sluice, |run| run.cost);
        match *of {
            Of::Ratio(load, other) => self.table(load)?.ratio(Sluice, other),
            Of::Memory(load, other) => self
                .table(load)?
                .compared(Sluice, other, |own, other| Some(own.pss_mib? / other.pss_mib?)),
            Of::Cost(load) => cost(load),
            Of::AddedLatency(load) => self
                .table(load)?
                .compared(Sluice, Direct, |own, direct| Some(own.p99_ms? - direct.p99_ms?)),
            Of::Growth(many, few) => Some(cost(many)? / cost(few)?),
            Of::PerTunnel => {
                Some((cost(Load::ManyIdle)? - cost(Load::Idle)?) * 1024.0 / FURTHER_TUNNELS)
            }
        }
    }
}

impl fmt::Display for Verdicts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### Targets\n\n| | measured | at most | |\n|---|---|---|---|")?;
        for target in &TARGETS {
            let Some(value) = self.value(&target.of) else { continue };
            let verdict = if value <= target.most { "reached" } else { "missed" };
            let (value, most) = (figure(Some(value)), figure(Some(target.most)));
            writeln!(f, "| {} | {value} | {most} | {verdict} |", target.what)?;
        }
        Ok(())
    }
}

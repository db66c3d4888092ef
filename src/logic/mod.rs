//! Decides, never does. `now` is an argument; there is no socket, no stream, no event in here.

pub mod addresses;
pub mod bursts;
pub mod certificates;
pub mod ending;
pub mod expected;
pub mod feed;
pub mod flight;
pub mod flow;
pub mod hosts;
pub mod input;
pub mod introduction;
pub mod limits;
pub mod policy;
pub mod reason;
pub mod relay_call;
pub mod relay_proxies;
mod relayed;
pub mod resumption;
pub mod secret;
pub mod session;
pub mod stagger;
pub mod strand;
pub mod timers;
pub mod watch;

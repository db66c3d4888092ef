//! Sessions written by hand, one fault each.

mod endings;
mod opening;
mod orders;
mod pipes;
mod relay_chance;
mod relay_proxy;
mod timings;
mod worker;

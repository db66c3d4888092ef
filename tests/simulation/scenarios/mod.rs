//! Sessions written by hand, one fault each.

mod endings;
mod opening;
mod orders;
mod pipes;
mod timings;
mod worker;

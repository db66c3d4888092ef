//! Sessions written by hand, one fault each.

mod endings;
mod opening;
mod pipes;
mod timings;
mod worker;

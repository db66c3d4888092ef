//! `sluice allowed-host suggest`: from what clients asked for and were not allowed to the commands that would
//! allow it. What is read here was chosen by clients: it is bounded, validated, and suggested to a person; it
//! never changes the configuration by itself.

mod asked;
pub(crate) mod command;
mod event_lines;
mod grouping;
mod proposal;
mod widening;

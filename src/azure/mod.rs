//! Azure's names: from workspaces, clouds, regions and profiles to host patterns.
//!
//! What there is stands in a data file, `endpoints.toml`; this room reads it ([`catalog`]), knows the words in
//! which an operator asks ([`wanted`]), puts both together ([`expansion`]), and finds the way back from a name
//! ([`recognition`]). It decides nothing: the patterns join those that the operator wrote.

pub mod catalog;
pub mod expansion;
pub mod recognition;
pub mod wanted;

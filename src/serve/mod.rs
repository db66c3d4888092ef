//! The shell: wires logic to mechanisms, and knows no protocol.

pub mod acceptor;
mod admin;
mod asking;
mod change;
mod dialling;
mod farewell;
mod feeding;
pub mod gateway;
mod hands;
mod inside;
mod leaving;
pub mod listeners;
pub mod orders;
mod overdue;
mod panics;
mod parting;
mod reaching;
mod relay;
mod roster;
mod shortage;
pub mod start;
pub mod supervisor;
mod taking;
pub mod tools;
pub mod tunnel;
pub mod worker;

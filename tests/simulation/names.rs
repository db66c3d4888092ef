//! A resolver that is quick, slow, dead, full or wrong, name by name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sluice::net::kernel::LookupError;
use sluice::net::slots::Token;

pub type Answer = Result<Arc<[IpAddr]>, LookupError>;

/// How a question for a name goes.
#[derive(Clone, Debug)]
pub enum Service {
    /// Answered at once.
    Known,
    /// Answered by mail after so many microseconds.
    After(u64),
    /// Never answered.
    Dead,
    /// Refused: the queue is full.
    Busy,
}

#[derive(Clone, Debug)]
pub struct Name {
    pub service: Service,
    pub answer: Answer,
    /// What the resolver remembers from before.
    pub stale: Option<Arc<[IpAddr]>>,
    /// Whether an answer reaches also those who have said that they do not wait any more.
    pub answers_the_gone: bool,
    pub waiting: Vec<Token>,
    pub gone: Vec<Token>,
}

impl Name {
    pub fn new(service: Service, addresses: &[&str]) -> Name {
        Name {
            service,
            answer: Ok(ips(addresses)),
            stale: None,
            answers_the_gone: false,
            waiting: Vec::new(),
            gone: Vec::new(),
        }
    }

    pub fn failing(text: &str) -> Name {
        let error = LookupError { text: text.into(), temporary: false };
        Name { answer: Err(error), ..Name::new(Service::Known, &[]) }
    }
}

pub type Names = BTreeMap<String, Name>;

pub fn ips(addresses: &[&str]) -> Arc<[IpAddr]> {
    addresses.iter().map(|text| text.parse().unwrap()).collect()
}

//! Progress for a person at a terminal; nothing for files, pipes and programs.

use std::io::IsTerminal;
use std::sync::atomic::Ordering;

use indicatif::{ProgressBar, ProgressStyle};

use crate::quantity::show_memory;
use crate::tally::Live;

/// A bar on standard error, or nothing.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar, if `wanted` and standard error is a terminal.
    pub fn new(wanted: bool) -> Progress {
        let bar = if wanted && std::io::stderr().is_terminal() {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        let template = "{prefix:>16} [{bar:30}] {pos}/{len} {elapsed} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress { bar }
    }

    /// Begins a phase of `length` steps.
    pub fn phase(&self, name: &'static str, length: u64) {
        self.bar.reset();
        self.bar.set_prefix(name);
        self.bar.set_length(length);
    }

    /// Shows the tunnels opened so far.
    pub fn tunnels(&self, live: &Live) {
        let failed = live.not_opened.load(Ordering::Relaxed);
        self.show(live.opened.load(Ordering::Relaxed) + failed, failed, None);
    }

    /// Shows the uploads so far, and the gateway's memory.
    pub fn uploads(&self, live: &Live, pss_bytes: Option<u64>) {
        let failed = live.failed.load(Ordering::Relaxed);
        self.show(live.arrived.load(Ordering::Relaxed) + failed, failed, pss_bytes);
    }

    /// Shows the seconds gone by.
    pub fn seconds(&self, gone: u64) {
        self.show(gone, 0, None);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self, position: u64, failed: u64, pss_bytes: Option<u64>) {
        let mut message = String::new();
        if let Some(bytes) = pss_bytes {
            message.push_str(&format!("gateway {}", show_memory(bytes)));
        }
        if failed > 0 {
            message.push_str(&format!(" {failed} failed"));
        }
        self.bar.set_position(position);
        self.bar.set_message(message);
    }
}

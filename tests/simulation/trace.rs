//! What happened, line by line, for a run that is looked at.

/// Lines with their time; nothing is kept, and no line made, where nobody looks.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    pub fn kept() -> Trace {
        Trace { lines: Some(Vec::new()) }
    }

    pub fn note(&mut self, now_us: u64, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>10}.{:03} {}", now_us / 1000, now_us % 1000, line()));
        }
    }

    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}

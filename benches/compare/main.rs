//! The gateway beside a bare splice loop and the proxies of the field, on the same loads in one run.
//!
//!     cargo build --release && cargo bench --bench compare -- --rounds 5
//!
//! Rounds go through all contestants in turn (A B C, A B C, ...), so that what a shared machine does meanwhile
//! falls on all alike; tables give medians and their ratios to the bare loop. `.ci/compare` installs the
//! peers and runs it.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures time, and waits for programs")]

#[cfg(target_os = "linux")]
mod bare_loop;
#[cfg(target_os = "linux")]
mod contestants;
#[cfg(target_os = "linux")]
mod loads;
#[cfg(target_os = "linux")]
mod table;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    match command::run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("compare: the bare loop is epoll and splice(2), which only Linux has");
}

#[cfg(target_os = "linux")]
mod command {
    use std::io;
    use std::path::PathBuf;

    use clap::Parser;

    use crate::contestants::Contestant;
    use crate::loads::{Load, measure};
    use crate::{bare_loop, table};

    #[derive(Parser, Debug)]
    struct Options {
        /// How often each contestant carries each load
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// How long a load goes on, in seconds
        #[arg(long = "for", default_value_t = 12)]
        seconds: u32,
        /// Loads, by name; all where none is named
        #[arg(long, value_delimiter = ',')]
        loads: Vec<String>,
        /// Contestants, by name; all that are installed where none is named
        #[arg(long, value_delimiter = ',')]
        contestants: Vec<String>,
        /// Where sluice and loadgen are
        #[arg(long, default_value = "target/release")]
        programs: PathBuf,
        /// Passed by `cargo bench`
        #[arg(long, hide = true)]
        bench: bool,
    }

    pub fn run() -> io::Result<()> {
        let words: Vec<String> = std::env::args().collect();
        if let [_, mode, address_file] = &words[..]
            && mode == "bare-loop"
        {
            return bare_loop::run(address_file.as_ref());
        }
        let options = Options::parse();
        let programs = std::path::absolute(&options.programs)?;
        for program in ["sluice", "loadgen"] {
            if !programs.join(program).is_file() {
                let place = programs.join(program);
                let why = format!("{} is not there: cargo build --release", place.display());
                return Err(io::Error::other(why));
            }
        }
        let loads = chosen(&options.loads, &Load::ALL, |load| load.name())?;
        let contestants =
            chosen(&options.contestants, &Contestant::ALL, |contestant| contestant.name())?;
        for load in loads {
            let mut table = table::Table::new(load, options.rounds, options.seconds);
            for round in 1..=options.rounds {
                for &contestant in &contestants {
                    if !contestant.is_installed() {
                        table.skip(contestant, "not installed".to_owned());
                        continue;
                    }
                    eprintln!("{}, round {round}: {}", load.name(), contestant.name());
                    match measure(load, contestant, options.seconds, &programs) {
                        Ok(measured) => table.add(contestant, measured),
                        Err(error) => table.skip(contestant, error.to_string()),
                    }
                }
            }
            println!("{table}");
        }
        Ok(())
    }

    fn chosen<T: Copy>(
        names: &[String],
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> io::Result<Vec<T>> {
        if names.is_empty() {
            return Ok(all.to_vec());
        }
        let find = |wanted: &String| {
            all.iter().copied().find(|&one| name(one) == wanted).ok_or_else(|| {
                let known: Vec<_> = all.iter().map(|&one| name(one)).collect();
                io::Error::other(format!("{wanted} is none of {}", known.join(", ")))
            })
        };
        names.iter().map(find).collect()
    }
}

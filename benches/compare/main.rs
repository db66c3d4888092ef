//! The gateway beside a bare splice loop and the proxies of the field, on the same loads in one run.
//!
//!     cargo build --release && cargo bench --bench compare -- --rounds 5
//!
//! Rounds go through all contestants in turn (A B C, A B C, ...), so that what a shared machine does meanwhile
//! falls on all alike; tables give medians, and the medians of what each round has for a ratio. The last table
//! sets them beside the targets. `.ci/compare` installs the peers and runs it; `--network veth` puts agents,
//! gateway and endpoint into network namespaces with links of 1 Gbit/s.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures time, and waits for programs")]

#[cfg(target_os = "linux")]
mod bare_loop;
#[cfg(target_os = "linux")]
mod contestants;
#[cfg(target_os = "linux")]
mod loads;
#[cfg(target_os = "linux")]
mod network;
#[cfg(target_os = "linux")]
mod table;
#[cfg(target_os = "linux")]
mod targets;

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
    use std::fs::{self, File};
    use std::io::{self, Write};
    use std::path::PathBuf;

    use clap::{Parser, ValueEnum};

    use crate::contestants::Contestant;
    use crate::loads::{Load, measure};
    use crate::network::Network;
    use crate::table::Table;
    use crate::{bare_loop, targets};

    #[derive(Parser, Debug)]
    struct Options {
        /// How often each contestant carries each load
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
        rounds: u16,
        /// How long a load goes on, in seconds
        #[arg(long = "for", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// Loads, by name; all where none is named
        #[arg(long, value_delimiter = ',')]
        loads: Vec<String>,
        /// Contestants, by name; those that a load is for where none is named
        #[arg(long, value_delimiter = ',')]
        contestants: Vec<String>,
        /// What they run on
        #[arg(long, default_value = "loopback")]
        network: NetworkChoice,
        /// Where sluice and loadgen are
        #[arg(long, default_value = "target/release")]
        programs: PathBuf,
        /// Where the tables are written, too
        #[arg(long, default_value = "target/compare.md")]
        into: PathBuf,
        /// Passed by `cargo bench`
        #[arg(long, hide = true)]
        bench: bool,
    }

    #[derive(Clone, Copy, Debug, ValueEnum)]
    enum NetworkChoice {
        /// This machine's loopback
        Loopback,
        /// Three network namespaces, joined at 1 Gbit/s
        Veth,
    }

    pub fn run() -> io::Result<()> {
        let words: Vec<String> = std::env::args().collect();
        if let [_, mode, address] = &words[..]
            && mode == "bare-loop"
        {
            return bare_loop::run(address);
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
        // Where nothing can be measured, tables of a run before must not pass for this one's.
        let mut told = Told::new(&options.into)?;
        let network = match options.network {
            NetworkChoice::Loopback => Network::Loopback,
            NetworkChoice::Veth => match Network::links() {
                Ok(network) => network,
                Err(why) => {
                    return told.tell(&format!(
                        "Nothing was measured, because there are no such namespaces here: {why}"
                    ));
                }
            },
        };
        told.tell(&format!(
            "Over {}, {} s a run, as user {}.\n",
            network.name(),
            options.seconds,
            rustix::process::getuid()
        ))?;
        let mut tables = Vec::new();
        for load in loads {
            let rounds = load.rounds(options.rounds.into());
            let mut table = Table::new(load);
            for round in 0..rounds {
                for &contestant in &contestants {
                    let is_named = !options.contestants.is_empty();
                    if !(is_named || load.is_for(contestant)) || round >= contestant.rounds(rounds)
                    {
                        continue;
                    }
                    if let Err(why) = contestant.can_run(&network) {
                        table.skip(contestant, why.to_owned());
                        continue;
                    }
                    eprintln!("{}, round {}: {}", load.name(), round + 1, contestant.name());
                    match measure(load, contestant, options.seconds, &programs, &network) {
                        Ok(measured) => table.add(contestant, round, measured),
                        Err(error) => table.skip(contestant, error.to_string()),
                    }
                }
            }
            told.tell(&table)?;
            tables.push(table);
        }
        told.tell(&targets::Verdicts(&tables))
    }

    /// What is printed is written to a file, too, as far as it has come.
    struct Told(File);

    impl Told {
        fn new(into: &PathBuf) -> io::Result<Told> {
            if let Some(folder) = into.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = File::create(into);
            let file =
                file.map_err(|why| io::Error::other(format!("{}: {why}", into.display())))?;
            Ok(Told(file))
        }

        fn tell(&mut self, what: &dyn std::fmt::Display) -> io::Result<()> {
            println!("{what}");
            writeln!(self.0, "{what}")
        }
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

//! The command line: one file for each group of commands, and exit codes that scripts may rely on:
//! 0 done, 1 failed at run time, 2 usage or configuration.

mod ask;
mod check;
pub mod command;
mod edit;
mod explain;
mod hint;
mod inspect;
mod kept_feed;
mod manual;
mod overridden;
pub mod run;
mod suggest;

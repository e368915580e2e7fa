//! `capif`: 3GPP CAPIF for people who run it, expose APIs through it, or call APIs through it.
//!
//! One file per subcommand. Each has an `Args`, which is what the command line says, and a `run`, which does it with the crates
//! below. Data goes to standard output and everything else to standard error; what went wrong is one line that says what
//! to do next, and an exit code.

mod cli;

mod init;

mod serve;

mod config;

mod provider;

mod gateway;

mod api;

mod invite;

mod approve;

mod reject;

mod call;

mod sidecar;

mod invoker;

mod list;

mod policy;

mod revoke;

mod permit;

mod hide;

mod renew;

mod offboard;

mod ca;

mod keys;

mod seal;

mod account;

mod audit;

mod operators;

mod demo;

mod choice;

mod enrol;

mod exit;

mod folder;

mod input;

mod logging;

mod operator;

mod output;

mod shutdown;

use std::process::ExitCode;

/// With 100 000 invokers in memory, a gateway spends an eighth of its time searching the system allocator's free lists.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main().into()
}

//! `capif invoker`

mod onboard;

mod discover;

mod negotiate;

mod token;

mod renew;

mod offboard;

mod status;

use clap::Subcommand;

use crate::{
    exit::{Exit, Failure},
    logging,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Enrol with a code, or with its three parts
    Onboard(onboard::Args),
    /// List the APIs that this invoker may see
    Discover(discover::Args),
    /// Agree with the core function on a security method for each AEF
    Negotiate(negotiate::Args),
    /// Print an access token for an API, as security method 3 needs it
    Token(token::Args),
    /// Replace certificate and secret by new ones, and stay enrolled
    Renew(renew::Args),
    /// Cancel the enrolment, and erase everything that belongs to it
    Offboard(offboard::Args),
    /// Show the enrolment with its ends, and whether the core function still accepts it
    Status(status::Args),
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    logging::start(&logging::from_environment("warn")?);
    match args.command {
        Command::Onboard(args) => onboard::run(args).await,
        Command::Discover(args) => discover::run(args).await,
        Command::Negotiate(args) => negotiate::run(args).await,
        Command::Token(args) => token::run(args).await,
        Command::Renew(args) => renew::run(args).await,
        Command::Offboard(args) => offboard::run(args).await,
        Command::Status(args) => status::run(args).await,
    }
}

//! The command line as a whole.

use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::{
    account, api, approve, audit, ca, call, config, demo,
    exit::{self, Exit, Failure},
    gateway, hide, init, invite, invoker, keys, list, offboard, operators, output, permit, policy,
    provider, reject, renew, revoke, serve, sidecar,
};

/// Common API framework of 3GPP: core function, gateway, invoker and provider in one program
#[derive(Debug, Parser)]
#[command(
    name = "capif",
    version,
    after_help = exit::HELP,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a core function's folder: certificate authority, keys, configuration
    Init(init::Args),
    /// Run the core function of a folder
    Serve(serve::Args),
    /// Look at the configuration of a core function
    Config(config::Args),
    /// Admit, list and remove API providers
    Provider(provider::Args),
    /// Expose an HTTP API: register as a provider, publish the API, serve it on CAPIF-2e
    Gateway(gateway::Args),
    /// Look after what a gateway has published
    Api(api::Args),
    /// Invite an API invoker: print one enrolment code
    Invite(invite::Args),
    /// Let an enrolment pass that waits for the operator
    Approve(approve::Args),
    /// Turn an enrolment down that waits for the operator
    Reject(reject::Args),
    /// Call an API: onboard once, negotiate, send the request
    Call(call::Args),
    /// Serve applications that know nothing of CAPIF: a local proxy that calls in an API invoker's name
    Sidecar(sidecar::Args),
    /// Act as an API invoker, one procedure at a time
    Invoker(invoker::Args),
    /// List what a core function holds
    List(list::Args),
    /// Bound the use of an API: how many calls, how often, when
    Policy(policy::Args),
    /// Hide the topology behind an API: show one AEF in the place of those that expose it
    Hide(hide::Args),
    /// Take an API invoker's authorization away, until it is permitted again
    Revoke(revoke::Args),
    /// Let an API invoker back in whose authorization was revoked
    Permit(permit::Args),
    /// Ask API invokers and provider functions to renew their certificates and secrets
    Renew(renew::Args),
    /// Look after the certificate authority: see it, let another one follow
    Ca(ca::Args),
    /// Look after the keys that sign access tokens
    Keys(keys::Args),
    /// Look after the accounts by which deployed clients fetch their credentials
    Account(account::Args),
    /// Let people operate the core function from another machine
    Operator(operators::Args),
    /// Verify and list the audit trail: who did what
    Audit(audit::Args),
    /// Remove an API invoker from the core function, as its operator
    Offboard(offboard::Args),
    /// Play everything on this machine, and show that it holds
    Demo(demo::Args),
}

/// How long the end waits for threads that still do something: at the end of the process its source of random numbers goes, and
/// whoever asks it then takes the process down. What reads standard input or waits for a peer is not waited for any longer.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// Runs the program to its end.
pub(crate) fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are what was asked for; anything else is a mistake in the command.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            let _unwritable = error.print();
            return exit;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(cli.command));
            runtime.shutdown_timeout(LEAVE_MAX);
            outcome
        }
        Err(error) => Err(Failure::of(Exit::Usage, &error)),
    };
    outcome.unwrap_or_else(|failure| {
        if let Some(line) = failure.line() {
            output::note(&line);
        }
        failure.exit
    })
}

async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(args) => init::run(&args),
        Command::Serve(args) => serve::run(args).await,
        Command::Config(args) => config::run(&args),
        Command::Provider(args) => provider::run(args).await,
        Command::Gateway(args) => gateway::run(args).await,
        Command::Api(args) => api::run(args).await,
        Command::Invite(args) => invite::run(args).await,
        Command::Approve(args) => approve::run(args).await,
        Command::Reject(args) => reject::run(args).await,
        Command::Call(args) => call::run(args).await,
        Command::Sidecar(args) => sidecar::run(args).await,
        Command::Invoker(args) => invoker::run(args).await,
        Command::List(args) => list::run(args).await,
        Command::Policy(args) => policy::run(args).await,
        Command::Hide(args) => hide::run(args).await,
        Command::Revoke(args) => revoke::run(args).await,
        Command::Permit(args) => permit::run(args).await,
        Command::Renew(args) => renew::run(args).await,
        Command::Ca(args) => ca::run(args).await,
        Command::Keys(args) => keys::run(args).await,
        Command::Account(args) => account::run(args).await,
        Command::Operator(args) => operators::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Offboard(args) => offboard::run(args).await,
        Command::Demo(args) => demo::run(args).await,
    }
}

#[cfg(test)]
mod tests;

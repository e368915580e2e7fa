//! `capif account`

use capif_ccf::admin::{AccountName, Enrolled, EnrolledAs, NewPassword, Purge};
use clap::Subcommand;

use crate::{
    exit::{Exit, Failure},
    list::{self, What},
    operator::CcfFolder,
    output::{self, Format},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the accounts of the account service
    List(List),
    /// Give an account another password, and print it this once
    Password(Named),
    /// Show the invokers and providers that the holder of an account enrolled, or all of them, also of accounts that are gone
    Show(Show),
    /// Offboard and remove all that the holder of an account enrolled; the account stays
    Purge(PurgeArgs),
    /// Remove an account; what its holder enrolled stays
    Remove(Named),
}

#[derive(Debug, clap::Args)]
struct List {
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// The name of the account [default: all accounts]
    name: Option<String>,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
struct PurgeArgs {
    /// The name of the account
    name: String,
    /// The id of the account, where several had the name one after another: `capif account show NAME` tells
    #[arg(long, value_name = "UUID")]
    id: Option<String>,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The name of the account
    name: String,
    #[command(flatten)]
    folder: CcfFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::List(args) => {
            let operator = args.folder.operator()?;
            list::show(&operator, What::Accounts, args.output).await
        }
        Command::Password(args) => {
            let made: NewPassword = args
                .folder
                .operator()?
                .post("/accounts/password", &named(&args))
                .await?;
            output::data(format!("{}\n", made.password.expose()).as_bytes())?;
            output::note(&format!(
                "the new password of {}: it is shown this once",
                args.name
            ));
            Ok(Exit::Done)
        }
        Command::Show(args) => {
            let query = args.name.as_ref().map(|name| [("name", name)]);
            let query = serde_urlencoded::to_string(query.as_ref().map_or(&[][..], |one| one))
                .map_err(|error| Failure::of(Exit::Usage, &error))?;
            let path = match query.as_str() {
                "" => "/accounts/enrolled".to_owned(),
                query => format!("/accounts/enrolled?{query}"),
            };
            let rows: Vec<Enrolled> = args.folder.operator()?.get(&path).await?;
            show(&rows, args.output)?;
            Ok(Exit::Done)
        }
        Command::Purge(args) => {
            let purge = Purge {
                name: args.name.clone(),
                id: args.id,
            };
            let operator = args.folder.operator()?;
            let gone: Vec<Enrolled> = operator.post("/accounts/purge", &purge).await?;
            for row in &gone {
                output::line(&format!("{} {}", word(row.what), row.id))?;
            }
            output::note(&format!(
                "removed {} of the account {}; an account that is there stays: remove it, or give it another password, if nobody is to enrol with it",
                gone.len(),
                args.name
            ));
            Ok(Exit::Done)
        }
        Command::Remove(args) => {
            let _gone: AccountName = args
                .folder
                .operator()?
                .post("/accounts/remove", &named(&args))
                .await?;
            output::note(&format!(
                "the account {} is gone; what its holder enrolled is not: capif account purge {} removes it",
                args.name, args.name
            ));
            Ok(Exit::Done)
        }
    }
}

fn show(rows: &[Enrolled], format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::json(&rows),
        Format::Table => {
            let cells = |row: &Enrolled| {
                vec![
                    row.account.clone(),
                    row.account_id.clone(),
                    word(row.what).to_owned(),
                    row.id.clone(),
                    output::time(&row.since),
                    row.information.clone().unwrap_or_default(),
                ]
            };
            let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
            output::table(
                &["ACCOUNT", "UUID", "WHAT", "ID", "SINCE", "INFORMATION"],
                &rows,
            )
        }
    }
}

fn word(what: EnrolledAs) -> &'static str {
    match what {
        EnrolledAs::Invoker => "invoker",
        EnrolledAs::Provider => "provider",
        EnrolledAs::Pending => "pending",
    }
}

fn named(args: &Named) -> AccountName {
    AccountName {
        name: args.name.clone(),
    }
}

//! `capif policy logs`

use capif_ccf::admin::{NewRetention, OldRetention};
use clap::Subcommand;
use serde_json::Value;

use crate::{
    choice::ApiOption,
    exit::{Exit, Failure},
    list,
    operator::CcfFolder,
    output::{self, Format},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Logs {
    /// Set how long the invocation logs of an API are kept
    Set(Set),
    /// List the APIs whose logs are kept for a time of their own
    List(List),
    /// Let the logs of an API be kept as those of all others
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    #[command(flatten)]
    api: ApiOption,
    /// For how many hours from the report on; what is older already goes within five minutes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    hours: u32,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    api: ApiOption,
    #[command(flatten)]
    folder: CcfFolder,
}

pub(crate) async fn run(command: Logs) -> Result<Exit, Failure> {
    match command {
        Logs::Set(args) => {
            let wanted = NewRetention {
                api: args.api.choice()?,
                hours: args.hours,
            };
            let operator = args.folder.operator()?;
            let _set: Value = operator.post("/retentions", &wanted).await?;
            output::note(&format!(
                "invocation logs of {} are kept for {} hours",
                args.api, args.hours
            ));
            Ok(Exit::Done)
        }
        Logs::List(args) => {
            let operator = args.folder.operator()?;
            list::show(&operator, list::What::Retentions, args.output).await
        }
        Logs::Remove(args) => {
            let old = OldRetention {
                api: args.api.choice()?,
            };
            let operator = args.folder.operator()?;
            let _removed: Value = operator.post("/retentions/remove", &old).await?;
            output::note(&format!(
                "invocation logs of {} are kept as long as those of all others",
                args.api
            ));
            Ok(Exit::Done)
        }
    }
}

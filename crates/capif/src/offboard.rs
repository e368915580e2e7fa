//! `capif offboard`

use crate::{
    exit::{Exit, Failure},
    operator::CcfFolder,
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id of the API invoker, as `capif list invokers` shows it
    id: String,
    #[command(flatten)]
    folder: CcfFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    args.folder.operator()?.delete("invokers", &args.id).await?;
    output::note(&format!(
        "{} is offboarded: its certificate, secret and tokens are refused from now on",
        args.id
    ));
    Ok(Exit::Done)
}

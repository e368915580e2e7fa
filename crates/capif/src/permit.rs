//! `capif permit`

use capif_ccf::admin::{Permitted, Verdict};
use capif_spec::common::ApiInvokerId;

use crate::{
    choice::{OptionalApi, invoker_id},
    exit::{Exit, Failure},
    operator::{CcfFolder, Operator},
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id of the API invoker, as `capif list invokers` shows it
    #[arg(value_parser = invoker_id)]
    invoker: ApiInvokerId,
    #[command(flatten)]
    api: OptionalApi,
    #[command(flatten)]
    folder: CcfFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let verdict = Verdict {
        invoker: args.invoker.clone(),
        api: args.api.choice(),
    };
    let permitted: Permitted = Operator::of(&args.folder.dir)
        .post("/permissions", &verdict)
        .await?;
    output::note(&if permitted.lifted {
        format!(
            "{} may negotiate for {} again, which it has to do before it calls",
            args.invoker, args.api
        )
    } else {
        format!("{} was not shut out of {}", args.invoker, args.api)
    });
    Ok(Exit::Done)
}

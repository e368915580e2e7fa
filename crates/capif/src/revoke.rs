//! `capif revoke`

use capif_ccf::admin::{Revoked, Verdict};
use capif_spec::common::ApiInvokerId;

use crate::{
    choice::{OptionalApi, invoker_id},
    exit::{Exit, Failure},
    operator::{CcfFolder, Operator, dir_option},
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
    let revoked: Revoked = Operator::of(&args.folder.dir)
        .post("/revocations", &verdict)
        .await?;
    output::note(&format!(
        "{} may not call {} any more: its tokens are refused, and it negotiates in vain; to let it back in: capif permit {}{}{}",
        args.invoker,
        args.api,
        args.invoker,
        args.api.option(),
        dir_option(&args.folder.dir)
    ));
    for aef in revoked.told {
        output::note(&format!(
            "{aef} is being told; `capif list alarms` shows it if it does not acknowledge"
        ));
    }
    Ok(Exit::Done)
}

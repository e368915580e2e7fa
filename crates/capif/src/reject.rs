//! `capif reject`

use capif_ccf::admin::{Decision, Rejection};

use crate::{
    choice::id,
    exit::{Exit, Failure},
    operator::CcfFolder,
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What waits, by its id in `capif list pending`
    #[arg(value_parser = id)]
    id: String,
    /// Why, in a line that the invoker is told
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    folder: CcfFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let wanted = Rejection {
        id: args.id,
        reason: args.reason,
    };
    let decision: Decision = args.folder.operator()?.post("/rejections", &wanted).await?;
    let how = if decision.told {
        "and told so at its notification destination"
    } else {
        "and learns it when it asks again"
    };
    output::note(&format!("{} is rejected, {how}", decision.id));
    Ok(Exit::Done)
}

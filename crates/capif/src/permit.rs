//! `capif permit`

use capif_ccf::admin::Permitted;

use crate::{
    choice::Subject,
    exit::{Exit, Failure},
    operator::CcfFolder,
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    folder: CcfFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let Subject { invoker, api } = &args.subject;
    let permitted: Permitted = args
        .folder
        .operator()?
        .post("/permissions", &args.subject.verdict())
        .await?;
    output::note(&if permitted.lifted {
        format!(
            "{} may negotiate for {} again, which it has to do before it calls",
            invoker, api
        )
    } else {
        format!("{} was not shut out of {}", invoker, api)
    });
    Ok(Exit::Done)
}

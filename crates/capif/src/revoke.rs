//! `capif revoke`

use capif_ccf::admin::Revoked;

use crate::{
    choice::Subject,
    exit::{Exit, Failure},
    operator::{CcfFolder, dir_option},
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
    let revoked: Revoked = args
        .folder
        .operator()?
        .post("/revocations", &args.subject.verdict())
        .await?;
    output::note(&format!(
        "{} may not call {} any more: its tokens are refused, and it negotiates in vain; to let it back in: capif permit {}{}{}",
        invoker,
        api,
        invoker,
        api.option(),
        dir_option(&args.folder.dir)
    ));
    for aef in revoked.told {
        output::note(&format!(
            "{aef} is being told; `capif list alarms` shows it if it does not acknowledge"
        ));
    }
    Ok(Exit::Done)
}

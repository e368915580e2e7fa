//! `capif invoker offboard`

use capif_client::Departure;

use crate::{
    enrol::{Enrolled, InvokerFolder},
    exit::{Exit, Failure},
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    folder: InvokerFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let Enrolled { invoker, folder } = Enrolled::open(&args.folder).await?;
    let id = invoker.id().clone();
    let how = match invoker.offboard().await? {
        Departure::Confirmed => "is offboarded",
        Departure::KnownNoMore => "was offboarded before, as the core function says",
        Departure::Unheard => {
            "has a certificate that ended, so the core function was not told (its operator can: capif offboard ID)"
        }
    };
    output::note(&format!(
        "{id} {how}; key, certificate, secret and tokens are erased from {}",
        folder.display()
    ));
    Ok(Exit::Done)
}

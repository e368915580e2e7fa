//! `capif init`

use std::io;

use capif_ccf::init::{InitError, init};
use capif_transport::SystemClock;

use crate::{
    exit::{Exit, Failure},
    operator::{CcfFolder, dir_option},
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    folder: CcfFolder,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let dir = &args.folder.dir;
    init(dir, &SystemClock).map_err(|error| match &error {
        InitError::Exists(_) => Failure::of(Exit::Conflict, &error),
        InitError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            Failure::of(Exit::Usage, &error).next("choose a folder that you may write with --dir")
        }
        _ => Failure::of(Exit::Usage, &error),
    })?;
    output::note(&format!(
        "made {}: certificate authority, keys, and capif.toml, where every setting stands with its default",
        dir.display()
    ));
    output::note(&format!("next: capif serve{}", dir_option(dir)));
    Ok(Exit::Done)
}

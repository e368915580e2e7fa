//! `capif ca seal`

use std::path::{Path, PathBuf};

use capif_ccf::{
    authority::custody::{self, Custody, CustodyError, Passphrase},
    config::Config,
    init::ID_FILE,
};

use crate::{
    exit::{Exit, Failure},
    operator::{OwnFolder, dir_option, not_initialised},
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file that only you can read, with the passphrase as its one line
    #[arg(long, value_name = "FILE")]
    passphrase_file: PathBuf,
    #[command(flatten)]
    folder: OwnFolder,
}

/// The core function does not run meanwhile. Whatever interrupts this, giving it again takes it to its end.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let dir = &args.folder.dir;
    if !dir.join(ID_FILE).exists() {
        return Err(not_initialised(dir));
    }
    let file = std::path::absolute(&args.passphrase_file)
        .map_err(|error| Failure::of(Exit::Usage, &error))?;
    let config = Config::load(dir).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let changed = seal(dir, &config, &file).map_err(|error| Failure::of(Exit::Usage, &error))?;
    match changed {
        0 => output::note("every key file is sealed under this passphrase already"),
        1 => output::note("sealed 1 key file"),
        _ => output::note(&format!("sealed {changed} key files")),
    }
    if config.custody.passphrase_file != file {
        output::note(&format!(
            "the core function has to find the passphrase, as a file ([custody] passphrase_file = \"{}\" in {}) or as a systemd credential",
            file.display(),
            dir.join(capif_ccf::config::FILE_NAME).display()
        ));
    }
    output::note(&format!("next: capif serve{}", dir_option(dir)));
    Ok(Exit::Done)
}

fn seal(dir: &Path, config: &Config, file: &Path) -> Result<usize, CustodyError> {
    let passphrase = Passphrase::read_new(file)?;
    let configured = Custody::open(&config.custody)?;
    custody::seal(dir, &configured, &passphrase)
}

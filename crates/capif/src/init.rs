//! `capif init`

use std::{
    io,
    path::{Path, PathBuf},
};

use capif_ccf::{
    config::CustodySection,
    init::{BroughtAuthority, InitError, Options, init_with},
};
use capif_transport::SystemClock;

use crate::{
    exit::{Exit, Failure},
    operator::{OwnFolder, dir_option},
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seal the files with private keys under the passphrase that is the one line of this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Keep the issuing authority's key in a PKCS#11 token: the token's module
    #[arg(long, value_name = "FILE", requires_all = ["pkcs11_token", "pkcs11_pin_file"])]
    pkcs11_module: Option<PathBuf>,
    /// The label of that token
    #[arg(long, value_name = "LABEL", requires = "pkcs11_module")]
    pkcs11_token: Option<String>,
    /// A file with the PIN of that token
    #[arg(long, value_name = "FILE", requires = "pkcs11_module")]
    pkcs11_pin_file: Option<PathBuf>,
    /// Bring your own issuing authority: its certificate and those above it, as PEM
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    ca_certificate: Option<PathBuf>,
    /// The private key of that authority (PKCS#8), or a file that names one in the token
    #[arg(long, value_name = "FILE", requires = "ca_certificate")]
    ca_key: Option<PathBuf>,
    /// The root above that authority, when it is not the last certificate there
    #[arg(long, value_name = "FILE", requires = "ca_certificate")]
    ca_root: Option<PathBuf>,
    #[command(flatten)]
    folder: OwnFolder,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let dir = &args.folder.dir;
    let options = options(args).map_err(|error| Failure::of(Exit::Usage, &error))?;
    init_with(dir, &options, &SystemClock).map_err(|error| match &error {
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

/// Paths become absolute, since the core function may be started from elsewhere.
fn options(args: &Args) -> io::Result<Options> {
    let absolute = |path: &Option<PathBuf>| match path {
        Some(path) => std::path::absolute(path),
        None => Ok(PathBuf::new()),
    };
    let custody = CustodySection {
        passphrase_file: absolute(&args.passphrase_file)?,
        pkcs11_module: absolute(&args.pkcs11_module)?,
        pkcs11_token: args.pkcs11_token.clone().unwrap_or_default(),
        pkcs11_pin_file: absolute(&args.pkcs11_pin_file)?,
    };
    let authority = match (&args.ca_certificate, &args.ca_key) {
        (Some(certificates), Some(key)) => Some(BroughtAuthority {
            certificates: certificates.clone(),
            key: key.clone(),
            root: args.ca_root.as_deref().map(Path::to_owned),
        }),
        _ => None,
    };
    Ok(Options { custody, authority })
}

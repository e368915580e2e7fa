//! `capif serve`

use std::{io, path::Path, sync::Arc};

use capif_ccf::{
    ccf::{Ccf, StartError},
    config::{Config, LogFormat},
    init::ID_FILE,
    moved::Moved,
    store::Fault,
};
use capif_transport::SystemClock;

use crate::{
    config,
    exit::{Exit, Failure},
    folder, logging,
    operator::{OwnFolder, dir_option, not_initialised},
    output,
    shutdown::{GRACE, Shutdown},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    folder: OwnFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let dir = args.folder.dir;
    if !dir.join(ID_FILE).exists() {
        return Err(not_initialised(&dir));
    }
    let mut shutdown = Shutdown::listen()?;
    let config = Config::load(&dir).map_err(|error| Failure::of(Exit::Usage, &error))?;
    logging::start(&config.log);
    for doubt in config::doubts(&config) {
        output::note(&format!("warning: {doubt}"));
    }
    if config.moved.is_elsewhere() {
        return send_on(&dir, config, shutdown).await;
    }
    let format = config.log.format;
    if config.is_lenient() {
        let weakness = "deployed OpenCAPIF clients are understood; tokens need no Onboard_Secret, the certificate alone proves who asks";
        match format {
            LogFormat::Json => tracing::warn!(compat = "opencapif", weakness),
            LogFormat::Text => output::note(&format!("compat: opencapif: {weakness}")),
        }
    }
    let mut ccf = Ccf::start(&dir, config, Arc::new(SystemClock))
        .await
        .map_err(|error| explain(&dir, &error))?;
    announce(&ccf, &dir, format)?;
    announce_accounts(&mut ccf);
    shutdown.asked().await;
    shutdown.drain(ccf.drain(GRACE)).await;
    Ok(Exit::Done)
}

/// Sends everybody to where the core function is now.
async fn send_on(dir: &Path, config: Config, mut shutdown: Shutdown) -> Result<Exit, Failure> {
    let format = config.log.format;
    let moved = Moved::start(dir, config, Arc::new(SystemClock))
        .await
        .map_err(|error| explain(dir, &error))?;
    let (at, to) = (moved.address(), moved.to());
    let how = if moved.is_permanent() {
        "for good (308)"
    } else {
        "for the time being (307)"
    };
    match format {
        LogFormat::Json => tracing::info!(at, to, permanent = moved.is_permanent(), "moved"),
        LogFormat::Text => output::note(&format!(
            "moved: whoever asks at {at} is sent to {to} {how}; nothing else is done here, the core function acts there alone; \
             stop with Ctrl-C"
        )),
    }
    shutdown.asked().await;
    shutdown.drain(moved.drain(GRACE)).await;
    Ok(Exit::Done)
}

fn explain(dir: &Path, error: &StartError) -> Failure {
    let exit = match error {
        StartError::NotInitialised(_) => return not_initialised(dir),
        StartError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            Exit::Conflict
        }
        StartError::Listen { .. } => Exit::Network,
        StartError::Store(Fault::Locked { .. }) => Exit::Conflict,
        _ => Exit::Usage,
    };
    Failure::of(exit, error)
}

/// Says where the account service listens, and the first password that it made: here, where it is in no log.
fn announce_accounts(ccf: &mut Ccf) {
    let Some((secure, plaintext)) = ccf.account_addrs() else {
        return;
    };
    output::note(&format!("account service at https://{secure}"));
    if let Some(plaintext) = plaintext {
        output::note(&format!(
            "INSECURE: account service at http://{plaintext}, where passwords travel in the clear"
        ));
    }
    if let Some(password) = ccf.take_first_password() {
        output::note(&format!(
            "the account service has one account: admin, with the password {}; it is shown this once, `capif account password admin` makes another",
            password.expose()
        ));
    }
}

/// Says where it listens and by what it is recognised.
fn announce(ccf: &Ccf, dir: &Path, format: LogFormat) -> Result<(), Failure> {
    let root = folder::root_of(&ccf.root_pem())?;
    match format {
        LogFormat::Json => tracing::info!(
            address = ccf.address(),
            listen = %ccf.local_addr(),
            management = %ccf.management_addr(),
            revocation = %ccf.revocation_addr(),
            operator = ccf.operator_addr().map(tracing::field::display),
            ca_sha256 = %root,
            "serving"
        ),
        LogFormat::Text => {
            let listen = ccf.local_addr().to_string();
            let listening = match ccf.address() {
                address if address == listen => String::new(),
                _ => format!(", listening on {listen}"),
            };
            output::note(&format!(
                "CAPIF core function serving at {}{listening}; root CA sha256 {root}",
                ccf.address()
            ));
            if let Some(address) = ccf.operator_addr() {
                output::note(&format!(
                    "operator's API at https://{address}; tokens for it: capif operator add NAME{}",
                    dir_option(dir)
                ));
            }
            output::note(&format!(
                "health at http://{}/readyz; stop with Ctrl-C; next: capif provider add NAME{}",
                ccf.management_addr(),
                dir_option(dir)
            ));
        }
    }
    Ok(())
}

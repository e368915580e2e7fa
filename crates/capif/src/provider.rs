//! `capif provider`

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use capif_ccf::admin::{DomainBundle, EnrolmentParts, NewBundle, NewProvider};
use capif_client::{Bundle, Keystore, Provider, Renewed};
use capif_spec::common::DateTime;
use capif_transport::SystemClock;
use clap::Subcommand;

use crate::{
    exit::{Exit, Failure},
    list, logging,
    operator::{CcfFolder, plain_id},
    output::{self, Format},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Admit a provider: write the bundle with which it registers, once or as often as it must
    Add(Add),
    /// Make a reusable bundle for a provider that is registered, in the place of the one before, or take that one away
    Bundle(Rebind),
    /// List the registered providers with their functions
    List(List),
    /// Remove a provider with its functions, APIs and certificates
    Remove(Remove),
    /// Renew the certificates of a provider's folder by hand; a gateway that runs there does it by itself, and goes on with these
    Renew(Renew),
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The name of the provider: letters, digits, `-`, `_`, `.`
    #[arg(value_parser = name)]
    name: String,
    /// The file to write [default: NAME.bundle]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Let this provider, and no other one, register again with the same bundle: for a gateway that may lose its folder
    #[arg(long)]
    reusable: bool,
    /// How many days a reusable bundle can be used, up to 366 [default: 90]
    #[arg(long, value_name = "N", requires = "reusable")]
    days: Option<u32>,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
struct Rebind {
    /// The id of the provider domain, as `capif provider list` shows it
    id: String,
    /// The file to write [default: the provider's name with `.bundle`]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many days it can be used, up to 366 [default: 90]
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// Make none, but take the one that there is away
    #[arg(long, conflicts_with_all = ["out", "days"])]
    remove: bool,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
struct List {
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// The id of the provider domain, as `capif provider list` shows it
    id: String,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
struct Renew {
    /// The folder of the gateway, where its keys and certificates are
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// A reusable bundle, used when the certificates have ended: no renewal can be asked for with them
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::Add(args) => add(args).await,
        Command::Bundle(args) => rebind(args).await,
        Command::List(args) => {
            let operator = args.folder.operator()?;
            list::show(&operator, list::What::Providers, args.output).await
        }
        Command::Remove(args) => {
            args.folder
                .operator()?
                .delete("providers", &args.id)
                .await?;
            output::note(&format!(
                "{} is removed, with all that it published",
                args.id
            ));
            Ok(Exit::Done)
        }
        Command::Renew(args) => renew(args).await,
    }
}

async fn renew(args: Renew) -> Result<Exit, Failure> {
    logging::start(&logging::from_environment("warn")?);
    if !args.dir.is_dir() {
        return Err(Failure::new(
            Exit::NotFound,
            format!(
                "there is no folder {}; give that of the gateway with --dir",
                args.dir.display()
            ),
        ));
    }
    let provider = Provider::open(Keystore::open(&args.dir)?, Arc::new(SystemClock)).await?;
    let bundle = args.bundle.as_deref().map(crate::gateway::bundle);
    let renewed = match bundle.transpose()? {
        Some(bundle) if provider.has_ended() => provider.register_again(&bundle).await?,
        _ => provider.renew().await?,
    };
    let ends = output::time(&DateTime(provider.own_standing()?.expires));
    output::note(&match renewed {
        Renewed::Here => format!(
            "the certificates of {} are renewed and good until {ends}; the old ones end soon",
            provider.domain_name()
        ),
        Renewed::Elsewhere => format!(
            "another process has just renewed the certificates of {}, which are good until {ends}",
            provider.domain_name()
        ),
    });
    if !provider.activate().await {
        output::note(
            "the core function has not seen all of them in use yet: the next process in this folder shows them",
        );
    }
    Ok(Exit::Done)
}

async fn add(args: Add) -> Result<Exit, Failure> {
    let Add {
        name,
        out,
        reusable,
        days,
        folder,
    } = args;
    let path = out.unwrap_or_else(|| PathBuf::from(format!("{name}.bundle")));
    // Before a credential is made out that nobody would get.
    if path.exists() {
        return Err(exists(&path));
    }
    let provider = NewProvider {
        name: name.clone(),
        reusable,
        days,
    };
    let parts: EnrolmentParts = folder.operator()?.post("/providers", &provider).await?;
    let expires = output::time(&parts.expires);
    write_secret(&path, &bundle_of(name, parts).to_string())?;
    if reusable {
        reused(&path, &expires);
    } else {
        output::note(&format!(
            "wrote {}, which registers one provider until {expires}; keep it secret",
            path.display(),
        ));
    }
    output::note(&format!(
        "next, where the API runs: capif gateway --bundle {} --api NAME --upstream URL",
        path.display()
    ));
    Ok(Exit::Done)
}

async fn rebind(args: Rebind) -> Result<Exit, Failure> {
    let operator = args.folder.operator()?;
    let place = format!("/providers/{}/bundle", plain_id(&args.id)?);
    if args.remove {
        operator.remove(&place).await?;
        output::note(&format!(
            "the reusable bundle of {} is good for nothing any more; the provider stays as it is",
            args.id
        ));
        return Ok(Exit::Done);
    }
    // Before another bundle is made in vain, at the cost of the one that there is.
    if let Some(path) = args.out.as_deref().filter(|path| path.exists()) {
        return Err(exists(path));
    }
    let path = match args.out {
        Some(path) => path,
        None => {
            let providers: Vec<serde_json::Value> = operator.get("/providers").await?;
            let mut known = providers.iter();
            let text = |row: &'_ serde_json::Value, member: &str| {
                let text = row.get(member).and_then(serde_json::Value::as_str);
                text.map(str::to_owned)
            };
            let known = known.find(|row| text(row, "apiProvDomId").as_ref() == Some(&args.id));
            let name = known.and_then(|row| text(row, "name"));
            let name = name.ok_or_else(|| {
                Failure::new(
                    Exit::NotFound,
                    "there is no such provider domain; `capif provider list` shows them",
                )
            })?;
            let path = PathBuf::from(format!("{name}.bundle"));
            if path.exists() {
                return Err(exists(&path));
            }
            path
        }
    };
    let wanted = NewBundle { days: args.days };
    let made: DomainBundle = operator.post(&place, &wanted).await?;
    let expires = output::time(&made.parts.expires);
    write_secret(&path, &bundle_of(made.name, made.parts).to_string())?;
    reused(&path, &expires);
    Ok(Exit::Done)
}

fn bundle_of(name: String, parts: EnrolmentParts) -> Bundle {
    Bundle {
        address: parts.address,
        anchors_pem: parts.ca_pem,
        domain_name: name,
        credential: parts.credential,
    }
}

/// What there is to know of a bundle that stays a secret for as long as it lives.
fn reused(path: &Path, expires: &str) {
    output::note(&format!(
        "wrote {}, with which one provider registers, and registers again, until {expires}",
        path.display()
    ));
    output::note(
        "whoever holds it can take this provider over: keep it where secrets are kept, let one gateway at a time use it, and take it away with `capif provider bundle ID --remove`",
    );
}

/// Writes a new file that only its owner can read.
///
/// # Errors
/// When there is a file already, which stays as it is, or none can be written.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), Failure> {
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::usage(format!("cannot write {} ({error})", path.display())),
    })
}

/// What to say about a file that is in the way.
pub(crate) fn exists(path: &Path) -> Failure {
    Failure::new(
        Exit::Conflict,
        format!(
            "{} is there already and was not changed; remove it, or choose another place with --out",
            path.display()
        ),
    )
}

fn name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("a name has 1 to 64 letters, digits, `-`, `_` or `.`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_file_is_the_owners_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme.bundle");
        write_secret(&path, "one").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let failure = write_secret(&path, "two").unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }

    #[test]
    fn a_name_is_no_path() {
        for text in ["acme", "acme-2.example_x"] {
            assert!(name(text).is_ok(), "{text}");
        }
        for text in ["", "../acme", "a b", "a/b", "\u{e9}", &"a".repeat(65)] {
            assert!(name(text).is_err(), "{text}");
        }
    }
}

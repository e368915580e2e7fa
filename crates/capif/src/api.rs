//! `capif api`

use std::{path::PathBuf, sync::Arc};

use capif_aef::GatewayError;
use capif_client::{Keystore, Provider};
use capif_spec::publish_service::SecurityMethod;
use capif_transport::SystemClock;
use clap::Subcommand;
use serde_json::json;

use crate::{
    exit::{Exit, Failure},
    gateway::security_method,
    logging,
    output::{self, Format},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Change the security methods that an API is published with, or only show them; running gateways follow
    Methods(Methods),
}

#[derive(Debug, clap::Args)]
struct Methods {
    /// The name of the API
    name: String,
    /// The security methods from now on, of PSK, PKI, OAUTH [default: unchanged]
    #[arg(value_name = "METHODS", value_delimiter = ',', value_parser = security_method)]
    methods: Vec<SecurityMethod>,
    /// The folder of the gateway, where its keys and certificates are
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    logging::start(&logging::from_environment("warn")?);
    match args.command {
        Command::Methods(args) => methods(args).await,
    }
}

async fn methods(args: Methods) -> Result<Exit, Failure> {
    if !args.dir.is_dir() {
        return Err(Failure::new(
            Exit::NotFound,
            format!(
                "there is no folder {}; give that of the gateway with --dir",
                args.dir.display()
            ),
        ));
    }
    let keystore = Keystore::open(&args.dir)?;
    // A gateway that starts publishes too: one after the other.
    let locked = keystore.lock().await?;
    let provider = Provider::open(keystore, Arc::new(SystemClock)).await?;
    let wanted = (!args.methods.is_empty()).then_some(args.methods.as_slice());
    let published = capif_aef::change_methods(&provider, &args.name, wanted)
        .await
        .map_err(|error: GatewayError| Failure::of(error.kind().into(), &error))?;
    drop(locked);
    let rows = published.iter().map(|published| {
        let methods: Vec<&str> = published
            .methods
            .iter()
            .map(SecurityMethod::as_str)
            .collect();
        (published.interface.clone(), methods)
    });
    match args.output {
        Format::Json => {
            let rows = rows.map(|(interface, methods)| {
                json!({ "apiName": args.name, "interface": interface, "securityMethods": methods })
            });
            output::json(&rows.collect::<Vec<_>>())?;
        }
        Format::Table => {
            let rows = rows
                .map(|(interface, methods)| vec![args.name.clone(), interface, methods.join(",")]);
            let rows: Vec<Vec<String>> = rows.collect();
            output::table(&["API", "INTERFACE", "METHODS"], &rows)?;
        }
    }
    Ok(Exit::Done)
}

//! `capif keys`

use capif_ccf::admin::{Rotate, TokenKeyStatus};
use clap::Subcommand;

use crate::{
    exit::{Exit, Failure},
    operator::CcfFolder,
    output::{self, Format},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the keys that sign access tokens: the one that does, the next one, the ones before
    List(List),
    /// Let another key sign access tokens, after everyone had the time to fetch it
    Rotate(RotateArgs),
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
struct RotateArgs {
    /// The keys may be in other hands: the new one signs at once, and every token of those before is refused
    #[arg(long)]
    compromise: bool,
    #[command(flatten)]
    folder: CcfFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::List(args) => {
            let keys: Vec<TokenKeyStatus> = args.folder.operator()?.get("/keys").await?;
            show(&keys, args.output)
        }
        Command::Rotate(args) => rotate(args).await,
    }
}

async fn rotate(args: RotateArgs) -> Result<Exit, Failure> {
    let rotate = Rotate {
        compromise: args.compromise,
    };
    let keys: Vec<TokenKeyStatus> = args
        .folder
        .operator()?
        .post("/keys/rotate", &rotate)
        .await?;
    let newest = keys.last();
    let (kid, from) = newest.map_or_else(Default::default, |key| {
        (key.kid.as_str(), output::time(&key.signs_from))
    });
    output::note(&if args.compromise {
        format!("key {kid} signs access tokens; those before are gone, and gateways are told")
    } else {
        format!("key {kid} is handed out and signs access tokens from {from} on")
    });
    Ok(Exit::Done)
}

fn show(keys: &[TokenKeyStatus], format: Format) -> Result<Exit, Failure> {
    if format == Format::Json {
        output::json(&keys)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            vec![
                key.kid.clone(),
                key.state.clone(),
                output::time(&key.published),
                output::time(&key.signs_from),
                key.retires.as_ref().map_or_else(String::new, output::time),
            ]
        })
        .collect();
    let headings = ["KEY", "STATE", "HANDED OUT", "SIGNS FROM", "GONE FROM"];
    output::table(&headings, &rows)?;
    Ok(Exit::Done)
}

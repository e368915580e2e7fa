//! `capif operator`

use capif_ccf::admin::{NewOperator, OperatorStatus, OperatorToken};
use clap::Subcommand;

use crate::{
    exit::{Exit, Failure},
    operator::{CcfFolder, Operator, OwnFolder},
    output::{self, Format},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let somebody operate the core function from another machine: print a token, this once
    Add(Add),
    /// List who may, and until when
    List(List),
    /// Take a token back; it is refused from then on
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The name that stands beside all that is done with the token
    name: String,
    /// The token is for looking only
    #[arg(long)]
    read_only: bool,
    /// For how many days it counts
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    days: u32,
    #[command(flatten)]
    folder: OwnFolder,
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
    /// The name, as `capif operator list` shows it
    name: String,
    #[command(flatten)]
    folder: OwnFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::Add(args) => add(args).await,
        Command::List(args) => list(args).await,
        Command::Remove(args) => {
            Operator::of(&args.folder.dir)
                .delete("operators", &args.name)
                .await?;
            output::note(&format!(
                "the token of {} is refused from now on",
                args.name
            ));
            Ok(Exit::Done)
        }
    }
}

async fn add(args: Add) -> Result<Exit, Failure> {
    let wanted = NewOperator {
        name: args.name.clone(),
        read_only: args.read_only,
        days: args.days,
    };
    let made: OperatorToken = Operator::of(&args.folder.dir)
        .post("/operators", &wanted)
        .await?;
    output::line(made.token.expose())?;
    output::note(&format!(
        "{} may {} until {}; the token is shown this once: put it into a file (`chmod 600`) and give that to \
         --operator-token-file",
        args.name,
        if args.read_only { "look" } else { "operate" },
        output::time(&made.expires),
    ));
    Ok(Exit::Done)
}

async fn list(args: List) -> Result<Exit, Failure> {
    let rows: Vec<OperatorStatus> = args.folder.operator()?.get("/operators").await?;
    match args.output {
        Format::Json => output::json(&rows)?,
        Format::Table => {
            let rows: Vec<Vec<String>> = rows
                .iter()
                .map(|row| {
                    vec![
                        row.name.clone(),
                        if row.read_only { "look" } else { "operate" }.to_owned(),
                        output::time(&row.created),
                        output::time(&row.expires),
                    ]
                })
                .collect();
            output::table(&["NAME", "MAY", "SINCE", "UNTIL"], &rows)?;
        }
    }
    Ok(Exit::Done)
}

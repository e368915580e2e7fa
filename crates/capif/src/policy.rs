//! `capif policy`

mod discovery;
mod logs;
mod slice;

use capif_ccf::admin::{NewPolicy, OldPolicy, TimeRange};
use capif_spec::common::{ApiInvokerId, DateTime, NetSliceId};
use clap::Subcommand;
use serde_json::Value;

use crate::{
    choice::{ApiOption, invoker_id},
    exit::{Exit, Failure},
    list,
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
    /// Set what may be used of an API: by each invoker, or by one
    Set(Set),
    /// List the policies, and how much was used under each
    List(List),
    /// Remove a policy
    Remove(Remove),
    /// What invokers discover, of what lies within their reach
    #[command(subcommand)]
    Discovery(discovery::Discovery),
    /// How long the invocation logs of an API are kept
    #[command(subcommand)]
    Logs(logs::Logs),
    /// What anyone discovers before onboarding
    #[command(subcommand)]
    Open(discovery::Open),
}

#[derive(Debug, clap::Args)]
struct Set {
    #[command(flatten)]
    api: ApiOption,
    /// The one invoker that it is for [default: each one without a policy of its own]
    #[arg(long, value_name = "ID", value_parser = invoker_id)]
    invoker: Option<ApiInvokerId>,
    #[command(flatten)]
    limits: Limits,
    /// Forget what was used before; otherwise it counts against the new total
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    folder: CcfFolder,
}

/// At least one of these, so that nothing is opened by forgetting an option.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Limits {
    /// How many calls in all
    #[arg(long, value_name = "N")]
    total: Option<u64>,
    /// How many calls within any one second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    per_second: Option<u64>,
    /// When a time begins in which calls are allowed, like 2026-01-31T08:00:00Z; repeat for several
    #[arg(long, value_name = "TIME")]
    from: Vec<DateTime>,
    /// When it ends; the first --to belongs to the first --from, and so on
    #[arg(long, value_name = "TIME")]
    to: Vec<DateTime>,
    /// In which network slice calls are allowed, as SST, SST-SD, nsi=ID or ensi=ID; repeat for several
    #[arg(long, value_name = "SLICE", value_parser = slice::slice)]
    slice: Vec<NetSliceId>,
    /// No limit at all
    #[arg(long, conflicts_with_all = ["total", "per_second", "from", "to", "slice"])]
    unlimited: bool,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only those of the APIs of this name
    #[arg(long, value_name = "NAME")]
    api: Option<String>,
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
struct Remove {
    #[command(flatten)]
    api: ApiOption,
    /// The one invoker that it is for [default: everyone]
    #[arg(long, value_name = "ID", value_parser = invoker_id)]
    invoker: Option<ApiInvokerId>,
    #[command(flatten)]
    folder: CcfFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::Set(args) => set(args).await,
        Command::List(args) => {
            let operator = args.folder.operator()?;
            let of_api = |row: &Value| {
                let name = args.api.as_ref();
                name.is_none_or(|name| row["apiName"] == *name)
            };
            list::show_some(&operator, list::What::Policies, args.output, of_api).await
        }
        Command::Remove(args) => {
            let old = OldPolicy {
                api: args.api.choice()?,
                invoker: args.invoker.clone(),
            };
            let _removed: Value = args
                .folder
                .operator()?
                .post("/policies/remove", &old)
                .await?;
            output::note(&format!(
                "the policy for {} at {} is removed; what was used under it is remembered",
                whom(args.invoker.as_ref()),
                args.api
            ));
            Ok(Exit::Done)
        }
        Command::Logs(command) => logs::run(command).await,
        Command::Discovery(command) => discovery::run(command).await,
        Command::Open(command) => discovery::run_open(command).await,
    }
}

async fn set(args: Set) -> Result<Exit, Failure> {
    let times = times(&args.limits.from, &args.limits.to)?;
    let policy = NewPolicy {
        api: args.api.choice()?,
        invoker: args.invoker.clone(),
        total: args.limits.total,
        per_second: args.limits.per_second,
        times,
        slices: args.limits.slice.clone(),
        reset: args.reset,
    };
    let _set: Value = args.folder.operator()?.post("/policies", &policy).await?;
    output::note(&format!(
        "the policy for {} at {} is set; the gateways that subscribed are told",
        whom(args.invoker.as_ref()),
        args.api
    ));
    if !args.limits.slice.is_empty() {
        output::note(
            "warning: `capif gateway` cannot tell from which slice a call comes, and lets none through under this policy",
        );
    }
    Ok(Exit::Done)
}

fn whom(invoker: Option<&ApiInvokerId>) -> String {
    invoker.map_or_else(|| "everyone".to_owned(), ToString::to_string)
}

/// Each beginning with its end.
fn times(from: &[DateTime], to: &[DateTime]) -> Result<Vec<TimeRange>, Failure> {
    let count = from.len().max(to.len());
    if from.len() != to.len() && count != 1 {
        return Err(Failure::usage(
            "give as many --to as --from, in the same order; only a single one may stand alone",
        ));
    }
    Ok((0..count)
        .map(|index| TimeRange {
            from: from.get(index).cloned(),
            to: to.get(index).cloned(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_and_ends_belong_together_in_order() {
        let time =
            |hour: u8| -> DateTime { format!("2026-01-31T{hour:02}:00:00Z").parse().unwrap() };
        let range = |from: Option<u8>, to: Option<u8>| TimeRange {
            from: from.map(time),
            to: to.map(time),
        };
        assert_eq!(times(&[], &[]).unwrap(), []);
        assert_eq!(
            times(&[time(8), time(14)], &[time(12), time(18)]).unwrap(),
            [range(Some(8), Some(12)), range(Some(14), Some(18))]
        );
        assert_eq!(times(&[time(8)], &[]).unwrap(), [range(Some(8), None)]);
        assert_eq!(times(&[], &[time(8)]).unwrap(), [range(None, Some(8))]);
        for (from, to) in [
            (vec![time(8), time(14)], vec![time(12)]),
            (vec![time(8), time(14)], vec![]),
            (vec![time(8)], vec![time(12), time(18)]),
        ] {
            assert_eq!(times(&from, &to).unwrap_err().exit, Exit::Usage);
        }
    }
}

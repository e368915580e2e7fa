//! `capif policy discovery` and `capif policy open`

use capif_ccf::admin::{Audience, DiscoveryRule, Scope, Sought};
use capif_spec::common::ApiInvokerId;
use clap::Subcommand;
use serde_json::Value;

use crate::{
    choice::{id, invoker_id},
    exit::{Exit, Failure},
    list,
    operator::{CcfFolder, Operator},
    output::{self, Format},
};

#[derive(Debug, Subcommand)]
pub(super) enum Discovery {
    /// Show APIs to invokers, or hide them
    Set(Set),
    /// List what is shown and hidden
    List(List),
    /// Say nothing of the kind any more
    Remove(Remove),
}

#[derive(Debug, Subcommand)]
pub(super) enum Open {
    /// Let anyone discover APIs before onboarding
    Add(OpenArgs),
    /// List what lies open
    List(List),
    /// Let nobody discover them before onboarding any more
    Remove(OpenArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct Set {
    #[command(flatten)]
    verdict: Verdict,
    #[command(flatten)]
    scope: ScopeOption,
    /// The one invoker that it is for; what is said of one counts before what is said of all [default: each one]
    #[arg(long, value_name = "ID", value_parser = invoker_id)]
    invoker: Option<ApiInvokerId>,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Verdict {
    /// Show them, as far as they are within reach
    #[arg(long)]
    show: bool,
    /// Hide them
    #[arg(long)]
    hide: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    #[command(flatten)]
    scope: ScopeOption,
    /// The one invoker that it is for [default: each one]
    #[arg(long, value_name = "ID", value_parser = invoker_id)]
    invoker: Option<ApiInvokerId>,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
pub(super) struct OpenArgs {
    #[command(flatten)]
    scope: ScopeOption,
    #[command(flatten)]
    folder: CcfFolder,
}

/// Which APIs are meant. An id is narrower than a name, a name than a category, a category than all: the narrowest counts.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct ScopeOption {
    /// APIs of this name, of whichever provider
    #[arg(long, value_name = "NAME")]
    api: Option<String>,
    /// The API of this id, as `capif list apis` shows it
    #[arg(long, value_name = "ID", value_parser = id)]
    api_id: Option<String>,
    /// APIs of this category
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// All APIs
    #[arg(long)]
    all: bool,
}

impl ScopeOption {
    fn scope(&self) -> Scope {
        let name = self.api.clone().map(Scope::Name);
        let id = || Some(Scope::Id(self.api_id.as_deref()?.into()));
        let category = || self.category.clone().map(Scope::Category);
        name.or_else(id).or_else(category).unwrap_or(Scope::All)
    }

    fn words(&self) -> String {
        match self.scope() {
            Scope::Name(name) => name,
            Scope::Id(id) => id.to_string(),
            Scope::Category(category) => format!("what is of the category {category}"),
            Scope::All => "everything".to_owned(),
        }
    }
}

fn audience(invoker: Option<ApiInvokerId>) -> Audience {
    invoker.map_or(Audience::Everyone, Audience::Invoker)
}

fn whom(invoker: Option<&ApiInvokerId>) -> &str {
    invoker.map_or("each invoker", ApiInvokerId::as_str)
}

pub(super) async fn run(command: Discovery) -> Result<Exit, Failure> {
    match command {
        Discovery::Set(args) => {
            let rule = DiscoveryRule {
                audience: audience(args.invoker.clone()),
                scope: args.scope.scope(),
                shows: args.verdict.show,
            };
            let operator = args.folder.operator()?;
            let meets = set(&operator, &rule).await?;
            output::note(&format!(
                "{} is {} {}; {meets} published now",
                args.scope.words(),
                if rule.shows {
                    "shown to"
                } else {
                    "hidden from"
                },
                whom(args.invoker.as_ref()),
            ));
            if !rule.shows {
                output::note("hidden is not forbidden: `capif revoke` takes away what was granted");
            }
            Ok(Exit::Done)
        }
        Discovery::List(args) => {
            let operator = args.folder.operator()?;
            let of_invokers = |row: &Value| row["audience"] != "anyone";
            list::show_some(
                &operator,
                list::What::DiscoveryPolicies,
                args.output,
                of_invokers,
            )
            .await
        }
        Discovery::Remove(args) => {
            let sought = Sought {
                audience: audience(args.invoker.clone()),
                scope: args.scope.scope(),
            };
            remove(&args.folder.operator()?, &sought).await?;
            output::note(&format!(
                "nothing is said any more of {} for {}",
                args.scope.words(),
                whom(args.invoker.as_ref()),
            ));
            Ok(Exit::Done)
        }
    }
}

pub(super) async fn run_open(command: Open) -> Result<Exit, Failure> {
    match command {
        Open::Add(args) => {
            let rule = DiscoveryRule {
                audience: Audience::Anyone,
                scope: args.scope.scope(),
                shows: true,
            };
            let meets = set(&args.folder.operator()?, &rule).await?;
            output::note(&format!(
                "{} lies open to anyone before onboarding; {meets} published now",
                args.scope.words(),
            ));
            Ok(Exit::Done)
        }
        Open::List(args) => {
            let operator = args.folder.operator()?;
            let is_open = |row: &Value| row["audience"] == "anyone";
            list::show_some(
                &operator,
                list::What::DiscoveryPolicies,
                args.output,
                is_open,
            )
            .await
        }
        Open::Remove(args) => {
            let sought = Sought {
                audience: Audience::Anyone,
                scope: args.scope.scope(),
            };
            remove(&args.folder.operator()?, &sought).await?;
            output::note(&format!(
                "{} lies open no more, unless `discovery.open_apis` in the configuration names it",
                args.scope.words(),
            ));
            Ok(Exit::Done)
        }
    }
}

/// Says how many APIs are meant now.
async fn set(operator: &Operator, rule: &DiscoveryRule) -> Result<String, Failure> {
    let answer: Value = operator.post("/discovery-policies", rule).await?;
    let meets = answer
        .get("meets")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    Ok(match meets {
        1 => "1 API is".to_owned(),
        count => format!("{count} APIs are"),
    })
}

async fn remove(operator: &Operator, sought: &Sought) -> Result<(), Failure> {
    let _removed: Value = operator.post("/discovery-policies/remove", sought).await?;
    Ok(())
}

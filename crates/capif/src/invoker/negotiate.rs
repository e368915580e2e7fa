//! `capif invoker negotiate`

use capif_client::{DiscoveryQuery, Wish};
use capif_spec::{
    publish_service::{SecurityMethod, ServiceApiDescription},
    security::SecurityInformation,
};

use crate::{
    enrol::{Enrolled, InvokerFolder},
    exit::{Exit, Failure},
    gateway::security_method,
    output::{self, Format},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An API to negotiate for; may be repeated [default: all that discovery shows]
    #[arg(long = "api", value_name = "NAME")]
    apis: Vec<String>,
    /// The methods that this invoker accepts [default: PKI, OAUTH]
    #[arg(long, value_name = "METHODS", value_delimiter = ',', value_parser = security_method)]
    methods: Vec<SecurityMethod>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    folder: InvokerFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let enrolled = Enrolled::open(&args.folder).await?;
    let mut found = enrolled
        .invoker
        .discover(&DiscoveryQuery::default())
        .await
        .map_err(|error| enrolled.explain(error))?;
    if !args.apis.is_empty() {
        found.retain(|api| args.apis.contains(&api.api_name));
    }
    let missing = args
        .apis
        .iter()
        .find(|name| !found.iter().any(|api| api.api_name == **name));
    if missing.is_some() || found.is_empty() {
        let what = missing.map_or_else(|| "no API".to_owned(), |name| format!("no API `{name}`"));
        return Err(Failure::new(
            Exit::NotFound,
            format!(
                "discovery shows this invoker {what}; `capif invoker discover` lists what there is"
            ),
        ));
    }
    let wishes: Vec<Wish> = found
        .iter()
        .flat_map(|api| wishes(api, &args.methods))
        .collect();
    let agreed = enrolled
        .invoker
        .negotiate(&wishes)
        .await
        .map_err(|error| enrolled.explain(error))?;
    match args.output {
        Format::Json => output::json(&agreed)?,
        Format::Table => {
            let rows: Vec<Vec<String>> = agreed
                .security_info
                .iter()
                .map(|entry| row(entry, &found))
                .collect();
            output::table(&["API", "METHOD", "AEF"], &rows)?;
        }
    }
    Ok(Exit::Done)
}

fn wishes(api: &ServiceApiDescription, methods: &[SecurityMethod]) -> impl Iterator<Item = Wish> {
    api.aef_profiles.iter().flatten().map(|profile| Wish {
        aef_id: profile.aef_id.clone(),
        api_id: api.api_id.clone(),
        preferred: methods.to_vec(),
    })
}

fn row(entry: &SecurityInformation, apis: &[ServiceApiDescription]) -> Vec<String> {
    let api = entry.api_id.as_ref().map(|id| {
        let named = apis.iter().find(|api| api.api_id.as_ref() == Some(id));
        named.map_or_else(|| id.to_string(), |api| api.api_name.clone())
    });
    let method = entry.sel_security_method.as_ref();
    vec![
        api.unwrap_or_default(),
        method.map_or_else(|| "none in common".to_owned(), ToString::to_string),
        entry
            .aef_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    ]
}

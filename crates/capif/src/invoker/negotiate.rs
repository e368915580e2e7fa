//! `capif invoker negotiate`

use capif_client::{Agreement, DiscoveryQuery, Wish};
use capif_spec::{
    common::DateTime,
    publish_service::{SecurityMethod, ServiceApiDescription},
    vendor::PskProfile,
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
    /// The methods that this invoker accepts [default: PKI, OAUTH, PSK]
    #[arg(long, value_name = "METHODS", value_delimiter = ',', value_parser = security_method)]
    methods: Vec<SecurityMethod>,
    /// How keys are derived where PSK is selected: a1-exporter, or a1-tls12, which negotiates over TLS 1.2 [default: as the core
    /// function likes]
    #[arg(long, value_name = "PROFILE", value_parser = psk_profile)]
    psk_profile: Option<PskProfile>,
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
        .flat_map(|api| wishes(api, &args.methods, args.psk_profile))
        .collect();
    let agreed = enrolled
        .invoker
        .negotiate(&wishes)
        .await
        .map_err(|error| enrolled.explain(error))?;
    match args.output {
        Format::Json => output::json(&agreed)?,
        Format::Table => {
            let rows: Vec<Vec<String>> = enrolled
                .invoker
                .agreements()
                .iter()
                .map(|agreement| row(agreement, &found))
                .collect();
            output::table(&["API", "METHOD", "AEF", "KEY", "KEY ENDS"], &rows)?;
        }
    }
    Ok(Exit::Done)
}

fn wishes(
    api: &ServiceApiDescription,
    methods: &[SecurityMethod],
    profile: Option<PskProfile>,
) -> impl Iterator<Item = Wish> {
    api.aef_profiles.iter().flatten().map(move |aef| Wish {
        aef_id: aef.aef_id.clone(),
        api_id: api.api_id.clone(),
        preferred: methods.to_vec(),
        profile,
    })
}

fn row(agreement: &Agreement, apis: &[ServiceApiDescription]) -> Vec<String> {
    let api = agreement.api_id.as_ref().map(|id| {
        let named = apis.iter().find(|api| api.api_id.as_ref() == Some(id));
        named.map_or_else(|| id.to_string(), |api| api.api_name.clone())
    });
    let method = agreement.method.as_ref();
    let aef = agreement.aef_id.as_ref();
    let key = agreement.psk.as_ref();
    vec![
        api.unwrap_or_default(),
        method.map_or_else(|| "none".to_owned(), ToString::to_string),
        aef.map(ToString::to_string).unwrap_or_default(),
        key.map(|key| key.identity.clone()).unwrap_or_default(),
        key.map(|key| DateTime(key.ends).to_string())
            .unwrap_or_default(),
    ]
}

fn psk_profile(text: &str) -> Result<PskProfile, String> {
    text.parse()
        .map_err(|_| "a profile is a1-exporter or a1-tls12".to_owned())
}

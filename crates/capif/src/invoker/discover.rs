//! `capif invoker discover`

use capif_client::DiscoveryQuery;
use capif_spec::{
    common::AefId,
    publish_service::{AefProfile, ServiceApiDescription},
};

use crate::{
    enrol::{Enrolled, InvokerFolder},
    exit::{Exit, Failure},
    output::{self, Format},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the API of this name
    #[arg(long, value_name = "NAME")]
    api: Option<String>,
    /// Only APIs of this version
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Only what this AEF exposes
    #[arg(long, value_name = "ID")]
    aef: Option<String>,
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    folder: InvokerFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let enrolled = Enrolled::open(&args.folder).await?;
    let query = DiscoveryQuery {
        api_name: args.api,
        api_version: args.version,
        aef_id: args.aef.map(AefId::from),
        ..DiscoveryQuery::default()
    };
    let found = enrolled
        .invoker
        .discover(&query)
        .await
        .map_err(|error| enrolled.explain(error))?;
    match args.output {
        Format::Json => output::json(&found)?,
        Format::Table => {
            let rows: Vec<Vec<String>> = found.iter().flat_map(rows).collect();
            output::table(&["API", "VERSIONS", "METHODS", "ADDRESS", "AEF"], &rows)?;
        }
    }
    Ok(Exit::Done)
}

fn rows(api: &ServiceApiDescription) -> impl Iterator<Item = Vec<String>> {
    api.aef_profiles.iter().flatten().map(|profile| {
        let versions = profile
            .versions
            .iter()
            .map(|version| version.api_version.as_str());
        vec![
            api.api_name.clone(),
            versions.collect::<Vec<_>>().join(","),
            methods(profile).join(","),
            addresses(profile).join(","),
            profile.aef_id.to_string(),
        ]
    })
}

/// What an interface says of its methods takes the place of what the profile says (TS 29.222 table 8.2.4.2.4-1).
fn methods(profile: &AefProfile) -> Vec<String> {
    let mut methods: Vec<String> = Vec::new();
    let mut of_interfaces = profile
        .interface_descriptions
        .iter()
        .flatten()
        .filter_map(|interface| interface.security_methods.as_ref())
        .flatten()
        .peekable();
    let of_profile = match of_interfaces.peek() {
        Some(_) => None,
        None => profile.security_methods.as_ref(),
    };
    for method in of_interfaces.chain(of_profile.into_iter().flatten()) {
        if !methods.contains(&method.to_string()) {
            methods.push(method.to_string());
        }
    }
    methods
}

fn addresses(profile: &AefProfile) -> Vec<String> {
    let interfaces = profile.interface_descriptions.iter().flatten();
    let of_interfaces = interfaces.map(|interface| {
        let host = interface
            .fqdn
            .clone()
            .or_else(|| interface.ipv4_addr.clone())
            .or_else(|| {
                interface
                    .ipv6_addr
                    .as_ref()
                    .map(|address| format!("[{address}]"))
            })
            .unwrap_or_default();
        let prefix = interface.api_prefix.as_deref().unwrap_or_default();
        match &interface.port {
            Some(port) => format!("{host}:{}{prefix}", port.0),
            None => format!("{host}{prefix}"),
        }
    });
    profile
        .domain_name
        .clone()
        .into_iter()
        .chain(of_interfaces)
        .collect()
}

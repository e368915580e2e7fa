//! `capif invoker token`

use capif_client::DiscoveryQuery;
use capif_spec::{
    common::AefId,
    publish_service::{SecurityMethod, ServiceApiDescription},
    security::{Scope, ServiceSecurity},
};
use clap::ValueEnum;

use crate::{
    enrol::{Enrolled, InvokerFolder},
    exit::{Exit, Failure},
    output,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The API that is to be called
    #[arg(long, value_name = "NAME")]
    api: String,
    /// What is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    folder: InvokerFolder,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The access token and nothing else
    #[default]
    Token,
    /// The whole answer of the token endpoint
    Json,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let enrolled = Enrolled::open(&args.folder).await?;
    let found = enrolled
        .invoker
        .discover(&DiscoveryQuery::named(args.api.as_str()))
        .await
        .map_err(|error| enrolled.explain(error))?;
    if found.is_empty() {
        return Err(Failure::new(
            Exit::NotFound,
            format!(
                "discovery shows this invoker no API `{}`; `capif invoker discover` lists what there is",
                args.api
            ),
        ));
    }
    let scope = scope(
        &args.api,
        &found,
        enrolled.invoker.security_context().as_ref(),
    )?;
    let token = enrolled
        .invoker
        .token(&scope)
        .await
        .map_err(|error| enrolled.explain(error))?;
    output::note(&format!(
        "for scope {scope}, good for {} seconds",
        token.expires_in
    ));
    match args.output {
        Output::Token => output::line(token.access_token.expose())?,
        Output::Json => output::json(&token)?,
    }
    Ok(Exit::Done)
}

/// The API at every AEF where Method 3 was agreed on for it.
fn scope(
    name: &str,
    apis: &[ServiceApiDescription],
    context: Option<&ServiceSecurity>,
) -> Result<Scope, Failure> {
    let entries = context.iter().flat_map(|context| &context.security_info);
    let agreed: Vec<_> = entries
        .filter(|entry| entry.sel_security_method == Some(SecurityMethod::Oauth))
        .collect();
    let mut aefs: Vec<AefId> = Vec::new();
    for api in apis {
        for profile in api.aef_profiles.iter().flatten() {
            let covered = agreed.iter().any(|entry| {
                entry.aef_id.as_ref() == Some(&profile.aef_id)
                    && (entry.api_id.is_none() || entry.api_id == api.api_id)
            });
            if covered && !aefs.contains(&profile.aef_id) {
                aefs.push(profile.aef_id.clone());
            }
        }
    }
    if aefs.is_empty() {
        return Err(Failure::usage(format!(
            "security method OAUTH is not agreed on for API `{name}`; agree on it with \
             `capif invoker negotiate --api {name} --methods OAUTH`"
        )));
    }
    let grants = aefs
        .into_iter()
        .map(|aef| (aef, vec![name.to_owned()]))
        .collect();
    Ok(Scope { grants })
}

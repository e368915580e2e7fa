//! `capif invoker status`

use capif_client::{Agreement, DiscoveryQuery};
use capif_spec::common::DateTime;
use serde_json::{Value, json};
use x509_parser::pem::parse_x509_pem;

use crate::{
    enrol::{Enrolled, InvokerFolder},
    exit::{Exit, Failure},
    output::{self, Format},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How the answer is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    folder: InvokerFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let enrolled = Enrolled::open(&args.folder).await?;
    let asked = enrolled.invoker.discover(&DiscoveryQuery::default()).await;
    let apis: Option<Vec<&str>> = asked
        .as_ref()
        .ok()
        .map(|apis| apis.iter().map(|api| api.api_name.as_str()).collect());
    let status = json!({
        "apiInvokerId": enrolled.invoker.id(),
        "folder": enrolled.folder,
        "certificateEnds": certificate_end(&enrolled),
        "accepted": asked.is_ok(),
        "apis": apis,
        "methods": methods(&enrolled),
    });
    match args.output {
        Format::Json => output::json(&status)?,
        Format::Table => {
            let mut rows: Vec<Vec<String>> = [
                ("invoker", "apiInvokerId"),
                ("folder", "folder"),
                ("certificate ends", "certificateEnds"),
                ("accepted", "accepted"),
                ("apis", "apis"),
            ]
            .into_iter()
            .map(|(heading, member)| vec![heading.to_owned(), cell(status.get(member))])
            .collect();
            let agreed = enrolled.invoker.agreements();
            rows.extend(
                agreed
                    .iter()
                    .map(|agreement| vec!["method".to_owned(), line(agreement)]),
            );
            output::table(&[], &rows)?;
        }
    }
    match asked {
        Ok(_) => Ok(Exit::Done),
        Err(error) => Err(enrolled.explain(error)),
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => {
            let cells: Vec<String> = list.iter().map(|element| cell(Some(element))).collect();
            cells.join(",")
        }
        Some(other) => other.to_string(),
    }
}

/// When the certificate ends, in the words of the certificate itself.
fn certificate_end(enrolled: &Enrolled) -> Option<String> {
    let information = &enrolled.invoker.details().onboarding_information;
    let pem = information.api_invoker_certificate.as_deref()?;
    let (_, block) = parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = block.parse_x509().ok()?;
    let end = certificate.validity().not_after.to_datetime();
    Some(capif_spec::common::DateTime(end).to_string())
}

/// What was agreed on, in the order of the agreement; keys by their names alone.
fn methods(enrolled: &Enrolled) -> Vec<Value> {
    let agreed = enrolled.invoker.agreements();
    agreed
        .iter()
        .map(|agreement| {
            let mut value = json!({
                "selSecurityMethod": agreement.method,
                "aefId": agreement.aef_id,
                "apiId": agreement.api_id,
            });
            if let (Some(key), Some(members)) = (&agreement.psk, value.as_object_mut()) {
                members.insert("pskId".to_owned(), json!(key.identity));
                members.insert("pskInterface".to_owned(), json!(key.interface));
                members.insert("pskProfile".to_owned(), json!(key.profile));
                members.insert("pskEnds".to_owned(), json!(DateTime(key.ends)));
            }
            value
        })
        .collect()
}

fn line(agreement: &Agreement) -> String {
    let method = agreement.method.as_ref();
    let mut line = method.map_or_else(|| "none".to_owned(), ToString::to_string);
    if let Some(aef) = &agreement.aef_id {
        line.push_str(&format!(" at {aef}"));
    }
    if let Some(api) = &agreement.api_id {
        line.push_str(&format!(" for {api}"));
    }
    if let Some(key) = &agreement.psk {
        let ends = DateTime(key.ends);
        line.push_str(&format!(", key {} until {ends}", key.identity));
    }
    line
}

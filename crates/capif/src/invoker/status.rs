//! `capif invoker status`

use capif_client::{Agreement, DiscoveryQuery, ErrorKind};
use capif_spec::common::DateTime;
use serde_json::{Value, json};

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
    let Enrolled { invoker, folder } = Enrolled::open(&args.folder).await?;
    // To look is not to change anything.
    let invoker = invoker.without_upkeep();
    let enrolled = Enrolled { invoker, folder };
    let asked = match enrolled.invoker.ask_renewal_status().await {
        Ok(_) => enrolled.invoker.discover(&DiscoveryQuery::default()).await,
        Err(error) => Err(error),
    };
    let offline = asked
        .as_ref()
        .is_err_and(|error| matches!(error.kind(), ErrorKind::Network | ErrorKind::TimedOut));
    let apis: Option<Vec<&str>> = asked
        .as_ref()
        .ok()
        .map(|apis| apis.iter().map(|api| api.api_name.as_str()).collect());
    let ends = enrolled.invoker.renewal_status();
    let status = json!({
        "apiInvokerId": enrolled.invoker.id(),
        "ccf": enrolled.invoker.ccf_address(),
        "folder": enrolled.folder,
        "certificateEnds": ends.certificate_expires,
        "secretEnds": ends.secret_expires,
        "enrolmentEnds": ends.enrolment_expires,
        "renewable": ends.agreed,
        "renewAfter": ends.renew_after,
        "demand": ends.demand,
        "renewalPending": ends.pending || ends.unconfirmed,
        "asked": ends.asked,
        "accepted": (!offline).then_some(asked.is_ok()),
        "apis": apis,
        "methods": methods(&enrolled),
    });
    match args.output {
        Format::Json => output::json(&status)?,
        Format::Table => {
            let mut rows: Vec<Vec<String>> = [
                ("invoker", "apiInvokerId"),
                ("core function", "ccf"),
                ("folder", "folder"),
                ("certificate ends", "certificateEnds"),
                ("secret ends", "secretEnds"),
                ("enrolment ends", "enrolmentEnds"),
                ("renewable", "renewable"),
                ("renew after", "renewAfter"),
                ("demand", "demand"),
                ("accepted", "accepted"),
                ("apis", "apis"),
            ]
            .into_iter()
            .map(|(heading, member)| vec![heading.to_owned(), cell(status.get(member))])
            .filter(|row| row.last().is_some_and(|cell| !cell.is_empty()))
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
    if ends.pending || ends.unconfirmed {
        output::note(
            "a renewal was begun and is not finished: the next call or `capif invoker renew` goes on with it",
        );
    }
    if let Some(warning) = enrolled.warning() {
        output::note(&warning);
    }
    match asked {
        Ok(_) => Ok(Exit::Done),
        Err(error) if offline => {
            output::note(&format!(
                "this is what the folder holds; the core function could not be asked: {}",
                Failure::from(error)
            ));
            Ok(Exit::Done)
        }
        Err(error) => Err(enrolled.explain(error)),
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text
            .parse()
            .map_or_else(|_| text.clone(), |time| output::time(&time)),
        // What is wanted, and until when.
        Some(Value::Object(demand)) => {
            let member = |name| cell(demand.get(name));
            format!("{} until {}", member("reason"), member("deadline"))
        }
        Some(Value::Array(list)) => {
            let cells: Vec<String> = list.iter().map(|element| cell(Some(element))).collect();
            cells.join(",")
        }
        Some(other) => other.to_string(),
    }
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

//! `capif list`

use std::time::Duration;

use capif_spec::common::DateTime;
use clap::ValueEnum;
use serde_json::Value;

use crate::{
    ca::duration,
    exit::{Exit, Failure},
    operator::{CcfFolder, Operator},
    output::{self, Format},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(value_enum)]
    what: What,
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// Of expiring: what ends within this time, like 30d or 12h [default: 30d]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    within: Option<Duration>,
    #[command(flatten)]
    logs: Logs,
    #[command(flatten)]
    folder: CcfFolder,
}

/// Which invocation logs.
#[derive(Debug, Default, clap::Args)]
struct Logs {
    /// Of logs: only what this AEF reported
    #[arg(long, value_name = "ID", value_parser = id)]
    aef: Option<String>,
    /// Of logs: only calls of this API invoker
    #[arg(long, value_name = "ID", value_parser = id)]
    invoker: Option<String>,
    /// Of logs: only calls of APIs of this name
    #[arg(long, value_name = "NAME")]
    api: Option<String>,
    /// Of logs: only calls of the API of this id
    #[arg(long, value_name = "ID", value_parser = id)]
    api_id: Option<String>,
    /// Of logs: only calls that ended so, like 200
    #[arg(long, value_name = "RESULT")]
    result: Option<String>,
    /// Of logs: only calls from this time on, like 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<DateTime>,
    /// Of logs: only calls until this time
    #[arg(long, value_name = "TIME")]
    to: Option<DateTime>,
    /// Of logs: only what follows this entry
    #[arg(long, value_name = "ID", value_parser = id)]
    after: Option<String>,
}

impl Logs {
    /// What is said, as parameters of a query.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let time = |time: &Option<DateTime>| time.as_ref().map(ToString::to_string);
        [
            ("aef", self.aef.clone()),
            ("invoker", self.invoker.clone()),
            ("api", self.api.clone()),
            ("apiId", self.api_id.clone()),
            ("result", self.result.clone()),
            ("from", time(&self.from)),
            ("to", time(&self.to)),
            ("after", self.after.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// The onboarded API invokers
    Invokers,
    /// The enrolments that wait for the operator, and those that were rejected lately
    Pending,
    /// The published service APIs
    Apis,
    /// What invokers negotiated: which method at which AEF
    Contexts,
    /// The event subscriptions, and how many notifications wait
    Events,
    /// The invocations that AEFs reported, at most 1000 at a time
    Logs,
    /// The registered provider domains
    Providers,
    /// Who has not acknowledged a notification or revocation for over a minute
    Alarms,
    /// Who is asked to renew, and who is overdue
    Renewals,
    /// The certificates, secrets and enrolments that end soon
    Expiring,
    /// The API invokers that were here, as far as account of them is kept
    Offboarded,
    /// The event subscriptions in full, and since when what waits for each
    Subscriptions,
    /// What waits for whom, and since when: events, revocations, callbacks
    Notifications,
    /// How long invocation logs are kept, API by API
    #[value(skip)]
    Retentions,
    /// Behind which APIs the topology is hidden, and by which AEF
    Hidden,
    /// The access control policies
    #[value(skip)]
    Policies,
    /// What is shown to whom in discovery
    #[value(skip)]
    DiscoveryPolicies,
    /// The accounts of the account service
    #[value(skip)]
    Accounts,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let query = query(&args)?;
    let operator = args.folder.operator()?;
    show_path(&operator, args.what, &query, args.output, |_| true).await
}

/// Shows a listing.
pub(crate) async fn show(operator: &Operator, what: What, format: Format) -> Result<Exit, Failure> {
    show_some(operator, what, format, |_| true).await
}

/// Shows those rows of a listing that are wanted.
pub(crate) async fn show_some(
    operator: &Operator,
    what: What,
    format: Format,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Exit, Failure> {
    show_path(operator, what, "", format, wanted).await
}

async fn show_path(
    operator: &Operator,
    what: What,
    query: &str,
    format: Format,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Exit, Failure> {
    let mut rows: Vec<Value> = operator.get(&format!("/{}{query}", what.path())).await?;
    rows.retain(wanted);
    match format {
        Format::Json => output::json(&rows)?,
        Format::Table => {
            let columns = what.columns();
            let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
            let cells: Vec<Vec<String>> = rows.iter().map(|row| cells(row, columns)).collect();
            output::table(&headings, &cells)?;
        }
    }
    Ok(Exit::Done)
}

fn query(args: &Args) -> Result<String, Failure> {
    if let Some(within) = &args.within {
        if args.what != What::Expiring {
            return Err(Failure::usage("--within belongs to `capif list expiring`"));
        }
        return Ok(format!("?withinSeconds={}", within.as_secs()));
    }
    let given = args.logs.parameters();
    if given.is_empty() {
        return Ok(String::new());
    }
    if args.what != What::Logs {
        return Err(Failure::usage(
            "--aef, --invoker, --api, --api-id, --result, --from, --to and --after belong to `capif list logs`",
        ));
    }
    let query =
        serde_urlencoded::to_string(given).map_err(|error| Failure::of(Exit::Usage, &error))?;
    Ok(format!("?{query}"))
}

/// An id as it may stand in a query.
fn id(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("an id has letters, digits, `-`, `_`, `.` and `/` only".to_owned())
    }
}

/// A heading, and where the cells below it come from: JSON pointers, of which `*` stands for every element of a list.
type Column = (&'static str, &'static str);

impl What {
    fn path(self) -> &'static str {
        match self {
            Self::Invokers => "invokers",
            Self::Pending => "pending",
            Self::Apis => "apis",
            Self::Contexts => "contexts",
            Self::Events => "events",
            Self::Logs => "logs",
            Self::Providers => "providers",
            Self::Alarms => "alarms",
            Self::Renewals => "renewals",
            Self::Expiring => "expiring",
            Self::Offboarded => "offboarded",
            Self::Subscriptions => "subscriptions",
            Self::Notifications => "notifications",
            Self::Retentions => "retentions",
            Self::Hidden => "hidden",
            Self::Policies => "policies",
            Self::DiscoveryPolicies => "discovery-policies",
            Self::Accounts => "accounts",
        }
    }

    fn columns(self) -> &'static [Column] {
        match self {
            Self::Invokers => &[
                ("INVOKER", "/apiInvokerId"),
                ("ONBOARDED", "/onboarded"),
                ("CERTIFICATE ENDS", "/certificateEnds"),
                ("APIS", "/apis"),
                ("BARRED", "/barred"),
                ("BY", "/issuer"),
                ("INFORMATION", "/information"),
            ],
            Self::Pending => &[
                ("ID", "/id"),
                ("WHAT", "/what"),
                ("SINCE", "/since"),
                ("UNTIL", "/until"),
                ("WANTED", "/apis"),
                ("ALLOWED", "/allowed"),
                ("ISSUER", "/issuer"),
                ("INFORMATION", "/information"),
                ("REJECTED", "/rejected"),
                ("REASON", "/reason"),
            ],
            Self::Apis => &[
                ("API", "/apiName"),
                ("ID", "/apiId"),
                ("PROVIDER", "/apiProvDomId"),
                ("AEF", "/aefProfiles/*/aefId"),
                ("METHODS", "/aefProfiles/*/securityMethods"),
            ],
            Self::Contexts => &[
                ("INVOKER", "/apiInvokerId"),
                ("AEF", "/aefId"),
                ("API", "/apiId"),
                ("METHOD", "/selSecurityMethod"),
            ],
            Self::Events => &[
                ("SUBSCRIBER", "/subscriber"),
                ("ROLE", "/role"),
                ("WAITING", "/waiting"),
                ("EVENTS", "/events"),
                ("DESTINATION", "/notificationDestination"),
            ],
            Self::Logs => &[
                ("RECEIVED", "/received"),
                ("INVOKER", "/apiInvokerId"),
                ("API", "/log/apiName"),
                ("OPERATION", "/log/operation"),
                ("URI", "/log/uri"),
                ("RESULT", "/log/result"),
            ],
            Self::Providers => &[
                ("PROVIDER", "/apiProvDomId"),
                ("NAME", "/name"),
                ("REGISTERED", "/registered"),
                ("BY", "/issuer"),
                ("REUSABLE UNTIL", "/reusableUntil"),
                ("ROLES", "/functions/*/role"),
                ("FUNCTIONS", "/functions/*/id"),
            ],
            Self::Subscriptions => &[
                ("SUBSCRIPTION", "/subscriptionId"),
                ("SUBSCRIBER", "/subscriber"),
                ("ROLE", "/role"),
                ("WAITING", "/waiting"),
                ("SINCE", "/since"),
                ("DELIVERED", "/delivered"),
                ("WEBSOCKET", "/websocket"),
                ("EVENTS", "/events"),
                ("DESTINATION", "/notificationDestination"),
            ],
            Self::Retentions => &[
                ("API", "/apiName"),
                ("ID", "/apiId"),
                ("HOURS", "/hours"),
                ("PUBLISHED", "/published"),
            ],
            Self::Alarms | Self::Notifications => &[
                ("RECEIVER", "/receiver"),
                ("SINCE", "/since"),
                ("WAITING", "/waiting"),
                ("WHAT", "/what"),
                ("DESTINATION", "/destination"),
            ],
            Self::Renewals => &[
                ("ID", "/id"),
                ("ROLE", "/role"),
                ("REASON", "/reason"),
                ("SINCE", "/since"),
                ("DEADLINE", "/deadline"),
                ("OVERDUE", "/overdue"),
                ("HANDED OVER", "/handedOver"),
                ("CERTIFICATE ENDS", "/certificateEnds"),
                ("SECRET ENDS", "/secretEnds"),
                ("ENROLMENT ENDS", "/enrolmentEnds"),
            ],
            Self::Expiring => &[
                ("ID", "/id"),
                ("ROLE", "/role"),
                ("WHAT", "/what"),
                ("ENDS", "/ends"),
                ("RENEWS", "/renews"),
                ("HANDED OVER", "/handedOver"),
            ],
            Self::Offboarded => &[
                ("INVOKER", "/apiInvokerId"),
                ("ONBOARDED", "/onboarded"),
                ("OFFBOARDED", "/offboarded"),
                ("REASON", "/reason"),
                ("CONTEXTS", "/contexts"),
                ("REACHED", "/apis"),
                ("CALLS", "/invocations"),
            ],
            Self::Accounts => &[
                ("NAME", "/username"),
                ("UUID", "/uuid"),
                ("ADMINISTRATOR", "/administrator"),
                ("MADE", "/onboarding_date"),
                ("ENTERPRISE", "/enterprise"),
                ("EMAIL", "/email"),
            ],
            Self::Hidden => &[
                ("API", "/name"),
                ("ID", "/apiId"),
                ("PROVIDER", "/apiProvDomId"),
                ("BY", "/aefId"),
                ("BEHIND", "/behind"),
                ("ROUTES", "/routes"),
                ("APIS", "/apis"),
                ("STATE", "/state"),
            ],
            Self::Policies => &[
                ("API", "/apiName"),
                ("ID", "/apiId"),
                ("FOR", "/apiInvokerId"),
                ("TOTAL", "/total"),
                ("USED", "/used"),
                ("PER SECOND", "/perSecond"),
                ("SLICES", "/slices"),
                ("FROM", "/times/*/from"),
                ("TO", "/times/*/to"),
            ],
            Self::DiscoveryPolicies => &[
                ("WHO", "/who"),
                ("BY", "/by"),
                ("OF", "/of"),
                ("SHOWN", "/shows"),
                ("PUBLISHED", "/meets"),
                ("FROM", "/from"),
            ],
        }
    }
}

fn cells(row: &Value, columns: &[Column]) -> Vec<String> {
    columns
        .iter()
        .map(|(heading, pointer)| {
            let cell = match pointer.split_once("/*") {
                None => row.pointer(pointer).map(text),
                Some((list, rest)) => row.pointer(list).and_then(Value::as_array).map(|list| {
                    let cells = list.iter().filter_map(|element| element.pointer(rest));
                    joined(cells.map(text))
                }),
            };
            match cell {
                Some(cell) if !cell.is_empty() => cell,
                // An enrolment without a list reaches every API.
                _ if ["APIS", "WANTED", "ALLOWED"].contains(heading) => "all".to_owned(),
                // A policy that names nobody is for each one without a policy of its own.
                _ if *heading == "FOR" => "everyone".to_owned(),
                _ => String::new(),
            }
        })
        .collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text
            .parse()
            .map_or_else(|_| text.clone(), |time| output::time(&time)),
        Value::Array(list) => joined(list.iter().map(text)),
        other => other.to_string(),
    }
}

fn joined(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_become_cells() {
        let row = json!({
            "apiInvokerId": "INV1",
            "onboarded": "2026-11-21T05:09:03.123456789Z",
            "certificateEnds": "2027-02-19T05:09:03Z",
            "apis": null,
            "information": null,
        });
        assert_eq!(
            cells(&row, What::Invokers.columns()),
            [
                "INV1",
                "2026-11-21T05:09:03Z",
                "2027-02-19T05:09:03Z",
                "all",
                "",
                "",
                ""
            ]
        );
        let row = json!({
            "apiName": "weather",
            "apiId": "API1",
            "apiProvDomId": "DOM1",
            "aefProfiles": [{ "aefId": "AEF1", "securityMethods": ["PKI", "OAUTH"] }, { "aefId": "AEF2" }],
        });
        assert_eq!(
            cells(&row, What::Apis.columns()),
            ["weather", "API1", "DOM1", "AEF1,AEF2", "PKI,OAUTH"]
        );
        let row = json!({
            "apiName": "weather",
            "apiId": "API1",
            "apiInvokerId": null,
            "total": 100,
            "used": 7,
            "perSecond": null,
            "times": [
                { "from": "2026-11-21T08:00:00Z", "to": "2026-11-21T12:00:00Z" },
                { "from": "2026-11-22T08:00:00Z", "to": null },
            ],
        });
        assert_eq!(
            cells(&row, What::Policies.columns()),
            [
                "weather",
                "API1",
                "everyone",
                "100",
                "7",
                "",
                "",
                "2026-11-21T08:00:00Z,2026-11-22T08:00:00Z",
                "2026-11-21T12:00:00Z,"
            ]
        );
    }

    #[test]
    fn filters_belong_to_logs() {
        let args = |what, aef: Option<&str>| Args {
            what,
            output: Format::Table,
            within: None,
            logs: Logs {
                aef: aef.map(str::to_owned),
                ..Logs::default()
            },
            folder: CcfFolder {
                dir: ".".into(),
                remote: Default::default(),
            },
        };
        assert_eq!(query(&args(What::Logs, Some("AEF1"))).unwrap(), "?aef=AEF1");
        assert_eq!(query(&args(What::Invokers, None)).unwrap(), "");
        assert_eq!(
            query(&args(What::Invokers, Some("AEF1"))).unwrap_err().exit,
            Exit::Usage
        );
        let within = |what| Args {
            within: Some(Duration::from_secs(3600)),
            ..args(what, None)
        };
        assert_eq!(
            query(&within(What::Expiring)).unwrap(),
            "?withinSeconds=3600"
        );
        assert_eq!(query(&within(What::Logs)).unwrap_err().exit, Exit::Usage);
        let some = Args {
            logs: Logs {
                api: Some("a&b".to_owned()),
                from: Some("2026-01-31T08:00:00Z".parse().unwrap()),
                ..Logs::default()
            },
            ..args(What::Logs, None)
        };
        assert_eq!(
            query(&some).unwrap(),
            "?api=a%26b&from=2026-01-31T08%3A00%3A00Z"
        );
        assert!(id("AEF1/0001").is_ok() && id("a&b").is_err() && id("").is_err());
    }
}

//! `capif renew`

use std::time::Duration;

use capif_ccf::admin::{Asked, NewRenewals};

use crate::{
    ca::duration,
    choice::id,
    exit::{Exit, Failure},
    operator::{CcfFolder, dir_option},
    output,
};

/// Of how many is spoken by name.
const NAMED_MAX: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// What they hold may be in other hands: from now on it counts for nothing but its renewal
    #[arg(long)]
    compromise: bool,
    /// How long they have for it, like 7d, 12h or 30m [default: as configured]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    within: Option<Duration>,
    #[command(flatten)]
    folder: CcfFolder,
}

/// Exactly one of these, so that nobody is asked by forgetting an option.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// API invokers, provider functions, or provider domains with all their functions, as `capif list` shows them
    #[arg(value_name = "ID", value_parser = id)]
    ids: Vec<String>,
    /// All functions of the provider of this name
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Everyone
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let named = !args.whom.ids.is_empty();
    let wanted = NewRenewals {
        ids: args.whom.ids,
        provider: args.whom.provider,
        all: args.whom.all,
        compromise: args.compromise,
        within_seconds: args.within.map(|within| within.as_secs()),
    };
    let asked: Asked = args.folder.operator()?.post("/renewals", &wanted).await?;
    output::note(&said(&asked, args.compromise));
    if !asked.asked.is_empty() {
        output::note(&format!(
            "`capif list renewals{}` shows who has not done it yet",
            dir_option(&args.folder.dir)
        ));
    }
    if asked.unable.is_empty() || (!named && !asked.asked.is_empty()) {
        if !asked.unable.is_empty() {
            output::note(&unable(&asked.unable));
        }
        return Ok(Exit::Done);
    }
    Err(Failure::new(Exit::Refused, unable(&asked.unable)))
}

/// What was asked, of how many, and what that means for them.
fn said(asked: &Asked, compromise: bool) -> String {
    let many = match asked.asked.as_slice() {
        [] => return "nobody is asked to renew".to_owned(),
        [id] => format!("{id} is"),
        several => format!("{} are", several.len()),
    };
    let deadline = output::time(&asked.deadline);
    if compromise {
        format!(
            "{many} asked to renew at once: what was held until now counts for nothing else, and calls go on after the renewal; \
             without it by {deadline} it is overdue"
        )
    } else {
        format!(
            "{many} asked to renew by {deadline}; calls go on meanwhile, and old and new count side by side for a while"
        )
    }
}

fn unable(ids: &[String]) -> String {
    let named = ids.iter().take(NAMED_MAX).map(String::as_str);
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match ids.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{named}{more} never agreed to renew and cannot be asked to; `capif revoke` or `capif offboard` shuts out, \
         and a new enrolment brings new certificates"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(asked: &[&str], unable: &[&str]) -> Asked {
        let texts = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Asked {
            asked: texts(asked),
            unable: texts(unable),
            deadline: "2026-02-07T12:00:00.5Z".parse().unwrap(),
        }
    }

    #[test]
    fn what_happens_is_said_with_its_number() {
        let one = said(&asked(&["INV1"], &[]), false);
        assert!(one.starts_with("INV1 is asked to renew by 2026-02-07T12:00:00Z; calls go on"));
        let two = said(&asked(&["INV1", "INV2"], &[]), true);
        assert!(two.starts_with("2 are asked to renew at once"), "{two}");
        assert_eq!(
            said(&asked(&[], &["INV1"]), true),
            "nobody is asked to renew"
        );
    }

    #[test]
    fn who_cannot_be_asked_is_named() {
        let ids: Vec<String> = (0..12).map(|number| format!("INV{number}")).collect();
        let said = unable(&ids);
        assert!(said.contains("INV9 and 2 more never agreed"), "{said}");
        assert!(unable(&ids[..1]).starts_with("INV0 never agreed"));
    }
}

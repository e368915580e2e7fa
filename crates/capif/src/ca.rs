//! `capif ca`

use std::time::Duration;

use capif_ccf::admin::{Authorities, GenerationStatus, Roll};
use clap::Subcommand;
use serde_json::json;

use crate::{
    exit::{Exit, Failure},
    operator::{CcfFolder, dir_option},
    output::{self, Format},
    seal,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the authorities: which one signs, which ones count, when they end
    Status(Status),
    /// Let another authority follow: it signs from now on, the one before counts beside it for a while
    Roll(RollArgs),
    /// End the overlap before its time: nothing that the authority before signed counts any more
    Retire(Retire),
    /// Seal the files with private keys under a passphrase, or under another one
    Seal(seal::Args),
}

#[derive(Debug, clap::Args)]
struct Status {
    /// How the list is written
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
struct RollArgs {
    /// Begin with a new root too, signed by the one before
    #[arg(long)]
    root: bool,
    /// For how long the authority before counts beside the new one, like 30d, 12h, 45m or 90s; 0s ends it at once
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = duration)]
    overlap: Duration,
    /// Do it without an overlap although certificates of the authority before are still in use
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
struct Retire {
    /// Do it although certificates of that authority are still in use
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    folder: CcfFolder,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::Status(args) => {
            let authorities = args.folder.operator()?.get("/authority").await?;
            show(&authorities, args.output)
        }
        Command::Roll(args) => roll(args).await,
        Command::Retire(args) => retire(args).await,
        Command::Seal(args) => seal::run(&args),
    }
}

async fn roll(args: RollArgs) -> Result<Exit, Failure> {
    let roll = Roll {
        root: args.root,
        overlap_seconds: args.overlap.as_secs(),
    };
    let operator = args.folder.operator()?;
    if args.overlap.is_zero() {
        let before: Authorities = operator.get("/authority").await?;
        may_end(in_state(&before, "current"), args.yes)?;
    }
    let authorities: Authorities = operator.post("/authority/roll", &roll).await?;
    let option = dir_option(&args.folder.dir);
    if let Some(current) = in_state(&authorities, "current") {
        output::note(&format!(
            "authority {} signs from now on; everyone is asked to renew, which `capif ca status{option}` counts",
            current.number
        ));
        if args.root {
            output::note(&format!(
                "enrolment codes carry the new root from now on (SHA-256 {}); hand ca/root-{}.pem to whoever keeps the root by hand",
                current.root_fingerprint, current.number
            ));
        }
    }
    if let Some(before) = in_state(&authorities, "overlapping") {
        output::note(&format!(
            "authority {} counts until {}; to end it earlier: capif ca retire{option}",
            before.number,
            before.at.as_ref().map_or_else(String::new, output::time)
        ));
    }
    Ok(Exit::Done)
}

async fn retire(args: Retire) -> Result<Exit, Failure> {
    let operator = args.folder.operator()?;
    let before: Authorities = operator.get("/authority").await?;
    may_end(in_state(&before, "overlapping"), args.yes)?;
    let _after: Authorities = operator.post("/authority/retire", &json!({})).await?;
    if let Some(old) = in_state(&before, "overlapping") {
        output::note(&format!(
            "authority {} is retired: its certificates are refused from now on, and gateways are told",
            old.number
        ));
    }
    Ok(Exit::Done)
}

/// Whoever still uses a certificate of an authority is shut out when that ends, and may have to enrol anew.
fn may_end(old: Option<&GenerationStatus>, yes: bool) -> Result<(), Failure> {
    match old.filter(|old| old.certificates > 0 && !yes) {
        None => Ok(()),
        Some(old) => Err(Failure::new(
            Exit::Conflict,
            format!(
                "{} certificates of authority {} are in use and would end with it: give their holders the time of an overlap to renew, or add --yes",
                old.certificates, old.number
            ),
        )),
    }
}

fn in_state<'a>(authorities: &'a Authorities, state: &str) -> Option<&'a GenerationStatus> {
    let mut generations = authorities.generations.iter();
    generations.find(|generation| generation.state == state)
}

fn show(authorities: &Authorities, format: Format) -> Result<Exit, Failure> {
    if format == Format::Json {
        output::json(authorities)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = authorities
        .generations
        .iter()
        .map(|generation| {
            vec![
                generation.number.to_string(),
                generation.state.clone(),
                generation
                    .at
                    .as_ref()
                    .map_or_else(String::new, output::time),
                output::time(&generation.expires),
                output::time(&generation.root_expires),
                generation.certificates.to_string(),
                generation.root_fingerprint.clone(),
            ]
        })
        .collect();
    let headings = [
        "AUTHORITY",
        "STATE",
        "UNTIL/SINCE",
        "ENDS",
        "ROOT ENDS",
        "IN USE",
        "ROOT SHA-256",
    ];
    output::table(&headings, &rows)?;
    output::note(&format!(
        "the core function's own certificate ends {}",
        output::time(&authorities.own_certificate_expires)
    ));
    for warning in authorities
        .generations
        .iter()
        .flat_map(|generation| &generation.warnings)
    {
        output::note(&format!("warning: {warning}"));
    }
    Ok(Exit::Done)
}

/// Reads a time like `30d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "give a number with d, h, m or s behind it, like 30d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        'd' => 86_400,
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    // A sign would be read as part of a number.
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_shut_out_by_mistake() {
        let of = |certificates: usize| {
            let status = json!({
                "number": 1,
                "state": "current",
                "created": "2026-01-01T00:00:00Z",
                "expires": "2026-01-01T00:00:00Z",
                "rootExpires": "2026-01-01T00:00:00Z",
                "rootFingerprint": "",
                "certificates": certificates,
            });
            serde_json::from_value::<GenerationStatus>(status).unwrap()
        };
        assert!(may_end(None, false).is_ok());
        assert!(may_end(Some(&of(0)), false).is_ok());
        assert!(may_end(Some(&of(1)), true).is_ok());
        let error = may_end(Some(&of(3)), false).unwrap_err().to_string();
        assert!(error.contains("3 certificates"), "{error}");
    }

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        for (text, seconds) in [
            ("30d", 2_592_000),
            ("12h", 43_200),
            ("45m", 2700),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "d",
            "30",
            "-1d",
            "+1d",
            "1.5h",
            "30 d",
            "1w",
            "99999999999999999999d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}

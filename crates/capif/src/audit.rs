//! `capif audit`

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use capif_ccf::{
    admin::Heads,
    audit::{
        AuditRecord, HEAD_FILE,
        verification::{Broken, Mark, Verification, Verified},
    },
    store::{Chained, Link},
};
use capif_spec::common::DateTime;
use clap::Subcommand;

use crate::{
    exit::{Exit, Failure},
    operator::{CcfFolder, Operator},
    output::{self, Format},
};

/// The headings of a listing.
const HEADINGS: [&str; 7] = [
    "RECORD",
    "TIME",
    "ACTOR",
    "OPERATION",
    "SUBJECT",
    "OUTCOME",
    "DETAIL",
];

/// How often a trail that seems broken is looked at: it may have been pruned while it was read.
const ATTEMPTS: usize = 2;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether the audit trail is whole; exit code 2 and the first broken place if not
    Verify(Verify),
    /// List the records of the audit trail
    List(List),
    /// Print the last record's number and link, to be noted elsewhere
    Head(CcfFolder),
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// A link that was noted earlier and must stand in the trail
    #[arg(long, value_name = "HEX", value_parser = digest)]
    head: Option<[u8; 32]>,
    /// Verify a file that `capif audit list --output json` wrote, in the place of a core function
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    file: Option<PathBuf>,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only what happened at this time or later, like 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<DateTime>,
    /// Only what was done to or by this ID
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// How the list is written; JSON is one record per line, to the letter
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    folder: CcfFolder,
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    let link = Link::parse(0, text).map_err(|_| "a link has 64 hexadecimal digits".to_owned())?;
    Ok(link.digest)
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::Verify(args) => verify(&args).await,
        Command::List(args) => list(&args).await,
        Command::Head(folder) => {
            let heads: Heads = folder.operator()?.get("/audit/head").await?;
            match heads.end {
                Some(end) => output::line(&end)?,
                None => output::note("the audit trail is empty"),
            }
            Ok(Exit::Done)
        }
    }
}

async fn verify(args: &Verify) -> Result<Exit, Failure> {
    let noted: Vec<Mark> = args
        .head
        .map(|digest| Mark {
            noted: "--head",
            sequence: None,
            digest,
        })
        .into_iter()
        .collect();
    let outcome = match &args.file {
        Some(file) => verify_file(file, noted)?,
        None => verify_served(&args.folder.operator()?, &noted).await?,
    };
    let verified = outcome.map_err(|broken| {
        Failure::new(
            Exit::Refused,
            format!("the audit trail is broken at {broken}"),
        )
    })?;
    output::note(&match (verified.records, verified.base.sequence) {
        (0, 0) => "the audit trail is whole: it is empty".to_owned(),
        (records, 0) => format!("the audit trail is whole: {records} records"),
        (records, pruned) => {
            format!(
                "the audit trail is whole: {records} records after the {pruned} that were pruned"
            )
        }
    });
    // What can be noted elsewhere, in the form in which `capif audit head` prints it.
    output::line(&verified.end.to_string())?;
    Ok(Exit::Done)
}

/// Verifies what a core function serves, with its head file.
pub(crate) async fn verify_served(
    operator: &Operator,
    noted: &[Mark],
) -> Result<Result<Verified, Broken>, Failure> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match verify_pages(operator, noted.to_vec()).await? {
            Err(_) if attempts < ATTEMPTS => {}
            outcome => return Ok(outcome),
        }
    }
}

async fn verify_pages(
    operator: &Operator,
    mut marks: Vec<Mark>,
) -> Result<Result<Verified, Broken>, Failure> {
    let heads: Heads = operator.get("/audit/head").await?;
    if heads.file.is_none() {
        output::note(&format!(
            "warning: {HEAD_FILE} is missing: that nothing is cut off at the end is not known"
        ));
    }
    if let Some(text) = heads.file {
        let link: Link = text.parse().map_err(|error| {
            Failure::new(
                Exit::Refused,
                format!("the audit trail cannot be held against {HEAD_FILE} ({error})"),
            )
        })?;
        marks.push(Mark {
            noted: HEAD_FILE,
            sequence: Some(link.sequence),
            digest: link.digest,
        });
    }
    let mut verification = Verification::new(marks);
    let mut after = None;
    loop {
        let page = page(operator, after).await?;
        let Some(last) = page.last() else {
            return Ok(verification.finish());
        };
        after = Some(last.sequence);
        for chained in &page {
            if let Err(broken) = verification.take(chained) {
                return Ok(Err(broken));
            }
        }
    }
}

async fn page(operator: &Operator, after: Option<u64>) -> Result<Vec<Chained>, Failure> {
    let query = after.map_or_else(String::new, |after| format!("?after={after}"));
    operator.get(&format!("/audit{query}")).await
}

fn verify_file(path: &Path, marks: Vec<Mark>) -> Result<Result<Verified, Broken>, Failure> {
    let failure = |error: std::io::Error| {
        Failure::usage(format!("{} cannot be read ({error})", path.display()))
    };
    let mut verification = Verification::new(marks);
    for line in BufReader::new(File::open(path).map_err(failure)?).lines() {
        let Ok(chained) = serde_json::from_str::<Chained>(&line.map_err(failure)?) else {
            return Ok(Err(Broken {
                sequence: verification.end().sequence.saturating_add(1),
                reason: "its line is none that `capif audit list --output json` wrote".to_owned(),
            }));
        };
        if let Err(broken) = verification.take(&chained) {
            return Ok(Err(broken));
        }
    }
    Ok(verification.finish())
}

async fn list(args: &List) -> Result<Exit, Failure> {
    let operator = args.folder.operator()?;
    let everything = args.since.is_none() && args.subject.is_none();
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = page(&operator, after).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.sequence);
        for chained in &page {
            let record: Option<AuditRecord> = serde_json::from_str(chained.record.get()).ok();
            let wanted = match &record {
                Some(record) => is_wanted(record, args),
                // What stands for pruned records belongs to the whole, and to a file of the whole.
                None => everything,
            };
            match (args.output, record) {
                _ if !wanted => {}
                (Format::Json, _) => output::line(
                    &serde_json::to_string(chained)
                        .map_err(|error| Failure::of(Exit::Usage, &error))?,
                )?,
                (Format::Table, Some(record)) => rows.push(cells(chained.sequence, record)),
                (Format::Table, None) => {}
            }
        }
    }
    if args.output == Format::Table {
        output::table(&HEADINGS, &rows)?;
    }
    Ok(Exit::Done)
}

fn is_wanted(record: &AuditRecord, args: &List) -> bool {
    let by = |id: &str| record.actor.rsplit(' ').next() == Some(id);
    args.since.as_ref().is_none_or(|since| record.at >= *since)
        && args
            .subject
            .as_ref()
            .is_none_or(|id| record.subject == *id || by(id))
}

fn cells(sequence: u64, record: AuditRecord) -> Vec<String> {
    vec![
        sequence.to_string(),
        output::time(&record.at),
        record.actor,
        record.operation,
        record.subject,
        record.outcome.to_string(),
        record.detail,
    ]
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const RECORD: &str = r#"{"at":"2026-01-31T12:00:00Z","actor":"AEF AEF1","operation":"Op","subject":"INV1","outcome":"done"}"#;

    fn export(count: usize) -> Vec<String> {
        let mut link = Link::default();
        let mut lines = Vec::new();
        for _ in 0..count {
            link = link.next(RECORD.as_bytes());
            lines.push(format!(
                "{{\"sequence\":{},\"link\":\"{}\",\"record\":{RECORD}}}",
                link.sequence,
                link.hex()
            ));
        }
        lines
    }

    fn verified(lines: &[String], head: Option<&str>) -> Result<Verified, Broken> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in lines {
            writeln!(file, "{line}").unwrap();
        }
        let marks = head.map(|head| Mark {
            noted: "--head",
            sequence: None,
            digest: digest(head).unwrap(),
        });
        verify_file(file.path(), marks.into_iter().collect()).unwrap()
    }

    /// A file of the trail is verified like the trail, against a link that was noted when it was shorter.
    #[test]
    fn a_file_is_verified() {
        let lines = export(5);
        let outcome = verified(&lines, None).unwrap();
        assert_eq!((outcome.records, outcome.end.sequence), (5, 5));
        let third = export(3).pop().unwrap();
        let third: Chained = serde_json::from_str(&third).unwrap();
        verified(&lines, Some(&third.link)).unwrap();
        let broken = verified(&lines[..2], Some(&third.link)).unwrap_err();
        assert!(broken.reason.contains("--head"), "{broken}");

        let mut edited = lines.clone();
        edited[3] = edited[3].replace("INV1", "INV2");
        assert_eq!(verified(&edited, None).unwrap_err().sequence, 4);
        edited[1] = "no JSON".to_owned();
        assert_eq!(verified(&edited, None).unwrap_err().sequence, 2);
    }

    #[test]
    fn a_listing_is_narrowed_by_time_and_by_id() {
        let record: AuditRecord = serde_json::from_str(RECORD).unwrap();
        let wanted = |since: Option<&str>, subject: Option<&str>| {
            let args = List {
                since: since.map(|since| since.parse().unwrap()),
                subject: subject.map(str::to_owned),
                output: Format::Table,
                folder: CcfFolder {
                    dir: "d".into(),
                    remote: Default::default(),
                },
            };
            is_wanted(&record, &args)
        };
        assert!(wanted(None, None));
        assert!(wanted(Some("2026-01-31T12:00:00Z"), Some("INV1")));
        assert!(wanted(None, Some("AEF1")));
        assert!(!wanted(Some("2026-01-31T12:00:01Z"), None));
        assert!(!wanted(None, Some("INV")));
    }
}

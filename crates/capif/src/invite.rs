//! `capif invite`

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use capif_ccf::admin::{EnrolmentParts, NewInvite};
use capif_client::EnrolmentCode;
use capif_spec::common::{DateTime, Redacted};
use capif_transport::{Clock, SystemClock};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::{
    exit::{Exit, Failure},
    folder::root_of,
    input,
    operator::{CcfFolder, Operator},
    output, provider,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An API that the invoker may use; may be repeated [default: all]
    #[arg(long = "api", value_name = "NAME")]
    apis: Vec<String>,
    /// How long the code can be used [default: onboarding.credential_minutes of capif.toml]
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=43_200))]
    minutes: Option<u32>,
    /// Whoever enrols with it waits for `capif approve` [default: onboarding.approval of capif.toml]
    #[arg(long)]
    approval: bool,
    /// What is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Write the three parts to files in this folder: ccf-address, ca.pem, credential
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Instead of making out a credential, take the one in this file, which somebody else issued; `-` is standard input
    #[arg(
        long,
        value_name = "FILE",
        requires = "expires_minutes",
        conflicts_with_all = ["minutes", "out", "token_sha256"]
    )]
    token_file: Option<PathBuf>,
    /// As --token-file, by its SHA-256 alone
    #[arg(
        long,
        value_name = "HEX",
        requires = "expires_minutes",
        conflicts_with_all = ["minutes", "out"],
        value_parser = digest
    )]
    token_sha256: Option<String>,
    /// How long the credential of --token-file or --token-sha256 can be used
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=43_200))]
    expires_minutes: Option<u32>,
    #[command(flatten)]
    folder: CcfFolder,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// One enrolment code and nothing else
    #[default]
    Code,
    /// The three parts of TS 33.122 clause 6.1 as one JSON object: address, caPem, credential; and when it expires
    Json,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let operator = args.folder.operator()?;
    if args.token_file.is_some() || args.token_sha256.is_some() {
        return hand_over(&operator, args).await;
    }
    if args.expires_minutes.is_some() {
        return Err(Failure::usage(
            "--expires-minutes belongs to --token-file or --token-sha256; use --minutes for a new code",
        ));
    }
    if let Some(folder) = &args.out {
        prepare(folder)?;
    }
    let invite = NewInvite {
        apis: named(&args.apis),
        minutes: args.minutes,
        approval: args.approval,
    };
    let parts: EnrolmentParts = operator.post("/invites", &invite).await?;
    if let Some(folder) = &args.out {
        provider::write_secret(&folder.join(ADDRESS), &format!("{}\n", parts.address))?;
        provider::write_secret(&folder.join(CA), &parts.ca_pem)?;
        provider::write_secret(&folder.join(CREDENTIAL), parts.credential.expose())?;
        output::note(&format!(
            "wrote {ADDRESS}, {CA} and {CREDENTIAL} to {}",
            folder.display()
        ));
    }
    output::note(&format!(
        "enrols one API invoker for {} until {}; it is as secret as a password",
        reach(&args.apis),
        output::time(&parts.expires)
    ));
    match args.output {
        Output::Json => output::json(&parts)?,
        Output::Code if args.out.is_none() => {
            let code = EnrolmentCode {
                address: parts.address,
                ca_sha256: *root_of(&parts.ca_pem)?.as_bytes(),
                credential: parts.credential,
            };
            output::line(&code.to_string())?;
        }
        Output::Code => {}
    }
    Ok(Exit::Done)
}

const ADDRESS: &str = "ccf-address";
const CA: &str = "ca.pem";
const CREDENTIAL: &str = "credential";

/// Makes the folder, and sees to it before a credential is made out that nothing is in the way.
fn prepare(folder: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| Failure::usage(format!("cannot make {} ({error})", folder.display())))?;
    for name in [ADDRESS, CA, CREDENTIAL] {
        let path = folder.join(name);
        if path.exists() {
            return Err(provider::exists(&path));
        }
    }
    Ok(())
}

/// A credential for the operator's socket, or its digest alone.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HandOver {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Redacted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_sha256: Option<String>,
    expires: DateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    apis: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    approval: bool,
}

/// Tells the core function of a credential that somebody else issued (TS 33.122 clause 6.1 step 2 in its first form).
async fn hand_over(operator: &Operator, args: Args) -> Result<Exit, Failure> {
    // Holds because the command line demands it beside a token.
    let minutes = i64::from(args.expires_minutes.unwrap_or(1));
    let expires = DateTime(SystemClock.now() + time::Duration::minutes(minutes));
    let token = args.token_file.as_deref().map(input::text).transpose()?;
    let content = HandOver {
        token: token.map(|token| Redacted::from(token.trim())),
        token_sha256: args.token_sha256,
        expires: expires.clone(),
        apis: named(&args.apis),
        approval: args.approval,
    };
    let taken: Value = operator.post("/credentials", &content).await?;
    if args.output == Output::Json {
        output::json(&taken)?;
    }
    output::note(&format!(
        "the core function takes that credential once, for {}, until {}",
        reach(&args.apis),
        output::time(&expires)
    ));
    Ok(Exit::Done)
}

fn named(apis: &[String]) -> Option<BTreeSet<String>> {
    (!apis.is_empty()).then(|| apis.iter().cloned().collect())
}

fn reach(apis: &[String]) -> String {
    if apis.is_empty() {
        "every API".to_owned()
    } else {
        format!("API {}", apis.join(", "))
    }
}

fn digest(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a SHA-256 is 64 hexadecimal digits".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        assert_eq!(digest(&"AB".repeat(32)), Ok("ab".repeat(32)));
        for text in ["", "ab", &"xy".repeat(32), &"ab".repeat(33)] {
            assert!(digest(text).is_err(), "{text}");
        }
    }

    #[test]
    fn files_that_are_there_stay() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("parts");
        prepare(&folder).unwrap();
        fs::write(folder.join(CREDENTIAL), "old").unwrap();
        assert_eq!(prepare(&folder).unwrap_err().exit, Exit::Conflict);
    }
}

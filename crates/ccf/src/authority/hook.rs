//! An outside authority: a program of the operator has each certificate signed, wherever that may be.
//!
//! The program gets what shall be certified as one JSON object and answers with the certificate and its chain. It is not believed:
//! whatever it answers must certify that key for that name, role and time, and nothing more, and lead to the configured anchors.
//! When it fails, nothing is certified, and whoever asked is told to ask again.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use capif_procedures::state::{Certificate, CertificateOrder, Role};
use capif_spec::common::DateTime;
use rcgen::PublicKeyData;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::Semaphore,
};
use x509_parser::{
    certificate::X509Certificate,
    der_parser::{Oid, asn1_rs::oid},
    extensions::GeneralName,
    oid_registry,
};
use zeroize::Zeroizing;

use super::{AuthorityError, Terms, chain};
use crate::{config::AuthoritySection, random::sha256};

/// The number that stands in records for the outside authority; those of our own begin with 1.
pub(crate) const NUMBER: u32 = 0;

/// The longest answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// How much of what the program complains is logged.
const COMPLAINT_BYTES_MAX: u64 = 1024;

/// How many programs may run at a time.
const PROGRAMS_MAX: usize = 4;

/// How far a certificate may begin in the past, as one of ours would.
const BACKDATE: time::Duration = time::Duration::seconds(60);

/// How far the clock of the outside authority may be ahead.
const LEEWAY: time::Duration = time::Duration::seconds(30);

/// The outside authority did not certify.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The program does not start.
    #[error("the signing hook {program} does not start: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It did not answer in time.
    #[error("the signing hook did not answer within {0} seconds")]
    Slow(u64),
    /// It failed.
    #[error("the signing hook failed ({status}): {complaint}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to its standard error output.
        complaint: String,
    },
    /// It could not be talked to.
    #[error("the signing hook broke off: {0}")]
    Pipe(#[from] std::io::Error),
    /// What it answered is not what was asked for.
    #[error("the signing hook answered with a certificate that does not fit: {0}")]
    Unfit(String),
}

/// What shall be certified.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) id: String,
    pub(crate) role: Role,
    /// Host names and addresses; empty for those that only call.
    pub(crate) hosts: Vec<String>,
    /// The SubjectPublicKeyInfo.
    pub(crate) spki: Vec<u8>,
    pub(crate) not_after: OffsetDateTime,
}

impl Wanted {
    /// What a procedure allowed, in the words of the configuration.
    pub(super) fn of(order: &CertificateOrder, terms: &Terms, now: OffsetDateTime) -> Self {
        let end = now + terms.life(order.role());
        Self {
            id: order.id().to_owned(),
            role: order.role(),
            hosts: order.hosts().to_vec(),
            spki: order.public_key().spki.clone(),
            not_after: order.not_after().map_or(end, |bound| end.min(bound.0)),
        }
    }

    /// A certificate for the CCF itself, and the key for it, as PEM.
    ///
    /// # Errors
    /// When no key can be made.
    pub(super) fn own(
        ccf_id: &str,
        hosts: &[String],
        terms: &Terms,
        now: OffsetDateTime,
    ) -> Result<(Self, Zeroizing<String>), AuthorityError> {
        let key = terms.next_own_key()?;
        let wanted = Self {
            id: ccf_id.to_owned(),
            role: Role::Ccf,
            hosts: hosts.to_vec(),
            spki: key.subject_public_key_info(),
            not_after: now + terms.life(Role::Ccf),
        };
        Ok((wanted, Zeroizing::new(key.serialize_pem())))
    }
}

/// The same, as the program reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Order<'a> {
    id: &'a str,
    role: &'a str,
    public_key_pem: String,
    hosts: &'a [String],
    not_before: String,
    not_after: String,
    uri: String,
}

/// The program, and whom its certificates must lead to.
pub(crate) struct Hook {
    command: Vec<String>,
    patience: Duration,
    anchors: Vec<Vec<u8>>,
    anchors_pem: String,
    turns: Semaphore,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook")
            .field("program", &self.command.first())
            .finish_non_exhaustive()
    }
}

impl Hook {
    /// The hook of the configuration, if there is one.
    ///
    /// # Errors
    /// When its anchors cannot be read.
    pub(crate) fn open(section: &AuthoritySection) -> Result<Option<Self>, AuthorityError> {
        if section.hook.is_empty() {
            return Ok(None);
        }
        let file: &Path = &section.hook_ca_file;
        let text = std::fs::read_to_string(file).map_err(|source| AuthorityError::File {
            file: file.display().to_string(),
            source,
        })?;
        let unfit = |reason| AuthorityError::Material(format!("{}: {reason}", file.display()));
        let anchors = chain::certificates(&text).map_err(unfit)?;
        for anchor in &anchors {
            chain::parsed(anchor)
                .and_then(|anchor| chain::authority(&anchor, 0))
                .map_err(unfit)?;
        }
        Ok(Some(Self {
            command: section.hook.clone(),
            patience: Duration::from_secs(u64::from(section.hook_seconds)),
            anchors,
            anchors_pem: text,
            turns: Semaphore::new(PROGRAMS_MAX),
        }))
    }

    /// The trust anchors as PEM.
    pub(crate) fn anchors_pem(&self) -> &str {
        &self.anchors_pem
    }

    /// Has a certificate signed, and checks it.
    ///
    /// # Errors
    /// When the program fails, or answers with something else.
    pub(crate) async fn sign(
        &self,
        wanted: &Wanted,
        now: OffsetDateTime,
    ) -> Result<Certificate, HookError> {
        let order = order(wanted, now)?;
        let answer = tokio::time::timeout(self.patience, self.run(&order))
            .await
            .map_err(|_| HookError::Slow(self.patience.as_secs()))??;
        let answer = String::from_utf8(answer)
            .map_err(|_| HookError::Unfit("the answer is not text".to_owned()))?;
        self.checked(&answer, wanted, now).map_err(HookError::Unfit)
    }

    /// Runs the program. Whoever stops waiting ends it.
    async fn run(&self, order: &[u8]) -> Result<Vec<u8>, HookError> {
        // Holds because the semaphore is never closed; were it, the program would run without a turn.
        let _turn = self.turns.acquire().await;
        let (program, arguments) = match self.command.split_first() {
            Some((program, arguments)) => (program.as_str(), arguments),
            None => ("", [].as_slice()),
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| HookError::Start {
                program: program.to_owned(),
                source,
            })?;
        let mut group = Group::of(&child);
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let told = async {
            if let Some(mut stdin) = stdin {
                // A program that does not read what it is told may still answer.
                let _told = stdin.write_all(order).await;
            }
            Ok(())
        };
        let ((), answer, complaint) = tokio::try_join!(
            told,
            bounded(stdout, ANSWER_BYTES_MAX),
            bounded(stderr, COMPLAINT_BYTES_MAX),
        )?;
        let status = child.wait().await?;
        group.is_done();
        if !status.success() {
            return Err(HookError::Failed {
                status,
                complaint: String::from_utf8_lossy(&complaint).trim().to_owned(),
            });
        }
        if answer.len() as u64 >= ANSWER_BYTES_MAX {
            return Err(HookError::Unfit("the answer is too long".to_owned()));
        }
        Ok(answer)
    }

    fn checked(
        &self,
        answer: &str,
        wanted: &Wanted,
        now: OffsetDateTime,
    ) -> Result<Certificate, String> {
        let mut ders = chain::certificates(answer)?;
        let anchors = self
            .anchors
            .iter()
            .map(|der| chain::parsed(der))
            .collect::<Result<Vec<_>, _>>()?;
        let parsed = ders
            .iter()
            .map(|der| chain::parsed(der))
            .collect::<Result<Vec<_>, _>>()?;
        let leaf = parsed.first().ok_or("there is no certificate")?;
        fits(leaf, wanted, now)?;
        let begin = leaf.validity().not_before.to_datetime();
        chain::leads_to(&parsed, &anchors, now.max(begin))?;
        let not_after = leaf.validity().not_after.to_datetime();
        let not_before = leaf.validity().not_before.to_datetime();
        let serial = leaf.raw_serial().iter();
        let serial: String = serial.map(|octet| format!("{octet:02x}")).collect();
        let fingerprint = ders.first().map_or_else(|| sha256(&[]), |der| sha256(der));
        drop(parsed);
        ders.retain(|der| !self.anchors.contains(der));
        let chain: String = ders.iter().map(|der| chain::in_pem(der)).collect();
        Ok(Certificate {
            pem: chain.into(),
            fingerprint,
            public_key: sha256(&wanted.spki),
            not_after: DateTime(not_after),
            issued: Some(DateTime(not_before.max(now - BACKDATE))),
            serial,
            authority: NUMBER,
        })
    }
}

/// The program with whatever it started: a script that is ended must not leave behind what it was waiting for.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// The program has ended by itself: its id may be another's from now on.
    fn is_done(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // What has ended meanwhile need not be ended.
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

fn order(wanted: &Wanted, now: OffsetDateTime) -> Result<Vec<u8>, HookError> {
    let unfit = |error: &dyn std::fmt::Display| HookError::Unfit(error.to_string());
    let unix_lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let key = pem::Pem::new("PUBLIC KEY", wanted.spki.as_slice());
    let order = Order {
        id: &wanted.id,
        role: wanted.role.as_str(),
        public_key_pem: pem::encode_config(&key, unix_lines),
        hosts: &wanted.hosts,
        not_before: written(now - BACKDATE).map_err(|error| unfit(&error))?,
        not_after: written(wanted.not_after).map_err(|error| unfit(&error))?,
        uri: format!("urn:capif:{}", wanted.id),
    };
    let mut text = serde_json::to_vec(&order).map_err(|error| unfit(&error))?;
    text.push(b'\n');
    Ok(text)
}

fn written(moment: OffsetDateTime) -> Result<String, time::error::Format> {
    moment
        .replace_nanosecond(0)
        .unwrap_or(moment)
        .format(&Rfc3339)
}

async fn bounded(
    pipe: Option<impl AsyncRead + Unpin>,
    bytes_max: u64,
) -> Result<Vec<u8>, HookError> {
    let mut read = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(bytes_max).read_to_end(&mut read).await?;
        // The rest is thrown away, so that the program does not hang on a full pipe.
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(read)
}

/// Whether a certificate is for whom it was ordered, and for nothing else (R-T-04, D-23).
fn fits(leaf: &X509Certificate<'_>, wanted: &Wanted, now: OffsetDateTime) -> Result<(), String> {
    if leaf.public_key().raw != wanted.spki {
        return Err("it certifies another key".to_owned());
    }
    let one = |attribute: &Oid<'_>| {
        let mut values = leaf.subject().iter_by_oid(attribute);
        match (values.next(), values.next()) {
            (Some(value), None) => value.as_str().ok().map(str::to_owned),
            _ => None,
        }
    };
    if one(&oid_registry::OID_X509_COMMON_NAME).as_deref() != Some(wanted.id.as_str()) {
        return Err(format!("its common name is not `{}`", wanted.id));
    }
    let unit = one(&oid_registry::OID_X509_ORGANIZATIONAL_UNIT);
    if unit.as_deref() != Some(wanted.role.as_str()) {
        return Err(format!(
            "its organizational unit is not `{}`",
            wanted.role.as_str()
        ));
    }
    names_fit(leaf, wanted)?;
    let malformed = || "an extension stands there twice".to_owned();
    let constraints = leaf.basic_constraints().map_err(|_| malformed())?;
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err("it is a certificate of an authority".to_owned());
    }
    if chain::usage(leaf)?.is_some_and(|usage| {
        !usage.digital_signature() || usage.key_cert_sign() || usage.crl_sign()
    }) {
        return Err(
            "its key usage must be digitalSignature, and not that of an authority".to_owned(),
        );
    }
    let serves = matches!(wanted.role, Role::Aef | Role::Ccf);
    let purposes = leaf.extended_key_usage().map_err(|_| malformed())?;
    let purposes = purposes
        .ok_or("it names no purpose (extended key usage)")?
        .value;
    let others = purposes.any
        || purposes.code_signing
        || purposes.email_protection
        || purposes.time_stamping
        || purposes.ocsp_signing
        || !purposes.other.is_empty();
    if !purposes.client_auth || purposes.server_auth != serves || others {
        let meant = if serves {
            "clientAuth and serverAuth"
        } else {
            "clientAuth"
        };
        return Err(format!("its purposes (extended key usage) must be {meant}"));
    }
    let validity = leaf.validity();
    if validity.not_before.to_datetime() > now + LEEWAY {
        return Err("it does not count yet".to_owned());
    }
    let not_after = validity.not_after.to_datetime();
    if not_after <= now || not_after > wanted.not_after {
        return Err("it ends in the past, or later than was asked for".to_owned());
    }
    Ok(())
}

/// Its names must be those that were ordered, all of them and no other.
fn names_fit(leaf: &X509Certificate<'_>, wanted: &Wanted) -> Result<(), String> {
    const SUBJECT_ALT_NAME: Oid<'static> = oid!(2.5.29.17);
    let mut due = BTreeSet::from([format!("URI:urn:capif:{}", wanted.id)]);
    for host in &wanted.hosts {
        due.insert(match host.parse::<IpAddr>() {
            Ok(address) => format!("IP:{address}"),
            Err(_) => format!("DNS:{}", host.to_ascii_lowercase()),
        });
    }
    let names = leaf
        .subject_alternative_name()
        .map_err(|_| "an extension stands there twice".to_owned())?
        .ok_or_else(|| format!("it has no alternative names ({SUBJECT_ALT_NAME})"))?;
    let found: BTreeSet<String> = names
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::URI(uri) => format!("URI:{uri}"),
            GeneralName::DNSName(host) => format!("DNS:{}", host.to_ascii_lowercase()),
            GeneralName::IPAddress(octets) => match *octets {
                [a, b, c, d] => format!("IP:{}", IpAddr::from([*a, *b, *c, *d])),
                octets => <[u8; 16]>::try_from(octets).map_or_else(
                    |_| "IP:?".to_owned(),
                    |octets| format!("IP:{}", IpAddr::from(octets)),
                ),
            },
            other => format!("{other}"),
        })
        .collect();
    if found == due {
        return Ok(());
    }
    let listed = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    Err(format!(
        "its alternative names are {} and should be {}",
        listed(&found),
        listed(&due)
    ))
}

#[cfg(test)]
mod tests;

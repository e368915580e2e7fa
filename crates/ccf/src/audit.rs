//! The audit trail (P-13): who did what to whom, and with which outcome.
//!
//! An act and its record are one commit: there is no act without its record, and a record that cannot be written is an act that
//! does not happen. The store chains the records ([`crate::store::Link`]), so that an edit, a gap or an exchange is found.
//!
//! A record never holds a secret, a token or a key. Text that others chose is bounded, and what could mislead a reader in it is
//! written out as an escape.

mod trail;
pub mod verification;

use capif_procedures::changes::{Change, Changes, Kind};
use capif_spec::common::DateTime;
use serde::{Deserialize, Serialize};

pub use self::trail::HEAD_FILE;
pub(crate) use self::trail::Trail;

/// The actor of what nobody asked for.
const CORE_FUNCTION: &str = "core function";

/// The operation of a pruning.
pub(crate) const PRUNE: &str = "PruneAuditTrail";

/// The most characters of a text in a record.
const TEXT_CHARS_MAX: usize = 200;

tokio::task_local! {
    /// The operator whose acts those of this task are.
    pub(crate) static OPERATOR: Operator;
}

/// An operator with one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operator {
    /// The name on the credential; none for who may open the folder.
    pub(crate) name: Option<String>,
    pub(crate) request_id: String,
}

impl std::fmt::Display for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "operator {name}"),
            None => f.write_str("operator"),
        }
    }
}

/// What became of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// It was refused, and that is worth knowing.
    Refused,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Refused => "refused",
        })
    }
}

/// One record of the trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditRecord {
    /// When.
    pub at: DateTime,
    /// Who: role and id of the caller, `operator` or `core function`.
    pub actor: String,
    /// What: the operationId of the table of operations, or a word of the operator's or of a task.
    pub operation: String,
    /// To whom or to what: an id, if there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The request, as the log and the answer name it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// What else there is to know.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// A security-relevant act that is about to happen.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    actor: String,
    operation: &'static str,
    subject: String,
    outcome: Outcome,
    request_id: String,
    detail: String,
}

impl Act {
    /// An act of whoever made a request.
    pub(crate) fn by_caller(
        actor: &dyn std::fmt::Display,
        operation: &'static str,
        request_id: &str,
        subject: impl Into<String>,
    ) -> Self {
        Self {
            actor: actor.to_string(),
            operation,
            subject: subject.into(),
            outcome: Outcome::Done,
            request_id: request_id.to_owned(),
            detail: String::new(),
        }
    }

    /// An act of the operator.
    pub(crate) fn by_operator(operation: &'static str, subject: impl Into<String>) -> Self {
        let operator = OPERATOR.try_with(Clone::clone).unwrap_or_default();
        Self::by_caller(&operator, operation, &operator.request_id, subject)
    }

    /// An act that the core function does of itself.
    pub(crate) fn by_task(operation: &'static str, subject: impl Into<String>) -> Self {
        Self::by_caller(&CORE_FUNCTION, operation, "", subject)
    }

    /// The act was not carried out.
    pub(crate) fn refused(mut self) -> Self {
        self.outcome = Outcome::Refused;
        self
    }

    /// Says more about it. Never a secret.
    pub(crate) fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = text.into();
        self
    }

    /// Makes the record part of a commit.
    pub(crate) fn record(&self, changes: &mut Changes, at: DateTime) {
        let record = AuditRecord {
            at,
            actor: plain(&self.actor),
            operation: self.operation.to_owned(),
            subject: plain(&self.subject),
            outcome: self.outcome,
            request_id: plain(&self.request_id),
            detail: plain(&self.detail),
        };
        // Holds because the record is a struct of texts, which JSON can always express.
        #[expect(clippy::expect_used, reason = "records always encode")]
        let value = serde_json::to_vec(&record).expect("a record is a JSON object");
        changes.steps.push(Change::Chain {
            kind: Kind::Audit,
            value,
        });
    }
}

/// Text that shows what it is: nothing but letters, digits, signs and spaces as they are, and not too much of it.
fn plain(text: &str) -> String {
    let is_plain = |octet: u8| octet.is_ascii_graphic() || octet == b' ';
    if text.len() <= TEXT_CHARS_MAX && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == TEXT_CHARS_MAX {
            out.push('…');
            break;
        }
        if c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out
}

#[cfg(test)]
mod tests;

//! Whether a trail is whole: every link recomputed from the text of its record, from the beginning to the end.
//!
//! A chain alone cannot tell that its end is missing, or that the whole of it was made anew. For that it is held against links
//! that were noted elsewhere: the head file beside the store, and whatever an auditor wrote down.

use super::{AuditRecord, CORE_FUNCTION, PRUNE};
use crate::store::{Chained, Link};

/// A link that was noted and must stand in the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where it was noted, in words.
    pub noted: &'static str,
    /// The number of the record, if it was noted too.
    pub sequence: Option<u64>,
    /// The digest.
    pub digest: [u8; 32],
}

/// The first place where a trail is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {sequence}: {reason}")]
pub struct Broken {
    /// The record.
    pub sequence: u64,
    /// What is wrong there.
    pub reason: String,
}

impl Broken {
    fn at(sequence: u64, reason: impl Into<String>) -> Self {
        Self {
            sequence,
            reason: reason.into(),
        }
    }
}

/// A trail that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many records there are.
    pub records: u64,
    /// The last record that was pruned; number zero if none was.
    pub base: Link,
    /// The last record.
    pub end: Link,
}

/// A trail under way from its beginning to its end. Takes the same little memory however long it is.
#[derive(Debug)]
pub struct Verification {
    verified: Verified,
    /// Whether a record says that what is missing at the beginning was pruned.
    base_named: bool,
    /// Those that were not come by yet.
    marks: Vec<Mark>,
}

impl Verification {
    /// Begins. Every mark must be come by, but for one that was noted when there was no record yet.
    #[must_use]
    pub fn new(mut marks: Vec<Mark>) -> Self {
        marks.retain(|mark| mark.sequence != Some(0));
        Self {
            verified: Verified {
                records: 0,
                base: Link::default(),
                end: Link::default(),
            },
            base_named: false,
            marks,
        }
    }

    /// The record come by last.
    #[must_use]
    pub fn end(&self) -> Link {
        self.verified.end
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// When it is not the one that follows, or not the one that was written.
    pub fn take(&mut self, chained: &Chained) -> Result<(), Broken> {
        let text = chained.record.get();
        let claimed = chained
            .claimed()
            .map_err(|_| Broken::at(chained.sequence, "it cannot be read"))?;
        let before = self.verified.end;
        if before == Link::default() && text == "null" {
            self.verified.base = claimed;
            self.verified.end = claimed;
            return self.pass(claimed);
        }
        let link = before.next(text.as_bytes());
        if claimed.sequence != link.sequence {
            let reason = format!(
                "it is not there; record {} follows record {}",
                claimed.sequence, before.sequence
            );
            return Err(Broken::at(link.sequence, reason));
        }
        if claimed != link {
            return Err(Broken::at(
                link.sequence,
                "it was changed, put in or exchanged, or the one before it was: its link is another",
            ));
        }
        self.verified.records = self.verified.records.saturating_add(1);
        self.verified.end = link;
        let base = self.verified.base;
        if base.sequence > 0 && !self.base_named {
            let record: Option<AuditRecord> = serde_json::from_str(text).ok();
            self.base_named = record.is_some_and(|record| {
                record.actor == CORE_FUNCTION
                    && record.operation == PRUNE
                    && record.detail == pruned_through(&base)
            });
        }
        self.pass(link)
    }

    /// Strikes off the marks of a place.
    fn pass(&mut self, link: Link) -> Result<(), Broken> {
        let other = self
            .marks
            .iter()
            .find(|mark| mark.sequence == Some(link.sequence) && mark.digest != link.digest);
        if let Some(mark) = other {
            let reason = format!("it is not the one that {} names", mark.noted);
            return Err(Broken::at(link.sequence, reason));
        }
        self.marks.retain(|mark| mark.digest != link.digest);
        Ok(())
    }

    /// Ends.
    ///
    /// # Errors
    /// When a mark was not come by, or the beginning is missing without a word.
    pub fn finish(self) -> Result<Verified, Broken> {
        let Verified { base, end, .. } = self.verified;
        if base.sequence > 0 && !self.base_named {
            return Err(Broken::at(
                base.sequence,
                "it and what stood before it are gone, and no record says that they were pruned",
            ));
        }
        let Some(mark) = self.marks.first() else {
            return Ok(self.verified);
        };
        Err(match mark.sequence {
            Some(sequence) if sequence > end.sequence => {
                let reason = format!(
                    "it is not there, though {} names it: the trail ends at record {}; its end was cut off, or the store is of an earlier time",
                    mark.noted, end.sequence
                );
                Broken::at(end.sequence.saturating_add(1), reason)
            }
            Some(sequence) => {
                let reason = format!("{} names it, and it is pruned by now", mark.noted);
                Broken::at(sequence, reason)
            }
            None => {
                let reason = format!(
                    "no record up to this one has the link that {} names: the trail was made anew or cut off, or it is another one",
                    mark.noted
                );
                Broken::at(end.sequence, reason)
            }
        })
    }
}

/// How the record of a pruning names the last record that goes.
pub(crate) fn pruned_through(base: &Link) -> String {
    format!("through {base}")
}

//! `[audit]`: what has a record in the audit trail beyond what always has one, and how long records are kept.

use serde::Deserialize;

/// The longest that records are kept, in days, unless they are kept for good.
const DAYS_MAX: u32 = 36_500;

/// `[audit]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSection {
    /// Whether each access token that is issued has a record.
    pub tokens: bool,
    /// How long records are kept, in days; for good if zero.
    pub days: u32,
}

impl Default for AuditSection {
    fn default() -> Self {
        Self {
            tokens: true,
            days: 0,
        }
    }
}

impl AuditSection {
    /// Says what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.days > DAYS_MAX {
            return Err(format!("audit.days: must be from 0 to {DAYS_MAX}"));
        }
        Ok(())
    }
}

//! For how long invocation log entries are kept: as the operator says of their API, otherwise as it says of all.

use std::collections::HashMap;

use capif_spec::common::{DateTime, ServiceApiId};
use time::Duration;

use crate::{
    changes::{Changes, Expect, Versioned},
    refusal::Refusal,
    state::{InvocationLogEntry, LogRetention, ServiceApi},
};

/// The longest time, in hours: ten years.
pub const HOURS_MAX: u32 = 87_600;

/// How many APIs may have a time of their own, those withdrawn included.
pub const RETENTIONS_MAX: usize = 100_000;

/// How long the entries of an API are kept from now on, those included that are there already.
///
/// # Errors
/// Refuses a time beyond the bounds, and a time of its own for too many APIs.
pub fn set(api: &ServiceApi, hours: u32, is_set: bool, count: usize) -> Result<Changes, Refusal> {
    if !(1..=HOURS_MAX).contains(&hours) {
        return Err(Refusal::incorrect(
            "/hours",
            format!("`hours` is from 1 to {HOURS_MAX}"),
        ));
    }
    if !is_set && count >= RETENTIONS_MAX {
        return Err(Refusal::TooMany {
            what: "APIs with a retention of their own",
            limit: RETENTIONS_MAX,
        });
    }
    let retention = LogRetention {
        api_id: api.id.clone(),
        api_name: api.description.api_name.clone(),
        hours,
    };
    let mut changes = Changes::new();
    changes.put(&retention, Expect::Any);
    Ok(changes)
}

/// The entries of the API are kept as those of all others from now on.
///
/// # Errors
/// Says when nothing was set.
pub fn remove(held: Option<&Versioned<LogRetention>>) -> Result<Changes, Refusal> {
    let held = held.ok_or(Refusal::NotFound {
        what: "retention of invocation logs",
    })?;
    let mut changes = Changes::new();
    changes.delete::<LogRetention>(held.record.api_id.as_str(), Expect::At(held.revision));
    Ok(changes)
}

/// What was set, at one moment.
#[derive(Clone, Debug)]
pub struct Keeping {
    usual: Duration,
    of_apis: HashMap<ServiceApiId, Duration>,
}

impl Keeping {
    /// The usual time, and those of single APIs.
    pub fn new<'a>(usual: Duration, retentions: impl Iterator<Item = &'a LogRetention>) -> Self {
        let hours = |of: &LogRetention| Duration::hours(i64::from(of.hours));
        Self {
            usual,
            of_apis: retentions
                .map(|of| (of.api_id.clone(), hours(of)))
                .collect(),
        }
    }

    /// Whether what was reported of an API at a time has been kept for long enough.
    #[must_use]
    pub fn is_over(&self, api: &ServiceApiId, received: &DateTime, now: &DateTime) -> bool {
        let kept = self.of_apis.get(api).copied().unwrap_or(self.usual);
        received.0 + kept <= now.0
    }

    /// Whether an entry has been kept for long enough.
    #[must_use]
    pub fn is_over_for(&self, entry: &InvocationLogEntry, now: &DateTime) -> bool {
        self.is_over(&entry.log.api_id, &entry.received, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        changes::{Change, Revision},
        fixtures::{api, profile},
    };
    use capif_spec::publish_service::SecurityMethod::Pki;

    fn weather() -> ServiceApi {
        api("API1", "weather", &[profile("AEF", &[Pki])])
    }

    fn retention(hours: u32) -> LogRetention {
        LogRetention {
            api_id: ServiceApiId::from("API1"),
            api_name: "weather".to_owned(),
            hours,
        }
    }

    #[test]
    fn an_api_has_its_own_time_and_others_the_usual() {
        let keeping = Keeping::new(Duration::hours(24), [retention(2)].iter());
        let received: DateTime = "2026-01-01T00:00:00Z".parse().unwrap();
        let is_over = |api: &str, now: &str| {
            keeping.is_over(&ServiceApiId::from(api), &received, &now.parse().unwrap())
        };
        assert!(!is_over("API1", "2026-01-01T01:59:59Z"));
        assert!(is_over("API1", "2026-01-01T02:00:00Z"));
        assert!(!is_over("API2", "2026-01-01T23:59:59Z"));
        assert!(is_over("API2", "2026-01-02T00:00:00Z"));
    }

    #[test]
    fn hours_have_bounds_and_so_has_their_number() {
        for hours in [0, HOURS_MAX + 1] {
            let refused = set(&weather(), hours, false, 0);
            assert!(
                matches!(&refused, Err(Refusal::Malformed { pointer, .. }) if pointer == "/hours"),
                "{refused:?}"
            );
        }
        assert!(matches!(
            set(&weather(), 1, false, RETENTIONS_MAX),
            Err(Refusal::TooMany { .. })
        ));
        assert!(set(&weather(), 1, true, RETENTIONS_MAX).is_ok());
    }

    #[test]
    fn what_was_set_can_be_removed() {
        assert!(matches!(remove(None), Err(Refusal::NotFound { .. })));
        let held = Versioned {
            record: retention(2),
            revision: Revision(3),
        };
        let changes = remove(Some(&held)).unwrap();
        assert!(matches!(
            changes.steps.as_slice(),
            [Change::Delete { key, expect: Expect::At(Revision(3)) }] if key.id == "API1"
        ));
    }
}

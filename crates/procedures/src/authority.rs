//! How one authority takes the place of another (TS 33.310 clause 6, RFC 4210 section 4.4).
//!
//! Authorities come in generations. One signs; the one before it counts until the end of an overlap, within which everyone
//! has to get a new certificate; then nothing of it counts. A generation may begin with a new root: it has the name of the old
//! one, whose key signs it too, so that who knows either of them finds a way.

use capif_spec::{common::DateTime, renewal::TrustList};
use time::Duration;

use crate::{
    changes::{Changes, Expect, Versioned},
    events,
    state::{Certificate, Demand, DemandReason, Digest, Generation, GenerationState, Subscription},
};

/// The longest overlap.
pub const OVERLAP_MAX: Duration = Duration::days(3650);

/// An authority does not take the place of another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// A generation before still counts.
    #[error(
        "authority {number} still counts, until {}: wait for that, or end it with `capif ca retire`",
        DateTime(until.0.truncate_to_second())
    )]
    Overlapping {
        /// Its number.
        number: u32,
        /// Until when.
        until: DateTime,
    },
    /// There is nothing to retire.
    #[error("no authority but the current one counts: there is nothing to retire")]
    Alone,
    /// The overlap is too long.
    #[error("an overlap lasts at most {} days", OVERLAP_MAX.whole_days())]
    TooLong,
    /// More keys of earlier authorities are not to be believed than others take note of.
    #[error(
        "too many authorities were replaced whose certificates have not ended: the next one can follow when the first of them ends, at {}",
        DateTime(until.0.truncate_to_second())
    )]
    TooMany {
        /// When there is room.
        until: DateTime,
    },
    /// There is no authority at all.
    #[error("there is no current authority")]
    None,
}

/// All generations, in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub struct Succession(Vec<Versioned<Generation>>);

impl Succession {
    /// The generations in whatever order.
    #[must_use]
    pub fn new(mut generations: Vec<Versioned<Generation>>) -> Self {
        generations.sort_by_key(|held| held.record.number);
        Self(generations)
    }

    /// The same, with a generation as it is now.
    #[must_use]
    pub fn with(&self, generation: Versioned<Generation>) -> Self {
        let mut generations = self.0.clone();
        generations.retain(|held| held.record.number != generation.record.number);
        generations.push(generation);
        Self::new(generations)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Generation> {
        self.0.iter().map(|held| &held.record)
    }

    /// The one that signs.
    #[must_use]
    pub fn current(&self) -> Option<&Generation> {
        self.all()
            .find(|generation| generation.state == GenerationState::Current)
    }

    /// The one with this number.
    #[must_use]
    pub fn generation(&self, number: u32) -> Option<&Generation> {
        self.all().find(|generation| generation.number == number)
    }

    /// Those of which something counts at this moment.
    pub fn counting(&self, now: &DateTime) -> impl Iterator<Item = &Generation> {
        self.all().filter(move |generation| counts(generation, now))
    }

    /// Whether certificates of the generation with this number count no longer. Of one that nobody knows, none does.
    #[must_use]
    pub fn is_retired(&self, number: u32, now: &DateTime) -> bool {
        self.generation(number)
            .is_none_or(|generation| !counts(generation, now))
    }

    /// What follows for the holder of a certificate: it needs a new one by the end of the overlap, if it is not of the current
    /// generation.
    #[must_use]
    pub fn demand(&self, certificate: &Certificate) -> Option<Demand> {
        let current = self.current()?;
        if certificate.authority == current.number {
            return None;
        }
        let deadline = match self.generation(certificate.authority).map(|old| &old.state) {
            Some(GenerationState::Overlapping { until }) => until.clone(),
            Some(GenerationState::Retired { since }) => since.clone(),
            Some(GenerationState::Current) | None => current.created.clone(),
        };
        Some(Demand {
            reason: DemandReason::Authority,
            since: current.created.clone(),
            deadline,
        })
    }

    /// The roots by which certificates are believed at this moment, the current one first.
    #[must_use]
    pub fn roots(&self, now: &DateTime) -> Vec<&str> {
        let mut roots: Vec<&str> = Vec::new();
        let newest_first = self.0.iter().rev().map(|held| &held.record);
        for generation in newest_first.filter(|generation| counts(generation, now)) {
            if !roots.contains(&generation.root.as_str()) {
                roots.push(&generation.root);
            }
        }
        roots
    }

    /// The certificate by which who knows only the root before finds a way to the current one, while that root counts.
    #[must_use]
    pub fn cross(&self, now: &DateTime) -> Option<&str> {
        let current = self.current()?;
        let cross = current.cross.as_deref()?;
        let another = |generation: &Generation| generation.root_key != current.root_key;
        self.counting(now).any(another).then_some(cross)
    }

    /// The keys of authorities that are not believed any more, as long as a certificate says otherwise.
    #[must_use]
    pub fn distrusted(&self, now: &DateTime) -> Vec<Digest> {
        let keys = self.distrusted_until(now).into_iter();
        keys.map(|(key, _)| key.clone()).collect()
    }

    /// The same, with the ends of their certificates.
    fn distrusted_until(&self, now: &DateTime) -> Vec<(&Digest, &DateTime)> {
        let mut keys: Vec<(&Digest, &DateTime)> = Vec::new();
        let mut add = |key, not_after| {
            if now <= not_after && !keys.iter().any(|(known, _)| *known == key) {
                keys.push((key, not_after));
            }
        };
        for generation in self.all().filter(|generation| !counts(generation, now)) {
            add(&generation.issuing_key, &generation.not_after);
            let same = |other: &Generation| other.root_key == generation.root_key;
            if !self.counting(now).any(same) {
                add(&generation.root_key, &generation.root_not_after);
            }
        }
        keys
    }

    /// The generation whose overlap has ended, though that is not written yet.
    fn overdue(&self, now: &DateTime) -> Option<&Versioned<Generation>> {
        self.0.iter().find(|held| match &held.record.state {
            GenerationState::Overlapping { until } => until <= now,
            GenerationState::Current | GenerationState::Retired { .. } => false,
        })
    }
}

fn counts(generation: &Generation, now: &DateTime) -> bool {
    match &generation.state {
        GenerationState::Current => true,
        GenerationState::Overlapping { until } => now < until,
        GenerationState::Retired { .. } => false,
    }
}

/// Whether a generation may begin now, with an overlap of this length.
///
/// # Errors
/// When one before the current still counts, the overlap is too long, or too many were replaced.
pub fn may_roll(succession: &Succession, overlap: Duration, now: &DateTime) -> Result<(), NotNow> {
    if overlap.is_negative() || overlap > OVERLAP_MAX {
        return Err(NotNow::TooLong);
    }
    succession.current().ok_or(NotNow::None)?;
    let overlapping = succession
        .counting(now)
        .find_map(|generation| match &generation.state {
            GenerationState::Overlapping { until } => Some((generation.number, until.clone())),
            GenerationState::Current | GenerationState::Retired { .. } => None,
        });
    if let Some((number, until)) = overlapping {
        return Err(NotNow::Overlapping { number, until });
    }
    let distrusted = succession.distrusted_until(now);
    // Two more follow: the keys of the current authority and of its root.
    if distrusted.len() + 2 > TrustList::DISTRUSTED_MAX
        && let Some(until) = distrusted.iter().map(|(_, until)| *until).min()
    {
        let until = until.clone();
        return Err(NotNow::TooMany { until });
    }
    Ok(())
}

/// Begins a generation: `next` signs from now on, and what signed so far counts for as long as the overlap.
///
/// # Errors
/// As [`may_roll`].
pub fn roll<'a>(
    succession: &Succession,
    next: Generation,
    overlap: Duration,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) -> Result<Changes, NotNow> {
    may_roll(succession, overlap, now)?;
    let mut changes = Changes::new();
    for held in &succession.0 {
        let state = match &held.record.state {
            GenerationState::Current if overlap.is_zero() => {
                GenerationState::Retired { since: now.clone() }
            }
            GenerationState::Current => GenerationState::Overlapping {
                until: DateTime(now.0 + overlap),
            },
            // Its end has come and is not written yet.
            GenerationState::Overlapping { until } => GenerationState::Retired {
                since: until.clone(),
            },
            GenerationState::Retired { .. } => continue,
        };
        let old = Generation {
            state,
            ..held.record.clone()
        };
        changes.put(&old, Expect::At(held.revision));
    }
    let next = Generation {
        state: GenerationState::Current,
        ..next
    };
    changes.put(&next, Expect::Absent);
    events::raise(&mut changes, events::of_trust(), subscriptions, now);
    Ok(changes)
}

/// Ends the overlap before its time.
///
/// # Errors
/// When there is none.
pub fn retire<'a>(
    succession: &Succession,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) -> Result<Changes, NotNow> {
    let overlapping = |held: &&Versioned<Generation>| {
        matches!(held.record.state, GenerationState::Overlapping { .. })
    };
    let held = succession.0.iter().find(overlapping).ok_or(NotNow::Alone)?;
    Ok(ended(held, now, subscriptions, now))
}

/// Writes down that an overlap has ended, and lets it be known; nothing if none has.
#[must_use]
pub fn tend<'a>(
    succession: &Succession,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) -> Changes {
    let Some(held) = succession.overdue(now) else {
        return Changes::new();
    };
    let since = match &held.record.state {
        GenerationState::Overlapping { until } => until,
        GenerationState::Current | GenerationState::Retired { .. } => now,
    };
    ended(held, since, subscriptions, now)
}

fn ended<'a>(
    held: &Versioned<Generation>,
    since: &DateTime,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) -> Changes {
    let retired = Generation {
        state: GenerationState::Retired {
            since: since.clone(),
        },
        ..held.record.clone()
    };
    let mut changes = Changes::new();
    changes.put(&retired, Expect::At(held.revision));
    events::raise(&mut changes, events::of_trust(), subscriptions, now);
    changes
}

#[cfg(test)]
mod tests;

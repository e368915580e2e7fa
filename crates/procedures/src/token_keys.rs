//! The ring of keys that sign access tokens (TS 33.122 clause C.2, RFC 7517 section 5).
//!
//! A new key is handed out before it signs, so that whoever verifies knows it in time; the one before is handed out until its
//! last token has ended. A key that is in other hands goes at once, and what it signed with it.

use capif_spec::common::DateTime;
use time::Duration;

use crate::{
    changes::{Changes, Expect, Versioned},
    events,
    state::{Subscription, TokenKey},
};

/// How long beyond the end of its last token a key is handed out: the clocks of others may be so far apart.
pub const SKEW: Duration = Duration::seconds(60);

/// How the ring turns.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a key is handed out before it signs.
    pub ahead: Duration,
    /// Life of an access token.
    pub token_life: Duration,
}

/// The ring does not turn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotYet {
    /// The next key is handed out already.
    #[error(
        "key {kid} is handed out already and signs from {} on",
        DateTime(from.0.truncate_to_second())
    )]
    Ahead {
        /// Its name.
        kid: String,
        /// From when on it signs.
        from: DateTime,
    },
}

/// All keys, in the order in which they sign.
#[derive(Clone, Debug, Default)]
pub struct Ring(Vec<Versioned<TokenKey>>);

impl Ring {
    /// The keys in whatever order.
    #[must_use]
    pub fn new(mut keys: Vec<Versioned<TokenKey>>) -> Self {
        keys.sort_by(|a, b| {
            let order = a.record.signs_from.cmp(&b.record.signs_from);
            order.then(a.revision.cmp(&b.revision))
        });
        Self(keys)
    }

    /// The same, with a key as it is now.
    #[must_use]
    pub fn with(&self, key: Versioned<TokenKey>) -> Self {
        let mut keys = self.without(&key.record.kid).0;
        keys.push(key);
        Self::new(keys)
    }

    /// The same without a key.
    #[must_use]
    pub fn without(&self, kid: &str) -> Self {
        let others = self.0.iter().filter(|held| held.record.kid != kid);
        Self(others.cloned().collect())
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &TokenKey> {
        self.0.iter().map(|held| &held.record)
    }

    /// Those that are handed out at this moment.
    pub fn published(&self, now: &DateTime) -> impl Iterator<Item = &TokenKey> {
        self.all().filter(move |key| counts(key, now))
    }

    /// The one that signs at this moment.
    #[must_use]
    pub fn signing(&self, now: &DateTime) -> Option<&TokenKey> {
        let begun = |key: &&TokenKey| key.signs_from <= *now;
        // A clock that was put back finds none that has begun.
        let first = || self.published(now).next();
        self.published(now).filter(begun).last().or_else(first)
    }

    /// The one that is handed out and does not sign yet.
    #[must_use]
    pub fn next(&self, now: &DateTime) -> Option<&TokenKey> {
        self.published(now).find(|key| key.signs_from > *now)
    }

    /// Whether the next key is to be made now, so that none signs for longer than this; never if it is zero.
    #[must_use]
    pub fn is_due(&self, life: Duration, ahead: Duration, now: &DateTime) -> bool {
        let newest = self.0.last().map(|held| &held.record.signs_from);
        !life.is_zero() && newest.is_none_or(|from| from.0 + life <= now.0 + ahead)
    }
}

fn counts(key: &TokenKey, now: &DateTime) -> bool {
    key.retires.as_ref().is_none_or(|end| now < end)
}

/// A key as it was made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its name.
    pub kid: String,
    /// The private key, sealed.
    pub sealed: String,
}

impl NewKey {
    fn from(self, published: &DateTime, signs_from: DateTime) -> TokenKey {
        TokenKey {
            kid: self.kid,
            sealed: self.sealed,
            published: published.clone(),
            signs_from,
            retires: None,
        }
    }
}

/// Begins the ring with a key that signs at once.
#[must_use]
pub fn begin(key: NewKey, now: &DateTime) -> Changes {
    let mut changes = Changes::new();
    changes.put(&key.from(now, now.clone()), Expect::Absent);
    changes
}

/// Hands out a key that signs once everybody has had the time to fetch it. The one before leaves when its last token has ended.
///
/// # Errors
/// When one is handed out ahead already.
pub fn rotate<'a>(
    ring: &Ring,
    key: NewKey,
    timing: Timing,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) -> Result<Changes, NotYet> {
    if let Some(next) = ring.next(now) {
        return Err(NotYet::Ahead {
            kid: next.kid.clone(),
            from: next.signs_from.clone(),
        });
    }
    let signs_from = DateTime(now.0 + timing.ahead);
    let retires = DateTime(signs_from.0 + timing.token_life + SKEW);
    let mut changes = Changes::new();
    for held in ring.0.iter().filter(|held| held.record.retires.is_none()) {
        let old = TokenKey {
            retires: Some(retires.clone()),
            ..held.record.clone()
        };
        changes.put(&old, Expect::At(held.revision));
    }
    changes.put(&key.from(now, signs_from), Expect::Absent);
    events::raise(&mut changes, events::of_trust(), subscriptions, now);
    Ok(changes)
}

/// Puts a key in the place of all others, which may be in other hands: they and what they signed count for nothing from this
/// commit on.
#[must_use]
pub fn replace<'a>(
    ring: &Ring,
    key: NewKey,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) -> Changes {
    let mut changes = Changes::new();
    for held in &ring.0 {
        changes.delete::<TokenKey>(held.record.kid.clone(), Expect::At(held.revision));
    }
    changes.put(&key.from(now, now.clone()), Expect::Absent);
    events::raise(&mut changes, events::of_trust(), subscriptions, now);
    changes
}

/// Removes the keys whose last token has ended; nothing if there are none.
#[must_use]
pub fn tend<'a>(
    ring: &Ring,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) -> Changes {
    let mut changes = Changes::new();
    for held in ring.0.iter().filter(|held| !counts(&held.record, now)) {
        changes.delete::<TokenKey>(held.record.kid.clone(), Expect::At(held.revision));
    }
    if !changes.is_empty() {
        events::raise(&mut changes, events::of_trust(), subscriptions, now);
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{now, subscription, versioned, written},
        state::Role,
    };

    const TIMING: Timing = Timing {
        ahead: Duration::minutes(10),
        token_life: Duration::minutes(5),
    };

    fn at(minutes: i64) -> DateTime {
        DateTime(now().0 + Duration::minutes(minutes))
    }

    fn key(kid: &str) -> NewKey {
        NewKey {
            kid: kid.to_owned(),
            sealed: "sealed".to_owned(),
        }
    }

    fn after(ring: &Ring, changes: &Changes) -> Ring {
        let deleted = ring.all().filter(|key| {
            changes.steps.iter().any(|step| {
                matches!(step, crate::changes::Change::Delete { key: gone, .. } if gone.id == key.kid)
            })
        });
        let left = deleted.fold(ring.clone(), |left, key| left.without(&key.kid));
        written::<TokenKey>(changes)
            .into_iter()
            .fold(left, |ring, (_, record)| ring.with(versioned(record)))
    }

    fn first() -> Ring {
        after(&Ring::default(), &begin(key("one"), &now()))
    }

    fn rotated() -> Ring {
        let changes = rotate(&first(), key("two"), TIMING, std::iter::empty(), &now());
        after(&first(), &changes.unwrap())
    }

    fn published(ring: &Ring, minute: i64) -> Vec<String> {
        ring.published(&at(minute))
            .map(|key| key.kid.clone())
            .collect()
    }

    #[test]
    fn the_next_key_is_known_before_it_signs_and_the_last_one_until_its_tokens_end() {
        let ring = rotated();
        for (minute, signs, known) in [
            (-1, "one", &["one", "two"][..]),
            (0, "one", &["one", "two"]),
            (9, "one", &["one", "two"]),
            (10, "two", &["one", "two"]),
            (15, "two", &["one", "two"]),
            (16, "two", &["two"]),
        ] {
            assert_eq!(ring.signing(&at(minute)).unwrap().kid, signs, "{minute}");
            assert_eq!(published(&ring, minute), known, "{minute}");
        }
        assert!(tend(&ring, std::iter::empty(), &at(15)).is_empty());
        let changes = tend(&ring, std::iter::empty(), &at(16));
        assert_eq!(published(&after(&ring, &changes), 0), ["two"]);
    }

    #[test]
    fn one_key_ahead_at_a_time() {
        let again = rotate(&rotated(), key("three"), TIMING, std::iter::empty(), &at(9));
        let ahead = NotYet::Ahead {
            kid: "two".to_owned(),
            from: at(10),
        };
        assert_eq!(again.unwrap_err(), ahead);
        let ring = rotated();
        let again = rotate(&ring, key("three"), TIMING, std::iter::empty(), &at(10)).unwrap();
        let ring = after(&ring, &again);
        assert_eq!(published(&ring, 12), ["one", "two", "three"]);
        // The first one leaves at its own time.
        assert_eq!(published(&ring, 16), ["two", "three"]);
        assert_eq!(published(&ring, 26), ["three"]);
    }

    #[test]
    fn a_key_in_other_hands_goes_at_once_and_with_it_the_one_ahead() {
        for minute in [1, 12] {
            let ring = rotated();
            let changes = replace(&ring, key("three"), std::iter::empty(), &at(minute));
            let ring = after(&ring, &changes);
            assert_eq!(published(&ring, minute), ["three"]);
            assert_eq!(ring.signing(&at(minute)).unwrap().kid, "three");
        }
    }

    #[test]
    fn the_ring_turns_of_itself_ahead_of_time() {
        let life = Duration::minutes(60);
        for (minute, due) in [(0, false), (49, false), (50, true), (70, true)] {
            assert_eq!(first().is_due(life, TIMING.ahead, &at(minute)), due);
        }
        assert!(!first().is_due(Duration::ZERO, TIMING.ahead, &at(1_000_000)));
        assert!(!rotated().is_due(life, TIMING.ahead, &at(59)));
        assert!(rotated().is_due(life, TIMING.ahead, &at(60)));
        assert!(Ring::default().is_due(life, TIMING.ahead, &now()));
    }

    #[test]
    fn whoever_takes_calls_hears_of_it_in_the_same_commit() {
        let aef = subscription("aef-1", Role::Aef, &[events::TRUST_UPDATED]);
        let told = |changes: &Changes| crate::fixtures::notified(changes).len();
        let all = || [&aef].into_iter();
        let changes = rotate(&first(), key("two"), TIMING, all(), &now()).unwrap();
        assert_eq!(told(&changes), 1);
        assert_eq!(told(&replace(&first(), key("two"), all(), &now())), 1);
        assert_eq!(told(&tend(&rotated(), all(), &at(16))), 1);
        assert_eq!(told(&tend(&rotated(), all(), &at(15))), 0);
    }
}

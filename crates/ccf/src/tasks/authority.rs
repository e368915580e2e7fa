//! The life of the authority: overlaps end, the CCF's own certificate is exchanged, keys of access tokens follow one another, and
//! the operator is warned before an authority ends.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use capif_procedures::{
    authority,
    state::{Generation, GenerationState},
    token_keys,
};
use capif_spec::common::DateTime;
use tokio::sync::watch;

use crate::{
    api::problem::ApiError,
    audit::Act,
    authority::{Authorities, tokens::TokenRing},
    core::Core,
    tasks::staple,
};

/// How often it is looked whether something has come due.
const PERIOD: Duration = Duration::from_secs(1);

/// What is left of the life of an authority when the operator is warned, in days.
const WARNINGS_DAYS: [i64; 4] = [30, 14, 7, 1];

/// From which life on these warnings make sense; of a shorter one, a third and a tenth are.
const LONG_LIFE: time::Duration = time::Duration::days(90);

/// Runs until stopped.
pub(super) async fn run(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    let mut warnings = Warnings::default();
    let mut failed = String::new();
    loop {
        let outcome = match tend(&core).await {
            Ok(()) => String::new(),
            Err(error) => format!("{:#}", error.log()),
        };
        if !outcome.is_empty() && outcome != failed {
            tracing::error!(target: "capif::alarm", cause = outcome, "the authority cannot be looked after; it is tried again");
        }
        failed = outcome;
        warnings.give(&core.authorities, &core.now());
        tokio::select! {
            () = core.authorities.changed().notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
}

/// Does what has come due.
pub(crate) async fn tend(core: &Core) -> Result<(), ApiError> {
    end_overlap(core).await?;
    core.presence.tend().await?;
    staple::tend(core).await;
    turn_ring(core).await
}

async fn end_overlap(core: &Core) -> Result<(), ApiError> {
    let now = core.now();
    let act = Act::by_task("RetireAuthority", "");
    core.transact(&act, |records| {
        let succession = core.authorities.succession();
        let changes = authority::tend(&succession, records.subscriptions(), &now);
        Ok((changes, ()))
    })
    .await
}

async fn turn_ring(core: &Core) -> Result<(), ApiError> {
    let now = core.now();
    let section = &core.config.security;
    let timing = section.token_timing();
    let act = Act::by_task("RetireTokenKey", "");
    let gone = core
        .transact(&act, |records| {
            let ring = core.access_tokens.ring();
            let changes = token_keys::tend(&ring, records.subscriptions(), &now);
            let gone = !changes.is_empty();
            Ok((changes, gone))
        })
        .await?;
    if gone {
        forget_file(core, &core.access_tokens);
    }
    let due = |core: &Core| {
        let ring = core.access_tokens.ring();
        ring.is_due(section.token_key_life(), timing.ahead, &now) && ring.next(&now).is_none()
    };
    if !due(core) {
        return Ok(());
    }
    let key = core.access_tokens.make()?;
    let act = Act::by_task("RotateTokenKey", key.kid.clone());
    core.transact(&act, |records| {
        let ring = core.access_tokens.ring();
        let changes = token_keys::rotate(&ring, key.clone(), timing, records.subscriptions(), &now);
        // Somebody else was faster.
        Ok((changes.unwrap_or_default(), ()))
    })
    .await
}

/// Removes the key file once its key has left the ring.
pub(crate) fn forget_file(core: &Core, ring: &TokenRing) {
    ring.forget_file(core.authorities.dir(), core.authorities.custody());
}

/// What the operator was warned of already.
#[derive(Default)]
struct Warnings(BTreeMap<String, time::Duration>);

impl Warnings {
    fn give(&mut self, authorities: &Authorities, now: &DateTime) {
        let succession = authorities.succession();
        let Some(current) = succession.current().filter(|_| !authorities.is_outside()) else {
            return;
        };
        for (what, end) in ends(current) {
            let Some(mark) = warning(&current.created, end, now) else {
                continue;
            };
            let name = format!("{what} {}", current.number);
            if self.0.insert(name, mark) != Some(mark) {
                tracing::error!(
                    target: "capif::alarm",
                    authority = current.number,
                    not_after = %end,
                    days_left = (end.0 - now.0).whole_days(),
                    "the {what} ends soon: let another one follow with `capif ca roll{}`",
                    if what == "root" { " --root" } else { "" }
                );
            }
        }
    }
}

fn ends(generation: &Generation) -> [(&'static str, &DateTime); 2] {
    [
        ("root", &generation.root_not_after),
        ("issuing authority", &generation.not_after),
    ]
}

/// The warnings that are in force, in words, for a generation that signs.
pub(crate) fn warnings(generation: &Generation, now: &DateTime) -> Vec<String> {
    if generation.state != GenerationState::Current {
        return Vec::new();
    }
    let due = |(_, end): &(&str, &DateTime)| warning(&generation.created, end, now).is_some();
    let words = |(what, end): (&str, &DateTime)| format!("the {what} ends at {end}");
    ends(generation)
        .into_iter()
        .filter(due)
        .map(words)
        .collect()
}

/// The smallest mark that what is left of a life has come down to.
fn warning(begin: &DateTime, end: &DateTime, now: &DateTime) -> Option<time::Duration> {
    let life = end.0 - begin.0;
    let left = end.0 - now.0;
    let marks = if life < LONG_LIFE {
        vec![life / 3, life / 10]
    } else {
        WARNINGS_DAYS.map(time::Duration::days).to_vec()
    };
    marks.into_iter().filter(|mark| left <= *mark).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: i64) -> DateTime {
        DateTime(time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(days))
    }

    #[test]
    fn the_operator_is_warned_at_each_mark() {
        let of = |life: i64, left: i64| {
            let mark = warning(&at(0), &at(life), &at(life - left));
            mark.map(|mark| mark.whole_days())
        };
        for (left, mark) in [
            (31, None),
            (30, Some(30)),
            (15, Some(30)),
            (14, Some(14)),
            (7, Some(7)),
            (2, Some(7)),
            (1, Some(1)),
            (-5, Some(1)),
        ] {
            assert_eq!(of(365, left), mark, "{left}");
        }
        for (left, mark) in [
            (11, None),
            (10, Some(10)),
            (4, Some(10)),
            (3, Some(3)),
            (0, Some(3)),
        ] {
            assert_eq!(of(30, left), mark, "{left}");
        }
    }
}

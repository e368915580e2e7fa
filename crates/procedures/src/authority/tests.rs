use super::*;
use crate::{
    fixtures::{certificate, digest, notified, now, subscription, versioned, written},
    state::Role,
};

/// A generation under a root whose key has this number.
fn generation(number: u32, root: u8) -> Generation {
    Generation {
        number,
        root: format!("root {root}"),
        root_key: digest(100 + root),
        root_number: u32::from(root),
        cross: None,
        issuing: format!("issuing {number}"),
        issuing_key: digest(u8::try_from(number).unwrap()),
        not_after: at(10_000),
        root_not_after: at(20_000),
        created: now(),
        state: GenerationState::Current,
    }
}

fn at(hours: i64) -> DateTime {
    DateTime(now().0 + Duration::hours(hours))
}

fn first() -> Succession {
    Succession::new(vec![versioned(generation(1, 1))])
}

fn after(succession: &Succession, changes: &Changes) -> Succession {
    written::<Generation>(changes)
        .into_iter()
        .fold(succession.clone(), |succession, (_, record)| {
            succession.with(versioned(record))
        })
}

fn rolled(root: u8, overlap: Duration) -> Succession {
    let next = Generation {
        cross: (root != 1).then(|| "cross".to_owned()),
        ..generation(2, root)
    };
    let changes = roll(&first(), next, overlap, std::iter::empty(), &now()).unwrap();
    after(&first(), &changes)
}

fn of(number: u32) -> Certificate {
    Certificate {
        authority: number,
        ..certificate(1)
    }
}

#[test]
fn a_new_issuing_authority_under_the_same_root() {
    let succession = rolled(1, Duration::hours(10));
    assert_eq!(succession.current().unwrap().number, 2);
    for (hour, old_counts) in [(0, true), (9, true), (10, false), (11, false)] {
        assert_eq!(!succession.is_retired(1, &at(hour)), old_counts, "{hour}");
        assert!(!succession.is_retired(2, &at(hour)));
        assert_eq!(succession.roots(&at(hour)), ["root 1"]);
        assert_eq!(succession.cross(&at(hour)), None);
        let distrusted = if old_counts { vec![] } else { vec![digest(1)] };
        assert_eq!(succession.distrusted(&at(hour)), distrusted, "{hour}");
    }
    // A certificate that has ended says nothing any more that could be believed.
    assert!(succession.distrusted(&at(10_001)).is_empty());
    assert!(succession.is_retired(3, &now()));
    assert!(succession.is_retired(0, &now()));
}

#[test]
fn a_new_root_counts_beside_the_old_one_until_the_overlap_ends() {
    let succession = rolled(2, Duration::hours(10));
    for hour in [0, 9] {
        assert_eq!(succession.roots(&at(hour)), ["root 2", "root 1"]);
        assert_eq!(succession.cross(&at(hour)), Some("cross"));
        assert!(succession.distrusted(&at(hour)).is_empty());
    }
    assert_eq!(succession.roots(&at(10)), ["root 2"]);
    assert_eq!(succession.cross(&at(10)), None);
    assert_eq!(succession.distrusted(&at(10)), [digest(1), digest(101)]);
    assert_eq!(succession.distrusted(&at(10_001)), [digest(101)]);
    assert!(succession.distrusted(&at(20_001)).is_empty());
}

#[test]
fn whoever_has_an_older_certificate_is_asked_to_renew_by_the_end_of_the_overlap() {
    assert_eq!(first().demand(&of(1)), None);
    let succession = rolled(1, Duration::hours(10));
    assert_eq!(succession.demand(&of(2)), None);
    let demand = succession.demand(&of(1)).unwrap();
    assert_eq!(demand.reason, DemandReason::Authority);
    assert_eq!((demand.since, demand.deadline), (now(), at(10)));
    let changes = tend(&succession, std::iter::empty(), &at(12));
    let demand = after(&succession, &changes).demand(&of(1)).unwrap();
    assert_eq!(demand.deadline, at(10));
    assert_eq!(
        rolled(1, Duration::ZERO).demand(&of(1)).unwrap().deadline,
        now()
    );
}

#[test]
fn one_overlap_at_a_time() {
    let succession = rolled(1, Duration::hours(10));
    let again = |hour| {
        let next = generation(3, 1);
        roll(
            &succession,
            next,
            Duration::hours(1),
            std::iter::empty(),
            &at(hour),
        )
    };
    assert_eq!(
        again(9).unwrap_err(),
        NotNow::Overlapping {
            number: 1,
            until: at(10)
        }
    );
    // Its end counts whether or not it was written.
    let changes = again(10).unwrap();
    let states: Vec<_> = written::<Generation>(&changes)
        .into_iter()
        .map(|(_, record)| (record.number, record.state))
        .collect();
    assert_eq!(
        states,
        [
            (1, GenerationState::Retired { since: at(10) }),
            (2, GenerationState::Overlapping { until: at(11) }),
            (3, GenerationState::Current),
        ]
    );
    for overlap in [Duration::seconds(-1), OVERLAP_MAX + Duration::SECOND] {
        assert_eq!(may_roll(&first(), overlap, &now()), Err(NotNow::TooLong));
    }
    assert_eq!(
        may_roll(&Succession::default(), Duration::ZERO, &now()),
        Err(NotNow::None)
    );
}

/// A list that is longer than receivers take would be believed in nothing, and everybody would be left with the old roots.
#[test]
fn no_more_authorities_follow_than_others_take_note_of() {
    let retired = |count: usize| {
        let key = |number: u32| Digest::of(&number.to_be_bytes());
        let retired = (2..).take(count).map(|number| Generation {
            number,
            issuing_key: key(number),
            state: GenerationState::Retired { since: now() },
            ..generation(2, 1)
        });
        Succession::new(
            retired
                .chain([generation(1, 1)])
                .map(versioned)
                .collect::<Vec<_>>(),
        )
    };
    let room = retired(TrustList::DISTRUSTED_MAX - 2);
    assert_eq!(may_roll(&room, Duration::ZERO, &now()), Ok(()));
    let full = retired(TrustList::DISTRUSTED_MAX - 1);
    let many = NotNow::TooMany { until: at(10_000) };
    assert_eq!(may_roll(&full, Duration::ZERO, &now()), Err(many));
    assert_eq!(may_roll(&full, Duration::ZERO, &at(10_001)), Ok(()));
}

#[test]
fn an_overlap_of_nothing_ends_the_old_generation_at_once() {
    let succession = rolled(2, Duration::ZERO);
    assert!(succession.is_retired(1, &now()));
    assert_eq!(succession.roots(&now()), ["root 2"]);
}

#[test]
fn an_overlap_is_ended_before_its_time_or_when_it_is_over() {
    assert_eq!(
        retire(&first(), std::iter::empty(), &now()).unwrap_err(),
        NotNow::Alone
    );
    let succession = rolled(1, Duration::hours(10));
    let changes = retire(&succession, std::iter::empty(), &at(1)).unwrap();
    let ended = after(&succession, &changes);
    assert!(ended.is_retired(1, &at(1)));
    assert_eq!(
        ended.generation(1).unwrap().state,
        GenerationState::Retired { since: at(1) }
    );
    assert_eq!(
        retire(&ended, std::iter::empty(), &at(2)).unwrap_err(),
        NotNow::Alone
    );

    assert!(tend(&succession, std::iter::empty(), &at(9)).is_empty());
    let changes = tend(&succession, std::iter::empty(), &at(12));
    let ended = after(&succession, &changes);
    assert_eq!(
        ended.generation(1).unwrap().state,
        GenerationState::Retired { since: at(10) }
    );
    assert!(tend(&ended, std::iter::empty(), &at(13)).is_empty());
}

#[test]
fn whoever_takes_calls_hears_of_it_in_the_same_commit() {
    let aef = subscription("aef-1", Role::Aef, &[events::TRUST_UPDATED]);
    let other = subscription("aef-2", Role::Aef, &["API_INVOKER_UPDATED"]);
    let told = |changes: &Changes| {
        let told = notified(changes).into_iter();
        told.map(|(who, event, _)| (who, event)).collect::<Vec<_>>()
    };
    let all = || [&aef, &other].into_iter();
    let expected = [("aef-1".to_owned(), events::TRUST_UPDATED.to_owned())];
    let changes = roll(
        &first(),
        generation(2, 1),
        Duration::hours(1),
        all(),
        &now(),
    );
    let changes = changes.unwrap();
    assert_eq!(told(&changes), expected);
    let succession = after(&first(), &changes);
    assert_eq!(told(&retire(&succession, all(), &now()).unwrap()), expected);
    assert_eq!(told(&tend(&succession, all(), &at(1))), expected);
    assert!(told(&tend(&succession, all(), &now())).is_empty());
}

//! How often an AEF's word makes this invoker ask.

use super::*;

fn aef(id: &str) -> AefId {
    AefId::from(id)
}

/// Asks whenever it may, for so long; how often that was.
fn asked(recoveries: &Recoveries, from: Instant, seconds: u64) -> usize {
    let until = from + Duration::from_secs(seconds);
    let mut now = from;
    let mut count = 0;
    while now < until {
        if recoveries.opens(&aef("a"), now) <= now {
            recoveries.spend(&aef("a"), now);
            count += 1;
        }
        now += Duration::from_millis(10);
    }
    count
}

#[test]
fn a_word_that_is_never_true_is_believed_less_and_less() {
    let recoveries = Recoveries::default();
    let start = Instant::now();
    assert_eq!(asked(&recoveries, start, 60), 5);
    // From then on once a minute (P-28).
    for minute in 1..10 {
        let from = start + Duration::from_secs(60 * minute);
        assert_eq!(asked(&recoveries, from, 60), 1, "{minute}");
    }
    // What one AEF says costs another nothing.
    let now = start + Duration::from_secs(600);
    assert_eq!(recoveries.opens(&aef("b"), now), now);
    // After a long silence it is good for as much as in the beginning, and for no more.
    let late = start + Duration::from_secs(100_000);
    assert_eq!(asked(&recoveries, late, 60), 5);
}

#[test]
fn a_word_that_was_true_is_believed_again() {
    let recoveries = Recoveries::default();
    let mut now = Instant::now();
    for _ in 0..100 {
        assert!(recoveries.opens(&aef("a"), now) <= now);
        recoveries.spend(&aef("a"), now);
        recoveries.confirm(&aef("a"));
        now += Duration::from_millis(1);
    }
}

#[test]
fn vain_questions_come_at_growing_intervals() {
    let recoveries = Recoveries::default();
    let start = Instant::now();
    let mut now = start;
    let mut waits = Vec::new();
    for _ in 0..QUESTIONS_MAX {
        recoveries.spend(&aef("a"), now);
        let opens = recoveries.opens(&aef("a"), now);
        waits.push((opens - now).as_millis());
        now = opens;
    }
    assert_eq!(waits[..4], [250, 500, 1000, 2000]);
    // All of them are within what one call bears, and the one after them is not.
    assert!(waits[..4].iter().sum::<u128>() < PATIENCE.as_millis());
    assert!(start + PATIENCE < now);
}

#[test]
fn what_is_remembered_about_aefs_is_bounded() {
    let recoveries = Recoveries::default();
    let now = Instant::now();
    for index in 0..KNOWN_APIS_MAX * 2 {
        recoveries.opens(&aef(&index.to_string()), now);
    }
    assert!(recoveries.lock().len() <= KNOWN_APIS_MAX);
    // But what was spent is not forgotten.
    recoveries.spend(&aef("spent"), now);
    for index in 0..KNOWN_APIS_MAX * 2 {
        recoveries.opens(&aef(&index.to_string()), now);
    }
    assert!(recoveries.opens(&aef("spent"), now) > now);
}

#[test]
fn a_call_has_enough_at_some_time() {
    let now = Instant::now();
    let mut patience = Patience::default();
    let borne = (0..1000)
        .take_while(|_| patience.bear(now).is_some())
        .count();
    assert_eq!(borne, REPEATS_MAX as usize);
    let mut patience = Patience::default();
    assert_eq!(patience.bear(now), Some(now + PATIENCE));
    assert_eq!(patience.bear(now + PATIENCE), None);
}

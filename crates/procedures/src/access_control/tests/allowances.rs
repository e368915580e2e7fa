use time::{Duration, OffsetDateTime};

use crate::{
    access_control::{allowance::*, rate::Window, *},
    changes::{Key, Kind},
    fixtures::*,
};

const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn at(milliseconds: i64) -> OffsetDateTime {
    START + Duration::milliseconds(milliseconds)
}

fn limits(total: Option<u64>, per_second: Option<u64>) -> Limits {
    Limits {
        total,
        per_second,
        ..Limits::default()
    }
}

fn allowance(granted: u64, exhausted: Option<Exhausted>, retry: Option<u64>) -> Allowance {
    Allowance {
        granted,
        exhausted,
        retry_after_ms: retry,
    }
}

/// R-ACL-01: never more than is left of the total, nor than the rate lets through; and which of them it was.
#[test]
fn no_more_is_granted_than_both_bounds_leave() {
    let (total, rate) = (Some(Exhausted::Total), Some(Exhausted::Rate));
    let cases = [
        // wanted, total, per second, used, in the window: granted, exhausted, retry
        (5, None, None, 0, 0, allowance(5, None, None)),
        (5, Some(10), None, 0, 0, allowance(5, None, None)),
        (5, Some(10), None, 5, 0, allowance(5, None, None)),
        (5, Some(10), None, 6, 0, allowance(4, total, None)),
        (5, Some(10), None, 10, 0, allowance(0, total, None)),
        (5, Some(10), None, 11, 0, allowance(0, total, None)),
        (5, Some(0), None, 0, 0, allowance(0, total, None)),
        (5, Some(10), None, u64::MAX, 0, allowance(0, total, None)),
        (5, None, Some(5), 0, 0, allowance(5, None, None)),
        (5, None, Some(5), 0, 2, allowance(3, rate, Some(1000))),
        (5, None, Some(5), 0, 9, allowance(0, rate, Some(1000))),
        (5, Some(10), Some(3), 0, 0, allowance(3, rate, Some(1000))),
        (5, Some(10), Some(3), 8, 0, allowance(2, total, None)),
        (5, Some(10), Some(3), 7, 0, allowance(3, total, None)),
        (5, Some(10), Some(3), 10, 3, allowance(0, total, None)),
    ];
    for (wanted, total, per_second, used, in_window, expected) in cases {
        let mut window = Window::default();
        window.take(in_window, START);
        let allowed = allow(wanted, &limits(total, per_second), used, &window, START);
        assert_eq!(
            allowed, expected,
            "{wanted} {total:?} {per_second:?} {used} {in_window}"
        );
    }
}

/// What is answered on the wire.
#[test]
fn an_allowance_leaves_out_what_is_not_there() {
    let text = |allowance| serde_json::to_string(&allowance).unwrap();
    assert_eq!(text(allowance(5, None, None)), r#"{"granted":5}"#);
    assert_eq!(
        text(allowance(0, Some(Exhausted::Total), None)),
        r#"{"granted":0,"exhausted":"total"}"#
    );
    assert_eq!(
        text(allowance(1, Some(Exhausted::Rate), Some(17))),
        r#"{"granted":1,"exhausted":"rate","retryAfterMs":17}"#
    );
    for (wanted, good) in [
        (0, false),
        (1, true),
        (WANTED_MAX, true),
        (WANTED_MAX + 1, false),
    ] {
        let request = AllowanceReq {
            api_invoker_id: "INV".into(),
            wanted,
        };
        assert_eq!(request.check().is_ok(), good, "{wanted}");
    }
}

/// A second that begins anywhere holds no more than the rate, whatever was asked for and when.
#[test]
fn any_second_holds_no_more_than_the_rate() {
    // A generator of numbers that look random and are the same each time.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for rate in [1, 2, 7, 100, 5000] {
        let mut window = Window::default();
        let mut granted: Vec<(OffsetDateTime, u64)> = Vec::new();
        let mut now = START;
        for _ in 0..1500 {
            now += Duration::microseconds(i64::try_from(random(4000)).unwrap());
            let wanted = 1 + random(rate + 3);
            let allowed = allow(wanted, &limits(None, Some(rate)), 0, &window, now);
            if let Some(pause) = allowed.retry_after_ms {
                let after = now + Duration::milliseconds(i64::try_from(pause).unwrap());
                let mut later = window.clone();
                later.take(allowed.granted, now);
                assert!(later.room(rate, after) > 0, "it was worth asking again");
            }
            window.take(allowed.granted, now);
            granted.push((now, allowed.granted));
        }
        let mut most = 0;
        for (index, (begin, _)) in granted.iter().enumerate() {
            let within = granted[index..]
                .iter()
                .take_while(|(when, _)| *when - *begin < Duration::SECOND);
            most = within.map(|(_, calls)| calls).sum::<u64>().max(most);
        }
        assert_eq!(most, rate, "no more, and when asked for as much");
    }
}

/// After exactly one second, and not before, what was let through counts no more.
#[test]
fn a_second_is_a_second() {
    let mut window = Window::default();
    window.take(3, at(0));
    window.take(2, at(400));
    for (when, room, pause) in [
        (400, 0, 600),
        (999, 0, 1),
        (1000, 3, 0),
        (1399, 3, 0),
        (1400, 5, 0),
    ] {
        assert_eq!(window.room(5, at(when)), room, "{when}");
        assert_eq!(
            window.pause(5, at(when)),
            Duration::milliseconds(pause),
            "{when}"
        );
        assert_eq!(window.is_over(at(when)), when >= 1400);
    }
    // A rate that was lowered meanwhile waits for more to go.
    assert_eq!(window.pause(2, at(500)), Duration::milliseconds(900));
    window.take(0, at(2000));
    window.take(1, at(2000));
    assert_eq!(window.room(5, at(2000)), 4);
}

/// A clock that is set back makes nobody's calls forgotten, nor anybody wait for as long as it was set back.
#[test]
fn a_clock_that_is_set_back_forgets_nothing() {
    let mut window = Window::default();
    window.take(4, at(100_000));
    assert_eq!(window.room(5, at(40_000)), 1);
    assert_eq!(window.pause(4, at(40_000)), Duration::SECOND);
    window.take(1, at(40_000));
    assert_eq!(window.room(5, at(40_500)), 0);
    assert_eq!(window.room(5, at(41_000)), 5);
    // Nor when nothing could be let through at the time, nor after a start by a clock that was ahead.
    for mut full in [Window::unknown(at(100_000)), {
        let mut window = Window::default();
        window.take(5, at(100_000));
        window
    }] {
        assert_eq!(full.room(5, at(40_000)), 0);
        full.take(0, at(40_000));
        assert_eq!(full.room(5, at(40_999)), 0);
        assert_eq!(full.room(5, at(41_000)), 5);
    }
}

/// What went through before is not known, and counts as everything for a second.
#[test]
fn an_unknown_second_lets_nothing_through() {
    let window = Window::unknown(at(0));
    assert_eq!(window.room(u64::MAX, at(999)), 0);
    assert_eq!(window.pause(1, at(400)), Duration::milliseconds(600));
    assert_eq!(window.room(9, at(1000)), 9);
}

/// However many grants there are, a window keeps no more than one for each millisecond.
#[test]
fn a_window_does_not_grow() {
    let mut window = Window::default();
    for tick in 0..200_000 {
        window.take(1, START + Duration::microseconds(tick * 10));
    }
    let kept = format!("{window:?}").matches("calls").count();
    assert!(kept <= 1001, "{kept}");
    assert_eq!(
        window.room(200_000, START + Duration::microseconds(1_999_990)),
        100_000
    );
}

fn weather() -> ServiceApi {
    api("A1", "weather", &[profile("AEF1", &[Oauth])])
}

fn policy_of(invoker: Option<&str>, total: Option<u64>) -> AccessControlPolicy {
    AccessControlPolicy {
        api_id: "A1".into(),
        invoker_id: invoker.map(Into::into),
        limits: limits(total, None),
    }
}

/// Asks on the records of a world, as an edge would.
fn asked(world: &World, wanted: u64) -> (Changes, Allowance) {
    let id = ApiInvokerId::from("INV");
    let api = weather();
    let own = world.held(&AccessControlPolicy::id(&api.id, Some(&id)));
    let default = world.held(&AccessControlPolicy::id(&api.id, None));
    let usage = world.held(&Usage::id(&id, &api.id));
    let terms = Terms {
        invoker: &id,
        api: &api,
        own: own.as_ref(),
        default: default.as_ref(),
        usage: usage.as_ref(),
    };
    grant(wanted, terms, &Window::default(), START)
}

/// R-ACL-01: two who were answered with the same leftovers cannot both have them; all together get the total and no more.
#[test]
fn askers_do_not_share_leftovers() {
    let mut world = World::default()
        .with(&weather())
        .with(&invoker("INV"))
        .with(&policy_of(None, Some(10)));
    let (first, allowed) = asked(&world, 7);
    let (second, also) = asked(&world, 7);
    assert_eq!((allowed.granted, also.granted), (7, 7));
    world.commit(first).unwrap();
    let usage = Key::new(Kind::Usage, "INV/A1");
    assert_eq!(world.commit(second), Err(usage.clone()));
    let (again, allowed) = asked(&world, 7);
    assert_eq!(allowed, allowance(3, Some(Exhausted::Total), None));
    let (too_late, _) = asked(&world, 1);
    world.commit(again).unwrap();
    assert_eq!(world.commit(too_late), Err(usage));
    let (nothing, allowed) = asked(&world, 1);
    assert_eq!(allowed, allowance(0, Some(Exhausted::Total), None));
    assert!(nothing.is_empty());
    assert_eq!(world.held::<Usage>("INV/A1").unwrap().record.calls, 10);
}

/// A grant counts under the policy that it was decided on: one that changes meanwhile makes it be decided anew. What was used
/// before counts against the new total.
#[test]
fn a_changed_policy_is_decided_anew() {
    let mut world = World::default()
        .with(&weather())
        .with(&invoker("INV"))
        .with(&policy_of(None, Some(10)));
    let (first, _) = asked(&world, 4);
    world.commit(first).unwrap();

    let (under_the_old, _) = asked(&world, 6);
    let mut lowered = Changes::new();
    lowered.put(&policy_of(None, Some(5)), Expect::Any);
    world.commit(lowered).unwrap();
    assert_eq!(
        world.commit(under_the_old),
        Err(Key::new(Kind::AccessControlPolicy, "A1/*"))
    );
    assert_eq!(asked(&world, 6).1.granted, 1);

    // A policy of the invoker's own comes in the place of everyone's.
    let (under_everyones, _) = asked(&world, 1);
    let mut own = Changes::new();
    own.put(&policy_of(Some("INV"), Some(6)), Expect::Any);
    world.commit(own).unwrap();
    assert_eq!(
        world.commit(under_everyones),
        Err(Key::new(Kind::AccessControlPolicy, "A1/INV"))
    );
    assert_eq!(asked(&world, 6).1.granted, 2);
    let mut free = Changes::new();
    free.put(&policy_of(Some("INV"), None), Expect::Any);
    world.commit(free).unwrap();
    let (nothing, allowed) = asked(&world, 6);
    assert_eq!(allowed, allowance(6, None, None));
    assert!(
        nothing.is_empty(),
        "nothing is counted where no total counts"
    );
}

/// Nothing is counted for an invoker or an API that has gone meanwhile.
#[test]
fn nothing_is_counted_for_who_is_gone() {
    let world = World::default()
        .with(&weather())
        .with(&invoker("INV"))
        .with(&policy_of(None, Some(10)));
    let (changes, _) = asked(&world, 1);
    for (kind, gone) in [(Kind::Invoker, "INV"), (Kind::ServiceApi, "A1")] {
        let mut world = world.clone();
        let mut going = Changes::new();
        going.steps.push(deletion(kind, gone, Expect::Any));
        world.commit(going).unwrap();
        assert_eq!(world.commit(changes.clone()), Err(Key::new(kind, gone)));
    }
}

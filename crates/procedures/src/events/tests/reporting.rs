//! When reports go out, and when a subscription is over.

use time::Duration;

use super::{
    super::reporting::{Next, PERIOD_SECONDS_MAX, has_ended, is_asked, is_over, next, reported},
    *,
};
use crate::state::Reporting;

fn after(seconds: i64) -> DateTime {
    DateTime(now().0 + Duration::seconds(seconds))
}

/// A subscription that asks this of its reports, with its progress; made now.
fn asking(wish: Value) -> (Subscription, Option<Reporting>) {
    let aef = function("AEF", Role::Aef, 1);
    let wanted = wire(json!({
        "events": ["API_INVOKER_OFFBOARDED"],
        "eventReq": wish,
        "notificationDestination": DESTINATION,
        "supportedFeatures": "4",
    }));
    let subscriber = Subscriber::Function(&aef);
    let (changes, held) = subscribe(subscriber, wanted, "SUB".into(), 0, &now()).unwrap();
    let progress = written::<Reporting>(&changes).pop();
    (held, progress.map(|(_, progress)| progress))
}

fn raised(held: &Subscription, seconds: i64) -> Notification {
    Notification {
        raised: after(seconds),
        ..waiting(held)
    }
}

/// What is decided on one notification: when it goes out, or that it does not.
fn decided(wish: Value, raised_at: i64, at: i64) -> Option<i64> {
    let (held, progress) = asking(wish);
    let waiting = vec![("1".to_owned(), raised(&held, raised_at))];
    match next(&held, progress.as_ref(), waiting, &after(at)).unwrap() {
        Next::Report(report) => {
            assert_eq!(report.ids, ["1"]);
            assert!(report.due <= after(at));
            Some(at)
        }
        Next::HoldUntil(until) => Some((until.0 - now().0).whole_seconds()),
        Next::Over => None,
    }
}

/// TS 29.523: what happened in a period goes out at its end; what happens as it ends belongs to the next one.
#[test]
fn periods_are_counted_from_the_beginning() {
    let periodic = || json!({ "notifMethod": "PERIODIC", "repPeriod": 10 });
    for (raised, at, expected) in [
        (0, 0, 10),
        (0, 9, 10),
        (0, 10, 10),
        (9, 9, 10),
        (10, 10, 20),
        (25, 29, 30),
        (25, 300, 300),
        // A clock that was set back.
        (-5, 0, 5),
    ] {
        assert_eq!(
            decided(periodic(), raised, at),
            Some(expected),
            "{raised} {at}"
        );
    }
    // The last period ends with the subscription.
    let ending = || json!({ "notifMethod": "PERIODIC", "repPeriod": 10, "monDur": after(13) });
    assert_eq!(decided(ending(), 12, 12), Some(13));
    assert_eq!(decided(ending(), 12, 13), Some(13));
    // A period belongs to its method alone.
    let detected = json!({ "notifMethod": "ON_EVENT_DETECTION", "repPeriod": 10 });
    assert_eq!(decided(detected, 0, 0), Some(0));
    assert_eq!(decided(json!({}), 0, 0), Some(0));
}

/// What is reported at once waits for no period, and is a report of its own.
#[test]
fn an_immediate_report_waits_for_nothing() {
    let wish = json!({ "notifMethod": "PERIODIC", "repPeriod": 10, "immRep": true });
    let (held, progress) = asking(wish);
    let mut at_once = raised(&held, 0);
    at_once.at_once = true;
    let line = vec![
        ("1".to_owned(), at_once.clone()),
        ("2".to_owned(), at_once),
        ("3".to_owned(), raised(&held, 0)),
    ];
    match next(&held, progress.as_ref(), line, &now()) {
        Some(Next::Report(report)) => assert_eq!(report.ids, ["1"]),
        other => panic!("{other:?}"),
    }
}

/// What happened in different periods is reported apart, also when both are over.
#[test]
fn periods_are_reported_apart() {
    let (held, progress) = asking(json!({ "notifMethod": "PERIODIC", "repPeriod": 10 }));
    let line = [(1, 3), (2, 9), (3, 10), (4, 14)];
    let line = line.map(|(id, at)| (i32::to_string(&id), raised(&held, at)));
    let made_of = |line: &[(String, Notification)]| match next(
        &held,
        progress.as_ref(),
        line.to_vec(),
        &after(100),
    ) {
        Some(Next::Report(report)) => (report.ids, report.due),
        other => panic!("{other:?}"),
    };
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(made_of(&line), (ids(&["1", "2"]), after(10)));
    assert_eq!(made_of(&line[2..]), (ids(&["3", "4"]), after(20)));
    assert_eq!(
        next(&held, progress.as_ref(), Vec::new(), &after(100)),
        None
    );
}

/// TS 29.523: nothing is reported that happens after `monDur`; what waits then is offered a little longer.
#[test]
fn a_subscription_ends_at_its_time() {
    let wish = || json!({ "monDur": after(100) });
    let (held, progress) = asking(wish());
    assert_eq!(progress, None, "there is nothing to count");
    for (at, ended, over) in [
        (0, false, false),
        (99, false, false),
        (100, true, false),
        (159, true, false),
        (160, true, true),
    ] {
        assert_eq!(has_ended(&held, &after(at)), ended, "{at}");
        assert_eq!(is_over(&held, None, &after(at)), over, "{at}");
        let hears = |occurrence| {
            let mut changes = Changes::new();
            raise(&mut changes, occurrence, std::iter::once(&held), &after(at));
            !changes.is_empty()
        };
        assert_eq!(hears(offboarded("INV")), !ended, "{at}");
    }
    assert_eq!(decided(wish(), 99, 120), Some(120));
    assert_eq!(decided(wish(), 99, 160), None);
}

/// TS 29.523: reports count when they are acknowledged, in the commit that removes them; the last takes the subscription along with
/// what waits.
#[test]
fn the_last_report_takes_the_subscription_along() {
    for (wish, limit) in [
        (json!({ "maxReportNbr": 2 }), 2),
        (json!({ "notifMethod": "ONE_TIME" }), 1),
        (json!({ "notifMethod": "ONE_TIME", "maxReportNbr": 5 }), 1),
        (
            json!({ "notifMethod": "PERIODIC", "repPeriod": 1, "maxReportNbr": 3 }),
            3,
        ),
    ] {
        let (held, progress) = asking(wish.clone());
        assert!(is_asked(&held), "{wish}");
        let mut world = World::default().with(&held).with(&progress.unwrap());
        for _ in 0..5 {
            let mut changes = Changes::new();
            raise(
                &mut changes,
                offboarded("INV"),
                std::iter::once(&held),
                &now(),
            );
            world.commit(changes).unwrap();
        }
        for count in 1..=limit {
            let ids = world.ids(Kind::Notification);
            let subscription = world.held::<Subscription>("AEF/SUB").unwrap();
            let progress = world.held::<Reporting>("AEF/SUB");
            let changes = reported(&subscription, progress.as_ref(), &ids[..1]);
            world.commit(changes.clone()).unwrap();
            // A report that is counted by two at once is counted once.
            assert!(world.commit(changes).is_err(), "{wish}");
            let progress = world.held::<Reporting>("AEF/SUB");
            let left = progress.map(|held| held.record.delivered);
            assert_eq!(left, (count < limit).then_some(count), "{wish}");
        }
        assert_eq!(world.keys(), [], "{wish}");
    }
}

/// Of a subscription without a limit nothing is counted: what was acknowledged goes, and nothing else is written.
#[test]
fn reports_without_a_limit_are_not_counted() {
    for wish in [
        json!({}),
        json!({ "notifMethod": "PERIODIC", "repPeriod": 1 }),
    ] {
        let (held, progress) = asking(wish.clone());
        let progress = progress.map(versioned);
        let ids = ["a", "b", "c"].map(ToOwned::to_owned);
        let changes = reported(&versioned(held), progress.as_ref(), &ids);
        let expected = ["a", "b", "c"].map(|id| deletion(Kind::Notification, id, Expect::Any));
        assert_eq!(changes.steps, expected, "{wish}");
    }
}

/// TS 29.523: what cannot be is refused, with its place; what is not served is not answered as if it were.
#[test]
fn wishes_that_cannot_be_are_refused() {
    let aef = function("AEF", Role::Aef, 1);
    let accepted = |wish: Value, features: &str| {
        let wanted = wire(json!({
            "events": ["API_INVOKER_OFFBOARDED"],
            "eventReq": wish,
            "notificationDestination": DESTINATION,
            "supportedFeatures": features,
        }));
        match subscribe(Subscriber::Function(&aef), wanted, "SUB".into(), 0, &now()) {
            Ok((_, held)) => Ok(serde_json::to_value(held.subscription.event_req).unwrap()),
            Err(Refusal::Malformed { pointer, .. }) => Err(pointer),
            Err(refusal) => panic!("{refusal}"),
        }
    };
    for (wish, culprit) in [
        (
            json!({ "notifMethod": "SOMETIMES" }),
            "/eventReq/notifMethod",
        ),
        (
            json!({ "notifMethod": "periodic", "repPeriod": 1 }),
            "/eventReq/notifMethod",
        ),
        (json!({ "notifMethod": "PERIODIC" }), "/eventReq/repPeriod"),
        (
            json!({ "notifMethod": "PERIODIC", "repPeriod": 0 }),
            "/eventReq/repPeriod",
        ),
        (json!({ "repPeriod": 0 }), "/eventReq/repPeriod"),
        (
            json!({ "notifMethod": "PERIODIC", "repPeriod": PERIOD_SECONDS_MAX + 1 }),
            "/eventReq/repPeriod",
        ),
        (
            json!({ "notifMethod": "PERIODIC", "repPeriod": u64::MAX }),
            "/eventReq/repPeriod",
        ),
        (json!({ "maxReportNbr": 0 }), "/eventReq/maxReportNbr"),
        (json!({ "monDur": now() }), "/eventReq/monDur"),
        (
            json!({ "monDur": "2020-01-01T00:00:00Z" }),
            "/eventReq/monDur",
        ),
    ] {
        assert_eq!(
            accepted(wish.clone(), "4"),
            Err(culprit.to_owned()),
            "{wish}"
        );
        // What was not agreed on is not looked at.
        assert_eq!(accepted(wish, "0"), Ok(Value::Null));
    }
    let served = json!({
        "immRep": true, "notifMethod": "PERIODIC", "repPeriod": PERIOD_SECONDS_MAX, "maxReportNbr": u64::MAX,
        "monDur": "2030-01-01T00:00:00Z", "vendorSpecific-000001": {},
    });
    assert_eq!(accepted(served.clone(), "4"), Ok(served));
    let beyond = json!({
        "notifMethod": "ON_EVENT_DETECTION", "repPeriod": 7, "sampRatio": 50, "partitionCriteria": ["TAC"], "grpRepTime": 5,
        "notifFlag": "DEACTIVATE", "notifFlagInstruct": {}, "mutingSetting": {},
    });
    assert_eq!(
        accepted(beyond, "4"),
        Ok(json!({ "notifMethod": "ON_EVENT_DETECTION" }))
    );
}

/// Reports begin anew when something else is asked of them, and go on when the rest changes.
#[test]
fn another_wish_begins_anew() {
    let aef = function("AEF", Role::Aef, 1);
    let (held, _) = asking(json!({ "maxReportNbr": 3 }));
    let held = versioned(held);
    let replaced = |wish: Value| {
        let mut wanted = held.record.subscription.clone();
        wanted.event_req = wire(wish);
        let later = after(60);
        let (changes, _) = replace(Subscriber::Function(&aef), &held, wanted, &later).unwrap();
        let gone = deletion(Kind::Reporting, "AEF/SUB", Expect::Any);
        let written: Vec<(u64, DateTime)> = written::<Reporting>(&changes)
            .into_iter()
            .map(|(_, progress)| (progress.delivered, progress.began))
            .collect();
        (written, changes.steps.contains(&gone))
    };
    assert_eq!(replaced(json!({ "maxReportNbr": 3 })), (vec![], false));
    assert_eq!(
        replaced(json!({ "maxReportNbr": 4 })),
        (vec![(0, after(60))], false)
    );
    assert_eq!(replaced(json!(null)), (vec![], true));
    assert_eq!(replaced(json!({ "immRep": true })), (vec![], true));
}

use serde_json::json;
use time::Duration;

use super::*;
use crate::fixtures::{now, wire};

/// The entry of a call, so many minutes after the beginning; reported a minute later.
fn entry(aef: &str, invoker: &str, api: &str, minute: i64) -> InvocationLogEntry {
    let called = DateTime(now().0 + Duration::minutes(minute));
    InvocationLogEntry {
        aef_id: AefId::from(aef),
        api_invoker_id: ApiInvokerId::from(invoker),
        log: wire(json!({
            "apiId": api,
            "apiName": "weather",
            "apiVersion": "v1",
            "resourceName": "today",
            "protocol": "HTTP_1_1",
            "result": "200",
            "invocationTime": called,
        })),
        received: DateTime(called.0 + Duration::minutes(1)),
    }
}

fn stretch(entries: &[InvocationLogEntry]) -> Stretch {
    let mut stretch = Stretch::default();
    for entry in entries {
        stretch.add(entry);
    }
    stretch
}

fn minute(minute: i64) -> Option<DateTime> {
    Some(DateTime(now().0 + Duration::minutes(minute)))
}

#[test]
fn a_stretch_says_what_cannot_be_in_it() {
    let held = stretch(&[
        entry("AEF", "INV1", "API1", 10),
        entry("AEF", "INV2", "API2", 5),
    ]);
    assert_eq!(held.entries(), 2);
    let may = |criteria: Criteria| held.may_meet(&criteria);
    let any = Criteria::default;
    assert!(may(any()));
    for (api, there) in [("API1", true), ("API2", true), ("API3", false)] {
        let api_id = Some(api.to_owned());
        assert_eq!(may(Criteria { api_id, ..any() }), there, "{api}");
    }
    for (invoker, there) in [("INV1", true), ("INV3", false)] {
        let api_invoker_id = Some(ApiInvokerId::from(invoker));
        let criteria = Criteria {
            api_invoker_id,
            ..any()
        };
        assert_eq!(may(criteria), there, "{invoker}");
    }
    for (start, end, there) in [(10, 20, true), (11, 20, false), (0, 5, true), (0, 4, false)] {
        let criteria = Criteria {
            time_range_start: minute(start),
            time_range_end: minute(end),
            ..any()
        };
        assert_eq!(may(criteria), there, "{start} to {end}");
    }
    assert!(!Stretch::default().may_meet(&any()));

    let many: Vec<_> = (0..=INVOKERS_MAX)
        .map(|number| entry("AEF", &format!("INV{number}"), "API1", 0))
        .collect();
    let criteria = Criteria {
        api_invoker_id: Some(ApiInvokerId::from("else")),
        ..any()
    };
    assert!(!stretch(&many[1..]).may_meet(&criteria));
    assert!(stretch(&many).may_meet(&criteria));
}

#[test]
fn a_stretch_says_whether_anything_is_over() {
    let held = stretch(&[
        entry("AEF", "INV1", "API1", 10),
        entry("AEF", "INV2", "API2", 5),
    ]);
    let keeping = Keeping::new(Duration::hours(1), std::iter::empty());
    assert!(!held.may_be_over(&keeping, &minute(65).unwrap()));
    assert!(held.may_be_over(&keeping, &minute(66).unwrap()));
    let short = crate::state::LogRetention {
        api_id: ServiceApiId::from("API1"),
        api_name: "weather".to_owned(),
        hours: 1,
    };
    let keeping = Keeping::new(Duration::hours(10), [&short].into_iter());
    assert!(!held.may_be_over(&keeping, &minute(70).unwrap()));
    assert!(held.may_be_over(&keeping, &minute(71).unwrap()));
}

#[test]
fn stretches_stand_side_by_side() {
    let aef = AefId::from("AEF");
    let full = || stretch(&[entry("AEF", "INV", "API", 0)]);
    let mut zones = Zones::default();
    let last = |zones: &Zones, after: Option<&str>| {
        let found = zones.behind(&aef, after)?;
        Some(found.1.to_owned())
    };
    assert_eq!(last(&zones, None), None);
    zones.remember(&aef, None, "AEF/10", full());
    zones.remember(&aef, Some("AEF/10"), "AEF/20", full());
    zones.remember(&aef, Some("AEF/30"), "AEF/40", full());
    for (after, found) in [
        (None, Some("AEF/10")),
        (Some("AEF/05"), Some("AEF/10")),
        (Some("AEF/10"), Some("AEF/20")),
        (Some("AEF/20"), None),
        (Some("AEF/25"), None),
        (Some("AEF/35"), Some("AEF/40")),
        (Some("AEF/40"), None),
    ] {
        assert_eq!(last(&zones, after).as_deref(), found, "{after:?}");
    }
    assert!(zones.behind(&AefId::from("AEF2"), None).is_none());
    // Nothing overlaps.
    zones.remember(&aef, Some("AEF/20"), "AEF/35", full());
    zones.remember(&aef, Some("AEF/15"), "AEF/18", full());
    assert_eq!(last(&zones, Some("AEF/20")), None);
    assert_eq!(last(&zones, Some("AEF/15")).as_deref(), Some("AEF/20"));
    // An emptied one leaves its place to the next.
    zones.remember(&aef, None, "AEF/10", Stretch::default());
    assert_eq!(last(&zones, None).as_deref(), Some("AEF/20"));
    zones.remember(&aef, Some("AEF/30"), "AEF/40", Stretch::default());
    assert_eq!(last(&zones, Some("AEF/30")), None);
    zones.forget(&aef);
    assert_eq!(last(&zones, None), None);
}

/// Whoever passes over stretches that cannot concern it finds what whoever reads everything finds, whatever was removed meanwhile.
#[test]
fn nothing_is_overlooked() {
    let aef = AefId::from("AEF");
    let mut seed = 7_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for _ in 0..500 {
        let mut entries: BTreeMap<String, InvocationLogEntry> = (0..60)
            .map(|number| {
                let invoker = format!("INV{}", random(5));
                let api = format!("API{}", random(4));
                let minute = i64::try_from(number + random(20)).unwrap();
                let id = format!("AEF/{number:03}");
                (id, entry("AEF", &invoker, &api, minute))
            })
            .collect();
        let mut zones = Zones::default();
        let ids: Vec<String> = entries.keys().cloned().collect();
        let mut after: Option<String> = None;
        for chunk in ids.chunks(10).take(5) {
            let held: Vec<_> = chunk.iter().map(|id| entries[id].clone()).collect();
            let last = chunk.last().unwrap();
            zones.remember(&aef, after.as_deref(), last, stretch(&held));
            after = Some(last.clone());
        }
        entries.retain(|_, _| random(4) > 0);
        let start = i64::try_from(random(70)).unwrap();
        let criteria = Criteria {
            api_id: (random(2) > 0).then(|| format!("API{}", random(4))),
            api_invoker_id: (random(2) > 0)
                .then(|| ApiInvokerId::from(format!("INV{}", random(5)).as_str())),
            time_range_start: (random(2) > 0).then(|| minute(start)).flatten(),
            time_range_end: (random(2) > 0).then(|| minute(start + 20)).flatten(),
            ..Criteria::default()
        };
        let naive: Vec<&String> = entries
            .iter()
            .filter(|(_, entry)| criteria.meets(entry))
            .map(|(id, _)| id)
            .collect();
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let place = zones.behind(&aef, after.as_deref());
            if let Some((stretch, last)) = place
                && !stretch.may_meet(&criteria)
            {
                after = Some(last.to_owned());
                continue;
            }
            let from = after.clone().unwrap_or_default();
            let mut behind =
                entries.range::<str, _>((Bound::Excluded(from.as_str()), Bound::Unbounded));
            let Some((id, entry)) = behind.next() else {
                break;
            };
            if criteria.meets(entry) {
                found.push(id);
            }
            after = Some(id.clone());
        }
        assert_eq!(found, naive, "{criteria:?}");
    }
}

use serde_json::{Value, json};

use crate::{
    access_control::*,
    changes::{Key, Kind},
    fixtures::*,
    state::{Role, SecurityEntry},
};

/// `weather` at two AEFs.
fn weather() -> ServiceApi {
    let profiles = [profile("AEF1", &[Oauth]), profile("AEF2", &[Oauth])];
    api("A1", "weather", &profiles)
}

fn total(total: u64) -> Limits {
    Limits {
        total: Some(total),
        ..Limits::default()
    }
}

fn of(invoker: Option<&str>, limits: Limits) -> AccessControlPolicy {
    AccessControlPolicy {
        api_id: "A1".into(),
        invoker_id: invoker.map(Into::into),
        limits,
    }
}

/// Invokers with what they negotiated.
struct Crowd(Vec<(Invoker, SecurityContext)>);

impl Crowd {
    fn new(all: &[(&str, Vec<SecurityEntry>)]) -> Self {
        let member = |(id, entries): &(&str, Vec<SecurityEntry>)| {
            (invoker(id), context(id, entries.clone()))
        };
        Self(all.iter().map(member).collect())
    }

    fn members(&self) -> impl Iterator<Item = Member<'_>> + Clone {
        self.0
            .iter()
            .map(|(invoker, context)| Member { invoker, context })
    }
}

fn around<'a>(
    api: &'a Versioned<ServiceApi>,
    policies: &'a [AccessControlPolicy],
    crowd: &'a Crowd,
    subscriptions: &'a [Subscription],
) -> Around<
    'a,
    impl Iterator<Item = Member<'a>> + Clone,
    impl Iterator<Item = &'a Subscription> + Clone,
> {
    Around {
        api,
        policies: policies.iter().collect(),
        members: crowd.members(),
        subscriptions: subscriptions.iter(),
    }
}

fn shown(list: &[ApiInvokerPolicy]) -> Value {
    serde_json::to_value(list).unwrap()
}

/// TS 29.222 clause 8.6.4.2.2: one policy per invoker: its own, or else everyone's, for whoever has something to do with the API at
/// that AEF.
#[test]
fn an_aef_sees_one_policy_per_invoker() {
    let api = weather();
    let crowd = Crowd::new(&[
        ("INV1", vec![entry_at("AEF1", Some(Oauth))]),
        ("INV2", vec![entry_for("AEF1", "A1", Oauth)]),
        ("INV3", vec![entry_for("AEF1", "A9", Oauth)]),
        ("INV4", vec![entry_at("AEF2", Some(Oauth))]),
        ("INV5", vec![]),
    ]);
    let list = |aef: &str, policies: &[AccessControlPolicy]| {
        let policies: Vec<&AccessControlPolicy> = policies.iter().collect();
        shown(&list(&api, &aef.into(), &policies, crowd.members()))
    };
    let allowed =
        |id: &str, total: u64| json!({ "apiInvokerId": id, "allowedTotalInvocations": total });
    assert_eq!(list("AEF1", &[]), json!([]));
    let default = of(None, total(5));
    assert_eq!(
        list("AEF1", std::slice::from_ref(&default)),
        json!([allowed("INV1", 5), allowed("INV2", 5)])
    );
    assert_eq!(
        list("AEF2", std::slice::from_ref(&default)),
        json!([allowed("INV4", 5)])
    );
    // Of its own, an invoker has a policy wherever it is.
    let own = of(Some("INV2"), total(0));
    assert_eq!(
        list("AEF1", &[default, own.clone()]),
        json!([allowed("INV2", 0), allowed("INV1", 5)])
    );
    assert_eq!(list("AEF2", &[own]), json!([allowed("INV2", 0)]));
}

/// Who was shut out, or lost the API, has nothing to do with it.
#[test]
fn who_lost_the_api_is_in_no_list() {
    let api = weather();
    let mut crowd = Crowd::new(&[
        ("INV1", vec![entry_at("AEF1", Some(Oauth))]),
        ("INV2", vec![entry_at("AEF1", Some(Oauth))]),
        ("INV3", vec![entry_at("AEF1", Some(Oauth))]),
    ]);
    crowd.0[0].0.bars.all = true;
    crowd.0[1].1.entries[0].revoked.insert("A1".into());
    let default = of(None, total(5));
    let list = list(&api, &"AEF1".into(), &[&default], crowd.members());
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].api_invoker_id.as_str(), "INV3");
}

/// TS 29.222 clauses 8.6.4.2.3 and 8.6.4.2.4: every bound has its member, and what is not bounded has none.
#[test]
fn bounds_are_told_in_the_words_of_the_standard() {
    let limits = Limits {
        total: Some(100),
        per_second: Some(3),
        times: vec![
            TimeRange {
                from: Some("2026-01-31T08:00:00Z".parse().unwrap()),
                to: Some("2026-01-31T18:00:00Z".parse().unwrap()),
            },
            TimeRange {
                from: Some("2026-02-02T08:00:00Z".parse().unwrap()),
                to: None,
            },
        ],
        slices: wire(json!([{ "snssai": { "sst": 1, "sd": "00000a" } }, { "nsiId": "one" }])),
    };
    let own = of(Some("INV"), limits);
    let unlimited = of(Some("INV2"), Limits::default());
    let list = list(
        &weather(),
        &"AEF1".into(),
        &[&own, &unlimited],
        std::iter::empty(),
    );
    assert_eq!(
        shown(&list),
        json!([
            {
                "apiInvokerId": "INV",
                "allowedTotalInvocations": 100,
                "allowedInvocationsPerSecond": 3,
                "allowedInvocationTimeRangeList": [
                    { "startTime": "2026-01-31T08:00:00Z", "stopTime": "2026-01-31T18:00:00Z" },
                    { "startTime": "2026-02-02T08:00:00Z" },
                ],
                "netSliceInfo": [{ "snssai": { "sst": 1, "sd": "00000a" } }, { "nsiId": "one" }],
            },
            { "apiInvokerId": "INV2" },
        ])
    );
}

/// R-ACL-02: the AEFs of the API that subscribed hear of a change, each with the list as it is for it afterwards; nobody else
/// does.
#[test]
fn the_aefs_of_the_api_are_told() {
    let update = "ACCESS_CONTROL_POLICY_UPDATE";
    let gone = "ACCESS_CONTROL_POLICY_UNAVAILABLE";
    let both = [update, gone];
    let mut other_api = subscription("AEF2", Role::Aef, &[update]);
    other_api.id = "SUB2".into();
    other_api.subscription.event_filters = Some(vec![wire(json!({ "apiIds": ["A9"] }))]);
    let mut other_invoker = subscription("AEF2", Role::Aef, &[update]);
    other_invoker.id = "SUB3".into();
    other_invoker.subscription.event_filters =
        Some(vec![wire(json!({ "apiInvokerIds": ["INV9"] }))]);
    let mut elsewhere = subscription("AEF9", Role::Aef, &both);
    elsewhere.reach = domain_only("DOM2");
    let subscriptions = [
        subscription("AEF1", Role::Aef, &both),
        plain(subscription("AEF2", Role::Aef, &both)),
        other_api,
        other_invoker,
        elsewhere,
        subscription("AEF3", Role::Aef, &both),
        subscription("AMF", Role::Amf, &both),
    ];
    let crowd = Crowd::new(&[
        ("INV1", vec![entry_at("AEF1", Some(Oauth))]),
        ("INV2", vec![entry_at("AEF2", Some(Oauth))]),
    ]);
    let api = versioned(weather());
    let told = |who: &str, event: &str, detail: Value| (who.to_owned(), event.to_owned(), detail);
    let detail = |policies: Value| json!({ "accCtrlPolList": { "apiId": "A1", "apiInvokerPolicies": policies } });

    let around_none = || around(&api, &[], &crowd, &subscriptions);
    let none = [].iter();
    let changes = set(
        total(5),
        Some(&versioned(invoker("INV7"))),
        none,
        around_none(),
        &now(),
    );
    let list = json!([{ "apiInvokerId": "INV7", "allowedTotalInvocations": 5 }]);
    assert_eq!(
        notified(&changes.unwrap()),
        [
            told("AEF1", update, detail(list)),
            told("AEF2", update, Value::Null),
        ]
    );

    // Everyone's policy passes every filter of invokers: it may be anybody's.
    let held = [of(Some("INV7"), total(5))];
    let changes = set(
        total(9),
        None,
        [].iter(),
        around(&api, &held, &crowd, &subscriptions),
        &now(),
    )
    .unwrap();
    let list = json!([
        { "apiInvokerId": "INV7", "allowedTotalInvocations": 5 },
        { "apiInvokerId": "INV1", "allowedTotalInvocations": 9 },
    ]);
    let at_aef2 = json!([
        { "apiInvokerId": "INV7", "allowedTotalInvocations": 5 },
        { "apiInvokerId": "INV2", "allowedTotalInvocations": 9 },
    ]);
    assert_eq!(
        notified(&changes),
        [
            told("AEF1", update, detail(list)),
            told("AEF2", update, Value::Null),
            told("AEF2", update, detail(at_aef2)),
        ]
    );
    assert_eq!(
        written::<AccessControlPolicy>(&changes),
        [(Expect::Any, of(None, total(9)))]
    );

    // One of two goes, then the last one.
    let held = [of(Some("INV7"), total(5)), of(None, total(9))];
    let changes = remove(
        &versioned(held[1].clone()),
        around(&api, &held, &crowd, &subscriptions),
        &now(),
    );
    assert!(changes.steps.contains(&deletion(
        Kind::AccessControlPolicy,
        "A1/*",
        Expect::At(REVISION)
    )));
    assert_eq!(notified(&changes)[0].1, update);
    let changes = remove(
        &versioned(held[0].clone()),
        around(&api, &held[..1], &crowd, &subscriptions),
        &now(),
    );
    assert_eq!(
        notified(&changes),
        [
            told("AEF1", gone, json!({ "accCtrlPolList": { "apiId": "A1" } })),
            told("AEF2", gone, Value::Null),
        ]
    );
}

/// A list that would be too long for an event is left out: the AEF asks for it.
#[test]
fn long_lists_are_asked_for() {
    let names: Vec<String> = (0..=TOLD_MAX)
        .map(|number| format!("INV{number}"))
        .collect();
    let members: Vec<(&str, Vec<SecurityEntry>)> = names
        .iter()
        .map(|name| (name.as_str(), vec![entry_at("AEF1", Some(Oauth))]))
        .collect();
    let api = versioned(weather());
    let subscriptions = [subscription(
        "AEF1",
        Role::Aef,
        &["ACCESS_CONTROL_POLICY_UPDATE"],
    )];
    for (members, told) in [(&members[..TOLD_MAX], true), (&members[..], false)] {
        let crowd = Crowd::new(members);
        let around = around(&api, &[], &crowd, &subscriptions);
        let changes = set(total(1), None, [].iter(), around, &now()).unwrap();
        let detail = notified(&changes).remove(0).2;
        let list = detail["accCtrlPolList"]["apiInvokerPolicies"].as_array();
        assert_eq!(list.map(Vec::len), told.then_some(TOLD_MAX));
    }
}

#[test]
fn bounds_that_cannot_be_are_refused() {
    let range = |from: Option<&str>, to: Option<&str>| TimeRange {
        from: from.map(|time| time.parse().unwrap()),
        to: to.map(|time| time.parse().unwrap()),
    };
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let times = |times: Vec<TimeRange>| Limits {
        times,
        ..Limits::default()
    };
    let rate = |per_second: u64| Limits {
        per_second: Some(per_second),
        ..Limits::default()
    };
    let slices = |slices: Value| Limits {
        slices: wire(slices),
        ..Limits::default()
    };
    let api = versioned(weather());
    let crowd = Crowd::new(&[]);
    let outcome = |limits: Limits| {
        let around = around(&api, &[], &crowd, &[]);
        set(limits, None, [].iter(), around, &now())
    };
    for limits in [
        total(NUMBER_MAX + 1),
        total(u64::MAX),
        rate(0),
        rate(u64::MAX),
        times(vec![range(None, None)]),
        times(vec![range(Some(early), Some(early))]),
        times(vec![
            range(Some(early), None),
            range(Some(late), Some(early)),
        ]),
        times(vec![range(Some(early), None); TIMES_MAX + 1]),
        slices(json!([{}])),
        slices(json!([{ "nsiId": "" }])),
        slices(json!([{ "nsiId": "x".repeat(257) }])),
        slices(json!([{ "nsiId": "one", "ensi": "one" }])),
        slices(json!([{ "snssai": { "sst": 1, "sd": "xyz" } }])),
        slices(json!(vec![json!({ "nsiId": "one" }); SLICES_MAX + 1])),
    ] {
        assert!(
            matches!(outcome(limits.clone()), Err(Refusal::Malformed { .. })),
            "{limits:?}"
        );
    }
    for limits in [
        Limits::default(),
        total(0),
        total(NUMBER_MAX),
        rate(1),
        times(vec![
            range(Some(early), Some(late)),
            range(None, Some(early)),
        ]),
        times(vec![range(Some(early), None); TIMES_MAX]),
        slices(json!(vec![json!({ "nsiId": "one" }); SLICES_MAX])),
    ] {
        assert!(outcome(limits.clone()).is_ok(), "{limits:?}");
    }
}

/// What was used counts on, unless it is to be forgotten; two who change the policies of one API at once do it one after the other;
/// nothing is set for an invoker or an API that is gone.
#[test]
fn a_change_counts_for_what_was_read() {
    let used = |id: &str| Usage {
        invoker_id: id.into(),
        api_id: "A1".into(),
        calls: 4,
    };
    let mut world = World::default()
        .with(&weather())
        .with(&invoker("INV"))
        .with(&used("INV"))
        .with(&used("INV2"));
    let api = world.held::<ServiceApi>("A1").unwrap();
    let inv = world.held::<Invoker>("INV").unwrap();
    let crowd = Crowd::new(&[]);
    let around = || around(&api, &[], &crowd, &[]);
    let kept = set(total(5), Some(&inv), [].iter(), around(), &now()).unwrap();
    let its_own = [used("INV")];
    let forgotten = set(total(5), Some(&inv), its_own.iter(), around(), &now()).unwrap();
    let everyones = set(total(5), None, [].iter(), around(), &now()).unwrap();
    let without_invoker = World::default().with(&weather()).commit(kept.clone());
    assert_eq!(without_invoker, Err(Key::new(Kind::Invoker, "INV")));

    world.commit(kept).unwrap();
    assert_eq!(world.ids(Kind::Usage), ["INV/A1", "INV2/A1"]);
    assert_eq!(world.ids(Kind::AccessControlPolicy), ["A1/INV"]);
    let moved = Err(Key::new(Kind::ServiceApi, "A1"));
    assert_eq!(world.commit(everyones), moved);
    assert_eq!(world.commit(forgotten.clone()), moved);

    let mut world = World::default()
        .with(&weather())
        .with(&invoker("INV"))
        .with(&used("INV"))
        .with(&used("INV2"));
    world.commit(forgotten).unwrap();
    assert_eq!(world.ids(Kind::Usage), ["INV2/A1"]);
}

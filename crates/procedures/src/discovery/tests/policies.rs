use super::*;
use crate::{changes::Change, discovery::policy};

fn rule(audience: Audience, scope: Scope, shows: bool) -> DiscoveryPolicy {
    DiscoveryPolicy {
        audience,
        scope,
        shows,
    }
}

fn policies(rules: &[(Audience, Scope, bool)]) -> Policies {
    let mut policies = Policies::default();
    for (audience, scope, shows) in rules {
        policies.put(rule(audience.clone(), scope.clone(), *shows));
    }
    policies
}

fn amy() -> Audience {
    Audience::Invoker("amy".into())
}

fn named(name: &str) -> Scope {
    Scope::Name(name.to_owned())
}

fn category(name: &str) -> Scope {
    Scope::Category(name.to_owned())
}

/// TS 23.222 clause 4.2.2 and annex E: by invoker, API and category. The narrowest that is said counts, the invoker's own before
/// everyone's; where nothing is said an invoker is shown everything within its reach.
#[test]
fn the_narrowest_counts() {
    use Audience::Everyone;
    let id = |id: &str| Scope::Id(id.into());
    // A1 is `weather` of the category `nature`, A2 is `traffic`, A3 another `weather`.
    for (case, rules, of_amy, of_bob) in [
        ("nothing is said", vec![], "A1 A2 A3", "A1 A2 A3"),
        (
            "a name",
            vec![(Everyone, named("weather"), false)],
            "A2",
            "A2",
        ),
        ("an id", vec![(Everyone, id("A1"), false)], "A2 A3", "A2 A3"),
        (
            "a category",
            vec![(Everyone, category("nature"), false)],
            "A2 A3",
            "A2 A3",
        ),
        ("all", vec![(Everyone, Scope::All, false)], "", ""),
        (
            "only for one",
            vec![
                (Everyone, named("weather"), false),
                (amy(), named("weather"), true),
            ],
            "A1 A2 A3",
            "A2",
        ),
        (
            "only this for one",
            vec![(amy(), Scope::All, false), (amy(), named("traffic"), true)],
            "A2",
            "A1 A2 A3",
        ),
        (
            "an id before its name, a name before its category, a category before all",
            vec![
                (Everyone, Scope::All, false),
                (Everyone, category("nature"), true),
                (Everyone, named("weather"), false),
                (Everyone, id("A3"), true),
            ],
            "A3",
            "A3",
        ),
        (
            "one's own before everyone's, be it wider",
            vec![(Everyone, id("A1"), false), (amy(), Scope::All, true)],
            "A1 A2 A3",
            "A2 A3",
        ),
        (
            "what everyone is told where one's own is silent",
            vec![
                (Everyone, named("traffic"), false),
                (amy(), id("A1"), false),
            ],
            "A3",
            "A1 A3",
        ),
        (
            "what is said before onboarding is for others",
            vec![
                (Audience::Anyone, Scope::All, false),
                (Audience::Invoker("eve".into()), Scope::All, false),
            ],
            "A1 A2 A3",
            "A1 A2 A3",
        ),
    ] {
        let policies = policies(&rules);
        let (catalogue, reach) = (catalogue(&apis()), ApiReach::default());
        for (invoker, expected) in [("amy", of_amy), ("bob", of_bob)] {
            let sight = policies.sight(&invoker.into(), &reach);
            let found = super::super::discover(Criteria::default(), sight, &catalogue).unwrap();
            let found: Value = serde_json::from_slice(&found.to_json()).unwrap();
            let found = found["serviceAPIDescriptions"].as_array().cloned();
            let ids: Vec<String> = found
                .iter()
                .flatten()
                .map(|api| api["apiId"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(ids.join(" "), expected, "{case}: {invoker}");
        }
    }
}

/// A policy takes from what lies within reach and never adds to it.
#[test]
fn a_policy_opens_nothing_beyond_reach() {
    let policies = policies(&[(amy(), Scope::All, true), (amy(), named("traffic"), true)]);
    let reach = names(&["weather"]);
    let sight = policies.sight(&"amy".into(), &reach);
    let catalogue = catalogue(&apis());
    let found = super::super::discover(Criteria::default(), sight, &catalogue).unwrap();
    assert_eq!(found.len(), 2);
}

/// A preferred place that only hidden APIs stand at is as if nothing stood there.
#[test]
fn what_is_hidden_does_not_shadow_what_is_not() {
    let mut apis = apis();
    let profiles = apis[1].description.aef_profiles.as_mut().unwrap();
    profiles[0].aef_location = Some(wire(json!({ "dcId": "east" })));
    let criteria = Criteria {
        preferred_aef_loc: Some(wire(json!({ "dcId": "east" }))),
        ..Criteria::default()
    };
    let catalogue = catalogue(&apis);
    let count = |policies: &Policies| {
        let reach = ApiReach::default();
        let sight = policies.sight(&"amy".into(), &reach);
        super::super::discover(criteria.clone(), sight, &catalogue)
            .unwrap()
            .len()
    };
    assert_eq!(count(&policies(&[])), 1);
    assert_eq!(count(&policies(&[(amy(), named("traffic"), false)])), 2);
}

/// TS 23.222 annex E: before onboarding nothing is shown but what the operator names, by configuration or by policy.
#[test]
fn what_lies_open() {
    use Audience::Anyone;
    for (names, rules, expected) in [
        (&[][..], vec![], ""),
        (&["traffic"], vec![], "A2"),
        (&[], vec![(Anyone, named("weather"), true)], "A1 A3"),
        (
            &["traffic"],
            vec![(Anyone, category("nature"), true)],
            "A1 A2",
        ),
        (&[], vec![(Anyone, Scope::Id("A3".into()), true)], "A3"),
        (&[], vec![(Anyone, Scope::All, true)], "A1 A2 A3"),
        (
            &["weather"],
            vec![(Anyone, Scope::Id("A3".into()), false)],
            "A1",
        ),
        (&["weather"], vec![(Anyone, Scope::All, false)], ""),
        (&[], vec![(Audience::Everyone, Scope::All, true)], ""),
    ] {
        let policies = policies(&rules);
        let names = texts(names).into_iter().collect();
        let sight = policies.open_sight(&names);
        let found = discover_openly(&Criteria::default(), &sight, &catalogue(&apis())).unwrap();
        let ids: Vec<String> = found
            .disc_apis
            .iter()
            .map(|api| api.api_id.as_ref().unwrap().to_string())
            .collect();
        assert_eq!(ids.join(" "), expected, "{rules:?}");
    }
}

/// A policy is put in the place of the one for the same, is gone when it is removed, and goes with its invoker.
#[test]
fn setting_and_removing() {
    let mut policies = Policies::default();
    let hides = rule(amy(), named("weather"), false);
    let invoker = versioned(invoker("amy"));
    let changes = policy::set(&hides, Some(&invoker), &policies).unwrap();
    assert!(matches!(
        changes.steps.as_slice(),
        [Change::Require { .. }, Change::Put { key, .. }] if key.id == "amy/name:weather"
    ));
    policies.put(hides.clone());
    policies.put(rule(amy(), named("weather"), true));
    assert_eq!(policies.iter().count(), 1);
    assert!(policies.iter().all(|policy| policy.shows));

    let unknown = policy::remove(&amy(), &named("traffic"), &policies).unwrap_err();
    assert!(matches!(unknown, Refusal::NotFound { .. }));
    let changes = policy::remove(&amy(), &named("weather"), &policies).unwrap();
    assert_eq!(changes.steps.len(), 1);
    policies.remove("amy/name:weather");
    policies.remove("amy/name:weather");
    assert_eq!(policies.iter().count(), 0);

    for scope in [named(""), category(&"x".repeat(1025)), Scope::Id("".into())] {
        let refusal = policy::set(&rule(amy(), scope, true), None, &policies).unwrap_err();
        assert!(matches!(refusal, Refusal::Malformed { .. }), "{refusal}");
    }
}

/// Ids tell audiences and scopes apart, whatever texts they hold.
#[test]
fn ids_are_unambiguous() {
    let audiences = [
        Audience::Everyone,
        Audience::Anyone,
        amy(),
        Audience::Invoker("INV".into()),
    ];
    let scopes = [
        Scope::All,
        Scope::Id("all".into()),
        named("all"),
        named("id:all"),
        named("x/name:y"),
        category("all"),
        category("name:all"),
    ];
    let mut ids: Vec<String> = audiences
        .iter()
        .flat_map(|audience| {
            scopes
                .iter()
                .map(|scope| DiscoveryPolicy::id(audience, scope))
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), audiences.len() * scopes.len());
}

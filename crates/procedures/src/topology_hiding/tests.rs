use capif_spec::publish_service::InterfaceDescription;
use serde_json::{Value, json};

use super::*;
use crate::{
    fixtures::*,
    publication::{Terms, publish, replace, unpublish},
    state::{Entry, Route},
};

/// What is behind stands at addresses that begin so.
const INSIDE: &str = "inside.example";

fn behind(aef: &str) -> AefProfile {
    let mut profile = profile_with(
        aef,
        &[Pki],
        &[(&format!("{}.{INSIDE}", aef.to_lowercase()), &[])],
    );
    profile.aef_location = Some(wire(json!({ "dcId": INSIDE })));
    profile.service_kpis = Some(wire(json!({ "maxReqRate": 7 })));
    profile.extra = wire(json!({ "vendorSpecific-000001": INSIDE }));
    profile.versions = wire(json!([{
        "apiVersion": "v1",
        "vendorSpecific-000001": INSIDE,
        "resources": [{ "resourceName": aef, "commType": "REQUEST_RESPONSE", "uri": format!("/{aef}") }],
    }]));
    profile
}

fn weather() -> ServiceApi {
    api("API", "weather", &[behind("AEF1"), behind("AEF2")])
}

fn entry() -> Entry {
    let interface = InterfaceDescription {
        fqdn: Some("edge.example".to_owned()),
        port: Some(443.into()),
        ..InterfaceDescription::default()
    };
    Entry {
        interfaces: vec![interface],
        security_methods: vec![Oauth],
        ..Entry::default()
    }
}

fn rule(hidden: Hidden, aef: &str) -> TopologyHiding {
    TopologyHiding {
        hidden,
        aef_id: aef.into(),
        entry: entry(),
        routes: Vec::new(),
        since: now(),
        gone: false,
    }
}

fn of_api() -> Hidden {
    Hidden::Api("API".into())
}

fn of_name(name: &str) -> Hidden {
    Hidden::Name {
        domain: "DOM".into(),
        name: name.to_owned(),
    }
}

fn rules(all: &[TopologyHiding]) -> Rules {
    let mut rules = Rules::default();
    for rule in all {
        rules.put(Arc::new(versioned(rule.clone())));
    }
    rules
}

fn edge() -> ProviderFunction {
    function("EDGE", Role::Aef, 9)
}

fn listeners() -> [Subscription; 4] {
    let hiding = ["API_TOPOLOGY_HIDING_CREATED", "API_TOPOLOGY_HIDING_REVOKED"];
    [
        subscription("EDGE", Role::Aef, &hiding),
        subscription("EDGE2", Role::Aef, &hiding),
        subscription("AEF1", Role::Aef, &hiding),
        subscription(
            "AMF",
            Role::Amf,
            &[
                "SERVICE_API_UPDATE",
                "SERVICE_API_UNAVAILABLE",
                "SERVICE_API_AVAILABLE",
            ],
        ),
    ]
}

/// Who was told what, without what it is about.
fn told(changes: &Changes) -> Vec<(String, String)> {
    let all = notified(changes).into_iter();
    all.map(|(who, event, _)| (who, event)).collect()
}

fn pair(who: &str, event: &str) -> (String, String) {
    (who.to_owned(), event.to_owned())
}

fn hidden(
    rule: TopologyHiding,
    apis: &[ServiceApi],
    rules: &Rules,
) -> Result<(Changes, usize), Refusal> {
    let apis: Vec<_> = apis.iter().cloned().map(versioned).collect();
    let subscriptions = listeners();
    let around = Around {
        apis: apis.iter(),
        rules,
        subscriptions: subscriptions.iter(),
    };
    let domain = versioned(domain(&[edge()]));
    let aef = function(rule.aef_id.as_str(), Role::Aef, 9);
    hide(rule, &aef, &domain, false, around, &now())
}

/// TS 29.222 clause 5.3.2.2: the AEF that hides stands in the registry in the place of those behind it, and nothing of them is left
/// there; the publisher keeps what it published.
#[test]
fn nothing_behind_is_shown() {
    let api = shown(
        weather(),
        weather().description,
        &rules(&[rule(of_api(), "EDGE")]),
    );
    let seen = serde_json::to_string(&api.description).unwrap();
    for secret in ["AEF1\"", "AEF2\"", INSIDE, "maxReqRate", "vendorSpecific"] {
        let is_name = secret.starts_with("AEF");
        let place = format!("\"aefId\":\"{secret}");
        let found = if is_name {
            seen.contains(&place)
        } else {
            seen.contains(secret)
        };
        assert!(!found, "{secret}: {seen}");
    }
    let profile = &serde_json::to_value(&api.description).unwrap()["aefProfiles"];
    assert_eq!(profile.as_array().unwrap().len(), 1);
    assert_eq!(profile[0]["aefId"], "EDGE");
    assert_eq!(profile[0]["securityMethods"], json!(["OAUTH"]));
    assert_eq!(
        profile[0]["interfaceDescriptions"],
        json!([{ "fqdn": "edge.example", "port": 443 }])
    );
    // What can be called is what any of them serves.
    let resources = profile[0]["versions"][0]["resources"].as_array().unwrap();
    assert_eq!(resources.len(), 2);
    assert_eq!(api.as_published(), &weather().description);
    assert_eq!(api.hidden_by, Some("EDGE".into()));
    assert!(api.involves(&"AEF1".into()) && api.involves(&"EDGE".into()));
    // Without a rule, everything is as it was.
    assert_eq!(
        shown(api, weather().description, &Rules::default()),
        weather()
    );
}

/// TS 29.222 clause 8.2.4.2.12: the status of those behind is that of who hides them, so that its list names none of them.
#[test]
fn the_status_behind_is_that_of_the_entry() {
    let rules = rules(&[rule(of_api(), "EDGE")]);
    let with = |aefs: &[&str]| {
        let mut description = weather().description;
        description.api_status = Some(wire(json!({ "aefIds": aefs })));
        shown(weather(), description, &rules)
    };
    for (aefs, status) in [
        (&["AEF1", "AEF2"][..], &["EDGE"][..]),
        (&["AEF2"], &["EDGE"]),
        (&[], &[]),
    ] {
        let api = with(aefs);
        let seen = serde_json::to_value(&api.description).unwrap();
        assert_eq!(seen["apiStatus"], json!({ "aefIds": status }));
        assert_eq!(api.is_active(), !status.is_empty());
        assert_eq!(api.hidden_by.is_some(), !status.is_empty());
    }
    // The calls go to who is active.
    let found = routing::information(Some(&with(&["AEF2"])), &rules, &"EDGE".into()).unwrap();
    let aefs: Vec<_> = found
        .routing_rules
        .iter()
        .map(|rule| &rule.aef_profile.aef_id)
        .collect();
    assert_eq!(aefs, [&AefId::from("AEF2")]);
}

/// An entry that says no method takes those of the AEFs behind it, unless each of its interfaces has its own.
#[test]
fn methods_of_the_entry() {
    let with = |methods: &[_], own: Option<Vec<_>>| {
        let mut rule = rule(of_api(), "EDGE");
        rule.entry.security_methods = methods.to_vec();
        rule.entry.interfaces[0].security_methods = own;
        profile_of(&rule, &[&behind("AEF1"), &profile("AEF2", &[Psk])]).security_methods
    };
    assert_eq!(with(&[Oauth], None), Some(vec![Oauth]));
    assert_eq!(with(&[], None), Some(vec![Pki, Psk]));
    assert_eq!(with(&[], Some(vec![Oauth])), None);
}

/// The operator decides: what is shown changes in the same commit, the AEF that hides is told what it hides, and no other one.
#[test]
fn hiding_and_showing() {
    let (changes, count) = hidden(rule(of_api(), "EDGE"), &[weather()], &Rules::default()).unwrap();
    assert_eq!(count, 1);
    assert_eq!(
        told(&changes),
        [
            pair("EDGE", "API_TOPOLOGY_HIDING_CREATED"),
            pair("AMF", "SERVICE_API_UPDATE")
        ]
    );
    let detail = &notified(&changes)[0].2;
    assert_eq!(detail["apiTopoHide"]["apiId"], "API");
    let told_rules = detail["apiTopoHide"]["routingRules"].as_array().unwrap();
    assert_eq!(told_rules.len(), 2);
    assert_eq!(told_rules[0]["aefProfile"]["aefId"], "AEF1");
    assert!(!notified(&changes)[1].2.to_string().contains(INSIDE));
    let written = written::<ServiceApi>(&changes);
    let [(Expect::At(REVISION), api)] = written.as_slice() else {
        panic!("{written:?}");
    };
    assert_eq!(api.hidden_by, Some("EDGE".into()));

    // The domain moves, so that the removal of the AEF is decided anew.
    let mut world = World::default()
        .with(&edge())
        .with(&domain(&[edge()]))
        .with(&weather());
    assert_eq!(world.commit(changes), Ok(()));
    assert_eq!(world.ids(crate::changes::Kind::TopologyHiding), ["api/API"]);

    // Again, by the same with another route: told as if it were new. By another one: both are told.
    let held = rules(&[rule(of_api(), "EDGE")]);
    let mut routed = rule(of_api(), "EDGE");
    routed.routes = vec![Route {
        from: "192.0.2.0/24".parse().unwrap(),
        aef_id: "AEF2".into(),
    }];
    let (changes, _) = hidden(routed, std::slice::from_ref(api), &held).unwrap();
    assert_eq!(
        told(&changes),
        [pair("EDGE", "API_TOPOLOGY_HIDING_CREATED")]
    );
    let (changes, _) = hidden(rule(of_api(), "EDGE"), std::slice::from_ref(api), &held).unwrap();
    assert_eq!(told(&changes), []);
    let (changes, _) = hidden(rule(of_api(), "EDGE2"), std::slice::from_ref(api), &held).unwrap();
    assert_eq!(
        told(&changes),
        [
            pair("EDGE", "API_TOPOLOGY_HIDING_REVOKED"),
            pair("EDGE2", "API_TOPOLOGY_HIDING_CREATED"),
            pair("AMF", "SERVICE_API_UPDATE"),
        ]
    );

    let subscriptions = listeners();
    let apis = [versioned(api.clone())];
    let around = Around {
        apis: apis.iter(),
        rules: &held,
        subscriptions: subscriptions.iter(),
    };
    let (changes, count) = show(held.get("api/API").unwrap(), around, &now());
    assert_eq!(count, 1);
    assert_eq!(
        told(&changes),
        [
            pair("EDGE", "API_TOPOLOGY_HIDING_REVOKED"),
            pair("AMF", "SERVICE_API_UPDATE")
        ]
    );
    assert_eq!(
        super::super::fixtures::written::<ServiceApi>(&changes)[0].1,
        weather()
    );
}

/// Who may stand in, and what an entry must say.
#[test]
fn decisions_that_are_refused() {
    let none = Rules::default();
    let apis = [weather()];
    let around = || Around {
        apis: [].iter(),
        rules: &none,
        subscriptions: [].iter(),
    };
    let domain = versioned(domain(&[]));
    let apf = function("APF", Role::Apf, 3);
    let refused = hide(
        rule(of_api(), "APF"),
        &apf,
        &domain,
        false,
        around(),
        &now(),
    );
    assert!(matches!(refused, Err(Refusal::AefNotInDomain { .. })));
    let missing = hidden(rule(of_api(), "EDGE"), &[], &none);
    assert_eq!(
        missing.unwrap_err(),
        Refusal::NotFound {
            what: "service API"
        }
    );

    let pointer = |change: &dyn Fn(&mut TopologyHiding)| {
        let mut rule = rule(of_api(), "EDGE");
        change(&mut rule);
        match hidden(rule, &apis, &none).unwrap_err() {
            Refusal::Malformed { pointer, .. } => pointer,
            other => other.to_string(),
        }
    };
    assert_eq!(
        pointer(&|rule| rule.entry = Entry::default()),
        "/interfaces"
    );
    assert_eq!(
        pointer(&|rule| rule.entry.interfaces[0].ipv4_addr = Some("192.0.2.1".to_owned())),
        "/interfaces/0"
    );
    assert_eq!(
        pointer(&|rule| rule.entry.security_methods = vec!["MAGIC".into()]),
        "/securityMethods"
    );
    let route = Route {
        from: "::/0".parse().unwrap(),
        aef_id: "AEF1".into(),
    };
    assert!(pointer(&|rule| rule.routes = vec![route.clone(); ROUTES_MAX + 1]).contains("routes"));

    // Of another provider only if that is meant.
    let elsewhere = [elsewhere(weather(), "APF9", "DOM9")];
    assert!(matches!(
        hidden(rule(of_api(), "EDGE"), &elsewhere, &none),
        Err(Refusal::Malformed { pointer, .. }) if pointer == "/aefId"
    ));
    let apis = elsewhere.map(versioned);
    let abroad = Around {
        apis: apis.iter(),
        rules: &none,
        subscriptions: [].iter(),
    };
    assert!(
        hide(
            rule(of_api(), "EDGE"),
            &edge(),
            &domain,
            true,
            abroad,
            &now()
        )
        .is_ok()
    );
}

/// A rule for a name is there before what it is about; one for an API counts before it.
#[test]
fn a_name_is_hidden_before_it_is_published() {
    let (_, count) = hidden(rule(of_name("weather"), "EDGE"), &[], &Rules::default()).unwrap();
    assert_eq!(count, 0);
    let held = rules(&[rule(of_name("weather"), "EDGE")]);
    let is_aef = |_: &str| true;
    fn terms<'a>(is_aef: &'a dyn Fn(&str) -> bool, rules: &'a Rules) -> Terms<'a> {
        Terms {
            is_aef,
            rules,
            ccf_id: "CCF",
        }
    }
    let subscriptions = listeners();
    let publish = |name: &str, rules: &Rules| {
        let mut description = weather().description;
        description.api_id = None;
        description.api_name = name.to_owned();
        let apf = function("APF", Role::Apf, 3);
        let all = subscriptions.iter();
        publish(
            description,
            &apf,
            "API".into(),
            terms(&is_aef, rules),
            all,
            &now(),
        )
        .unwrap()
    };
    let (changes, api) = publish("weather", &held);
    assert_eq!(
        told(&changes),
        [
            pair("EDGE", "API_TOPOLOGY_HIDING_CREATED"),
            pair("AMF", "SERVICE_API_AVAILABLE")
        ]
    );
    assert_eq!(api.hidden_by, Some("EDGE".into()));
    let (changes, other) = publish("traffic", &held);
    assert_eq!(told(&changes), [pair("AMF", "SERVICE_API_AVAILABLE")]);
    assert_eq!(other.hidden_by, None);
    let both = rules(&[rule(of_name("weather"), "EDGE"), rule(of_api(), "EDGE2")]);
    assert_eq!(publish("weather", &both).1.hidden_by, Some("EDGE2".into()));
    // The names of another domain are its own.
    let foreign = Hidden::Name {
        domain: "DOM9".into(),
        name: "weather".to_owned(),
    };
    assert_eq!(
        publish("weather", &rules(&[rule(foreign, "EDGE")]))
            .1
            .hidden_by,
        None
    );

    // An update does it anew: what is behind changes for who hides it, and for nobody else.
    let domain = versioned(domain(&[edge()]));
    let update = |held_api: &ServiceApi, name: &str, profiles: &[AefProfile]| {
        let held_api = versioned(held_api.clone());
        let mut changed = description(name, profiles);
        changed.api_id = Some("API".into());
        let all = subscriptions.iter();
        replace(
            &held_api,
            changed,
            &domain,
            terms(&is_aef, &held),
            all,
            &now(),
        )
        .unwrap()
    };
    let (changes, api) = update(
        &api,
        "weather",
        &[behind("AEF1"), behind("AEF2"), behind("AEF1")],
    );
    assert_eq!(
        told(&changes),
        [pair("EDGE", "API_TOPOLOGY_HIDING_CREATED")]
    );
    assert_eq!(api.hidden_by, Some("EDGE".into()));
    let (changes, api) = update(&api, "traffic", &[behind("AEF1")]);
    assert_eq!(
        told(&changes),
        [
            pair("EDGE", "API_TOPOLOGY_HIDING_REVOKED"),
            pair("AMF", "SERVICE_API_UPDATE")
        ]
    );
    assert_eq!(api.hidden_by, None);
    let (changes, api) = update(&api, "weather", &[behind("AEF1")]);
    assert_eq!(
        told(&changes),
        [
            pair("EDGE", "API_TOPOLOGY_HIDING_CREATED"),
            pair("AMF", "SERVICE_API_UPDATE")
        ]
    );
    let changes = unpublish(&versioned(api), &held, subscriptions.iter(), &now());
    assert_eq!(
        told(&changes),
        [
            pair("EDGE", "API_TOPOLOGY_HIDING_REVOKED"),
            pair("AMF", "SERVICE_API_UNAVAILABLE")
        ]
    );
}

/// Where an AEF takes calls is known from what it exposes: from this API, or else from another one.
#[test]
fn the_entry_is_known_from_what_the_aef_exposes() {
    let own = api(
        "API2",
        "tides",
        &[profile_with("EDGE", &[Psk], &[("edge.example", &[])])],
    );
    let aef = AefId::from("EDGE");
    let found = entry_of(&aef, Some(&weather()), [&weather(), &own].into_iter()).unwrap();
    assert_eq!(found.security_methods, [Psk]);
    assert_eq!(found.interfaces.len(), 1);
    assert_eq!(
        entry_of(&aef, Some(&weather()), [&weather()].into_iter()),
        None
    );
    let this = entry_of(&"AEF1".into(), Some(&weather()), [].into_iter()).unwrap();
    assert_eq!(this.security_methods, [Pki]);
}

#[test]
fn rules_are_kept_as_they_are() {
    let mut rule = rule(of_name("weather/today"), "EDGE");
    rule.routes = vec![Route {
        from: "2001:db8::/32".parse().unwrap(),
        aef_id: "AEF1".into(),
    }];
    assert_eq!(rule.record_id(), "name/DOM/weather/today");
    let text: Value = serde_json::to_value(&rule).unwrap();
    assert_eq!(
        serde_json::from_value::<TopologyHiding>(text).unwrap(),
        rule
    );
}

use serde_json::{Value, json};

use super::*;
use crate::fixtures::*;

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn criteria(methods: &[&str]) -> Vec<OnboardingCriteria> {
    wire(json!([{ "secMethods": methods }]))
}

/// `weather` takes certificates alone, `traffic` tokens alone, `maps` one of them in each of two domains.
fn published() -> [ServiceApi; 4] {
    [
        api("A1", "weather", &[profile("AEF", &[Pki])]),
        api("A2", "traffic", &[profile("AEF", &[Oauth])]),
        api("A3", "maps", &[profile("AEF", &[Pki])]),
        elsewhere(
            api("A4", "maps", &[profile("AEF9", &[Oauth])]),
            "APF9",
            "DOM9",
        ),
    ]
}

fn refused(grant: &Grant) -> Value {
    let reasons = grant.refused.iter();
    reasons
        .map(|reason| json!([reason.api_name, reason.failure_code]))
        .collect()
}

/// TS 29.222 clauses 5.5.2.2.2 and 8.4.4.2.2: what can be granted is, and each of the others is named with its reason.
#[test]
fn what_cannot_be_granted_is_named() {
    let apis = published();
    let everything = ApiReach::default;
    let auth = "AUTHORIZATION_ISSUE";
    let unmet = "ONBOARDING_CRI_NOT_MET";
    type Case<'a> = (
        ApiReach,
        &'a [&'a str],
        &'a [&'a str],
        Option<ApiReach>,
        Value,
    );
    let cases: [Case<'_>; 14] = [
        (everything(), &[], &[], Some(everything()), json!([])),
        (
            names(&["weather", "later"]),
            &["weather", "traffic"],
            &[],
            Some(names(&["weather"])),
            json!([["traffic", auth]]),
        ),
        (
            names(&["weather"]),
            &["traffic", "maps"],
            &[],
            None,
            json!([]),
        ),
        (
            everything(),
            &["weather", "traffic"],
            &["PKI"],
            Some(names(&["weather"])),
            json!([["traffic", unmet]]),
        ),
        (
            names(&["weather", "traffic"]),
            &["weather", "traffic", "tides"],
            &["PKI"],
            Some(names(&["weather"])),
            json!([["tides", auth], ["traffic", unmet]]),
        ),
        (everything(), &["traffic"], &["PKI"], None, json!([])),
        // One of two providers is enough.
        (
            everything(),
            &["maps"],
            &["OAUTH"],
            Some(names(&["maps"])),
            json!([]),
        ),
        // Of one domain alone it is not.
        (domain_only("DOM"), &["maps"], &["OAUTH"], None, json!([])),
        // Nobody has published it yet.
        (
            everything(),
            &["later"],
            &["PSK"],
            Some(names(&["later"])),
            json!([]),
        ),
        // Everything that is allowed, as far as it meets the criteria.
        (
            everything(),
            &[],
            &["PKI"],
            Some(names(&["weather", "maps"])),
            json!([["traffic", unmet]]),
        ),
        (
            everything(),
            &[],
            &["PKI", "OAUTH"],
            Some(everything()),
            json!([]),
        ),
        (
            names(&["traffic", "later"]),
            &[],
            &["PKI"],
            Some(names(&["later"])),
            json!([["traffic", unmet]]),
        ),
        (everything(), &[], &["PSK"], None, json!([])),
        (
            domain_only("DOM8"),
            &[],
            &["PSK"],
            Some(domain_only("DOM8")),
            json!([]),
        ),
    ];
    for (allowance, wanted, methods, expected, reasons) in cases {
        let case = format!("{allowance:?} {wanted:?} {methods:?}");
        let criteria = if methods.is_empty() {
            Vec::new()
        } else {
            criteria(methods)
        };
        let outcome = grant(&allowance, set(wanted), &criteria, apis.iter());
        match expected {
            Some(expected) => {
                let grant = outcome.unwrap();
                let expected = ApiReach {
                    domain: allowance.domain,
                    ..expected
                };
                assert_eq!(grant.reach, expected, "{case}");
                assert_eq!(refused(&grant), reasons, "{case}");
            }
            None => {
                let refusal = outcome.unwrap_err().refusal;
                assert!(matches!(refusal, Refusal::NoApiGranted { .. }), "{case}");
            }
        }
    }
}

/// A credential that allows nothing at all is no refusal of a wish that was not made.
#[test]
fn an_empty_allowance_stays_empty() {
    let grant = grant(&names(&[]), set(&[]), &[], published().iter()).unwrap();
    assert_eq!(grant.reach, names(&[]));
    assert!(grant.refused.is_empty());
}

/// TS 29.222 clause 5.4: the functions of the domains whose APIs do not meet the criteria hear of it, with the invoker once it has
/// an id; others do not.
#[test]
fn providers_hear_of_criteria_that_are_not_met() {
    let apis = published();
    let of = |subscriber: &str, domain: &str| {
        let mut subscription = subscription(
            subscriber,
            crate::state::Role::Amf,
            &["API_INVOKER_ONBOARDING_CRITERIA_FAILED"],
        );
        subscription.reach = domain_only(domain);
        subscription
    };
    let subscriptions = [of("AMF", "DOM"), of("AMF9", "DOM9"), of("AMF8", "DOM8")];
    let told = |failed: &FailedCriteria, invoker: Option<&ApiInvokerId>| {
        let mut changes = Changes::new();
        failed.raise(&mut changes, invoker, subscriptions.iter(), &now());
        notified(&changes)
    };
    let wanted = set(&["weather", "traffic"]);
    let partly = grant(
        &ApiReach::default(),
        wanted,
        &criteria(&["PKI"]),
        apis.iter(),
    );
    let failed = partly.unwrap().failed.unwrap();
    let detail = |apis: &[&str], invokers: Option<&str>| {
        let methods = if apis == ["A2"] { "PKI" } else { "PSK" };
        let mut detail = json!({
            "apiIds": apis,
            "onboardingCriteria": [{ "secMethods": [methods] }],
        });
        if let Some(invoker) = invokers {
            detail["apiInvokerIds"] = json!([invoker]);
        }
        detail
    };
    let event = "API_INVOKER_ONBOARDING_CRITERIA_FAILED".to_owned();
    assert_eq!(
        told(&failed, Some(&"INV".into())),
        [(
            "AMF".to_owned(),
            event.clone(),
            detail(&["A2"], Some("INV"))
        )]
    );
    let denied = grant(
        &ApiReach::default(),
        set(&["maps"]),
        &criteria(&["PSK"]),
        apis.iter(),
    );
    let failed = denied.unwrap_err().failed.unwrap();
    assert_eq!(
        told(&failed, None),
        [
            ("AMF".to_owned(), event.clone(), detail(&["A3"], None)),
            ("AMF9".to_owned(), event, detail(&["A4"], None)),
        ]
    );
    let unauthorized = grant(
        &names(&["weather"]),
        set(&["traffic"]),
        &criteria(&["PSK"]),
        apis.iter(),
    );
    assert_eq!(unauthorized.unwrap_err().failed, None);
}

/// Many APIs are refused in a text that stays short.
#[test]
fn a_refusal_names_some() {
    let wanted: Vec<String> = (0..40).map(|number| format!("api{number:02}")).collect();
    let wanted = wanted.into_iter().collect();
    let denial = grant(&names(&["weather"]), wanted, &[], [].iter()).unwrap_err();
    let text = denial.to_string();
    assert!(
        text.contains("api00 (AUTHORIZATION_ISSUE), api01"),
        "{text}"
    );
    assert!(text.contains("and 30 more"), "{text}");
    assert!(!text.contains("api10"), "{text}");
}

/// What grows waits for approval; the model is what the reach includes, API by API.
#[test]
fn a_reach_grows_when_it_includes_more() {
    let reaches = [
        ApiReach::default(),
        names(&[]),
        names(&["weather"]),
        names(&["weather", "traffic"]),
        domain_only("DOM"),
        domain_only("DOM9"),
        ApiReach {
            domain: Some("DOM".into()),
            ..names(&["weather"])
        },
    ];
    let mut apis = published().to_vec();
    apis.push(elsewhere(api("A6", "weather", &[]), "APF9", "DOM9"));
    apis.push(api("A7", "anything else", &[]));
    apis.push(elsewhere(api("A8", "anything else", &[]), "APF9", "DOM9"));
    apis.push(elsewhere(api("A9", "anything else", &[]), "APF7", "DOM7"));
    apis.push(elsewhere(api("A10", "weather", &[]), "APF7", "DOM7"));
    for before in &reaches {
        for after in &reaches {
            let more = apis
                .iter()
                .any(|api| after.includes(api) && !before.includes(api));
            // Nothing is more than nothing, of whichever domain.
            let expected = more
                && after
                    .api_names
                    .as_ref()
                    .is_none_or(|names| !names.is_empty());
            assert_eq!(grows(before, after), expected, "{before:?} to {after:?}");
        }
    }
}

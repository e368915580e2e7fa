//! What a context grants as things stand.

use super::*;

/// What is granted: the API, the AEF of the entry, and the method, as `A1 at AEF by OAUTH`.
fn grants(invoker: &Invoker, context: &SecurityContext, apis: &[ServiceApi]) -> Vec<String> {
    granted(invoker, context, apis.iter(), &policy(&[Psk, Pki, Oauth]))
        .map(|grant| {
            let (id, aef) = (&grant.api.id, &grant.entry.aef_id);
            format!("{id} at {aef} by {}", grant.method)
        })
        .collect()
}

/// TS 33.122 clause 6.3: an entry grants the APIs that its AEF exposes, within the invoker's reach, as things stand (P-26).
#[test]
fn grants_follow_entries_and_reach() {
    let apis = [
        api(
            "A1",
            "weather",
            &[profile("AEF", &[Oauth]), profile("AEF2", &[Oauth])],
        ),
        api("A2", "traffic", &[profile("AEF", &[Oauth])]),
    ];
    let whole = entry_at("AEF", Some(Oauth));
    let (one, unselected) = (entry_for("AEF", "A2", Oauth), entry_at("AEF", None));
    let unlimited = ApiReach::default;
    type Case<'a> = (
        &'a str,
        SecurityEntry,
        ApiReach,
        &'a [ServiceApi],
        &'a [&'a str],
    );
    let cases: [Case<'_>; 9] = [
        (
            "all",
            whole.clone(),
            unlimited(),
            &apis,
            &["A1 at AEF by OAUTH", "A2 at AEF by OAUTH"],
        ),
        (
            "one API",
            one.clone(),
            unlimited(),
            &apis,
            &["A2 at AEF by OAUTH"],
        ),
        ("no method", unselected, unlimited(), &apis, &[]),
        (
            "within reach",
            whole.clone(),
            names(&["weather"]),
            &apis,
            &["A1 at AEF by OAUTH"],
        ),
        ("beyond reach", one, names(&["weather"]), &apis, &[]),
        (
            "foreign domain",
            whole.clone(),
            domain_only("DOM9"),
            &apis,
            &[],
        ),
        (
            "one withdrawn",
            whole.clone(),
            unlimited(),
            &apis[..1],
            &["A1 at AEF by OAUTH"],
        ),
        ("all withdrawn", whole, unlimited(), &[], &[]),
        (
            "another AEF",
            entry_at("AEF2", Some(Oauth)),
            unlimited(),
            &apis,
            &["A1 at AEF2 by OAUTH"],
        ),
    ];
    for (case, entry, reach, apis, expected) in cases {
        let invoker = invoker_within("INV", reach);
        let context = context("INV", vec![entry]);
        assert_eq!(grants(&invoker, &context, apis), expected, "{case}");
    }
}

/// TS 33.122 clause 6.7: once the AEF no longer takes the method that was selected, the entry grants nothing by it; no more does
/// it grant an API that came after the negotiation and never took it.
#[test]
fn a_method_that_is_not_taken_grants_nothing() {
    let inv = invoker("INV");
    let before = [api("A1", "weather", &[profile("AEF", &[Oauth, Pki])])];
    let (context, _) = negotiated(request(&[at("AEF", &[Oauth])]), None, &before).unwrap();
    let granted = ["A1 at AEF by OAUTH"];
    assert_eq!(grants(&inv, &context, &before), granted);

    type Case<'a> = (&'a str, Vec<ServiceApi>, &'a [&'a str]);
    let first = |profiles: &[AefProfile]| api("A1", "weather", profiles);
    let cases: [Case<'_>; 7] = [
        (
            "withdrawn from the profile",
            vec![first(&[profile("AEF", &[Pki])])],
            &[],
        ),
        (
            "overruled by an interface",
            vec![first(&[profile_with(
                "AEF",
                &[Oauth],
                &[("a", &[Pki]), ("b", &[])],
            )])],
            &[],
        ),
        (
            "taken by each interface",
            vec![first(&[profile_with(
                "AEF",
                &[Pki],
                &[("a", &[Oauth]), ("b", &[Pki, Oauth])],
            )])],
            &granted,
        ),
        (
            "taken by another AEF only",
            vec![first(&[profile("AEF", &[Pki]), profile("AEF2", &[Oauth])])],
            &[],
        ),
        (
            "a second profile of the AEF without it",
            vec![first(&[profile("AEF", &[Oauth]), profile("AEF", &[Pki])])],
            &[],
        ),
        (
            "moved to another AEF",
            vec![first(&[profile("AEF2", &[Oauth])])],
            &[],
        ),
        (
            "a new API without it",
            vec![
                before[0].clone(),
                api("A2", "traffic", &[profile("AEF", &[Pki])]),
            ],
            &granted,
        ),
    ];
    for (case, apis, expected) in cases {
        assert_eq!(grants(&inv, &context, &apis), expected, "{case}");
    }
}

/// TS 29.222 clause 8.5.4.2.3: an entry about an interface grants what is exposed on that interface.
#[test]
fn an_entry_about_an_interface_grants_what_is_there() {
    let interfaces: [(&str, &[SecurityMethod]); 2] =
        [("a.example", &[Oauth]), ("b.example", &[Pki])];
    let apis = [
        api("A1", "weather", &[profile_with("AEF", &[], &interfaces)]),
        api(
            "A2",
            "traffic",
            &[profile_with("AEF", &[], &interfaces[1..])],
        ),
        api("A3", "maps", &[profile("AEF", &[Oauth, Pki])]),
    ];
    let cases = [
        ("a.example", vec!["A1 at AEF by OAUTH"]),
        ("b.example", vec!["A1 at AEF by PKI", "A2 at AEF by PKI"]),
    ];
    for (host, expected) in cases {
        let wanted = request(&[on(host, &[Oauth, Pki])]);
        let (context, _) = negotiated(wanted, None, &apis).unwrap();
        assert_eq!(grants(&invoker("INV"), &context, &apis), expected, "{host}");
    }
}

/// TS 33.122 clause 6.3: what the operator does not allow for an API is not granted either, though the API was published, or the
/// list changed, after the negotiation. Where it allows another method, the invoker has to ask; where it allows none, it need not.
#[test]
fn the_operator_is_asked_at_each_use() {
    let apis = [
        api("A1", "weather", &[profile("AEF", &[Pki, Oauth])]),
        api("A2", "traffic", &[profile("AEF", &[Pki, Oauth])]),
        api("A3", "secret", &[profile("AEF", &[Pki, Oauth])]),
    ];
    let (inv, context) = (
        invoker("INV"),
        context("INV", vec![entry_at("AEF", Some(Pki))]),
    );
    let mut policy = policy(&[Pki, Oauth]);
    policy.by_api.insert("traffic".to_owned(), vec![Oauth]);
    policy.by_api.insert("secret".to_owned(), vec![]);
    let ids = |api: &ServiceApi| api.id.to_string();
    let by: Vec<String> = granted(&inv, &context, apis.iter(), &policy)
        .map(|grant| ids(grant.api))
        .collect();
    assert_eq!(by, ["A1"]);
    let gone = outdated(&inv, &context.entries[0], apis.iter(), &policy);
    assert_eq!(gone.map(ids).collect::<Vec<_>>(), ["A2"]);
}

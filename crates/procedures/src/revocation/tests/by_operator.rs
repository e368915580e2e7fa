//! Revocation that the operator starts, and permission (R-REV-02).

use serde_json::{Value, json};

use super::*;
use crate::state::Bars;

/// R-REV-02: the operator takes away everything or an API everywhere; each AEF concerned is to be told, at each of its
/// interfaces; the invoker is shut out until it is permitted.
#[test]
fn the_operator_takes_away_and_bars() {
    let (now, apis) = (now(), apis());
    let held = versioned(context(
        "INV",
        vec![
            entry_at("AEF1", Some(Oauth)),
            entry_for("AEF2", "A2", Oauth),
        ],
    ));
    let one = "one.example:443".to_owned();
    let two = "two.example:443".to_owned();
    let all = Bars {
        all: true,
        ..Bars::default()
    };
    let some = |apis: &[&str]| Bars {
        all: false,
        apis: ids(apis).into_iter().collect(),
    };
    type Case<'a> = (
        Option<Vec<ServiceApiId>>,
        Bars,
        Vec<SecurityEntry>,
        Vec<(String, Value)>,
    );
    let cases: [Case<'_>; 4] = [
        (
            None,
            all,
            vec![],
            vec![
                (one.clone(), json!(["A1", "A2"])),
                (two.clone(), json!(["A2"])),
            ],
        ),
        (
            Some(ids(&["A2"])),
            some(&["A2"]),
            vec![without(entry_at("AEF1", Some(Oauth)), &["A2"])],
            vec![(one.clone(), json!(["A2"])), (two, json!(["A2"]))],
        ),
        (
            Some(ids(&["A1"])),
            some(&["A1"]),
            vec![
                without(entry_at("AEF1", Some(Oauth)), &["A1"]),
                entry_for("AEF2", "A2", Oauth),
            ],
            vec![(one, json!(["A1"]))],
        ),
        (
            Some(ids(&["A3"])),
            some(&["A3"]),
            held.record.entries.clone(),
            vec![],
        ),
    ];
    for (listed, bars, entries, told) in cases {
        let inv = versioned(invoker("INV"));
        let order = order(listed.as_deref(), &now);
        let (changes, aefs) = revoke_and_bar(&order, &inv, Some(&held), apis.iter(), [].iter());
        let (expect, barred) = written::<Invoker>(&changes).remove(0);
        assert_eq!((expect, &barred.bars), (Expect::At(REVISION), &bars));
        assert_eq!(queued(&changes), told, "{listed:?}");
        assert_eq!(aefs.len(), told.len());
        let context = written::<SecurityContext>(&changes);
        if told.is_empty() {
            assert_eq!(context, [], "nothing was taken, and no token dies of it");
        } else {
            assert_eq!(context[0].1.entries, entries);
            assert_eq!(context[0].1.generation, 2);
        }
    }
}

/// An invoker without a context is shut out all the same, and of what it is shut out of a negotiation selects no method, without
/// an error; the rest is selected as before.
#[test]
fn who_is_shut_out_negotiates_nothing() {
    let (now, apis) = (now(), apis());
    let listed = ids(&["A1"]);
    let negotiated = |inv: &Invoker| -> Vec<Value> {
        let request = wire(json!({
            "securityInfo": [
                { "aefId": "AEF1", "apiId": "A1", "prefSecurityMethods": ["OAUTH"] },
                { "aefId": "AEF1", "prefSecurityMethods": ["OAUTH"] },
            ],
            "notificationDestination": DESTINATION,
            "supportedFeatures": "4",
        }));
        let negotiated = security_method::negotiate(
            request,
            inv,
            None,
            apis.iter(),
            &policy(&[Oauth]),
            None,
            &now,
        );
        let (changes, answer) = negotiated.unwrap();
        let context: SecurityContext = written(&changes).remove(0).1;
        let policy = policy(&[Psk, Pki, Oauth]);
        let granted: Vec<&str> = granted(inv, &context, apis.iter(), &policy)
            .map(|grant| grant.api.id.as_str())
            .collect();
        answer
            .security_info
            .iter()
            .map(|entry| json!(entry.sel_security_method))
            .chain([json!(granted)])
            .collect()
    };
    let (oauth, none) = (json!("OAUTH"), Value::Null);
    let inv = invoker("INV");
    assert_eq!(
        negotiated(&inv),
        [oauth.clone(), oauth.clone(), json!(["A1", "A1", "A2"])]
    );

    let part = order(Some(&listed), &now);
    let (changes, told) = revoke_and_bar(&part, &versioned(inv), None, apis.iter(), [].iter());
    assert_eq!(told, []);
    let (_, barred) = written::<Invoker>(&changes).remove(0);
    assert_eq!(negotiated(&barred), [none.clone(), oauth, json!(["A2"])]);

    let (changes, _) = revoke_and_bar(
        &order(None, &now),
        &versioned(barred),
        None,
        apis.iter(),
        [].iter(),
    );
    let (_, barred) = written::<Invoker>(&changes).remove(0);
    assert_eq!(negotiated(&barred), [none.clone(), none, json!([])]);
}

/// A permission lifts what it names; everything lifts all. Single APIs cannot be permitted out of everything.
#[test]
fn a_permission_lifts_what_it_names() {
    let mut inv = invoker("INV");
    inv.bars.apis = ids(&["A1", "A2"]).into_iter().collect();
    let permitted = |inv: &Invoker, apis: Option<&[ServiceApiId]>| {
        permit(&versioned(inv.clone()), apis).map(|(changes, lifted)| {
            let bars = written::<Invoker>(&changes).pop().map(|(expect, invoker)| {
                assert_eq!(expect, Expect::At(REVISION));
                invoker.bars
            });
            assert_eq!(bars.is_some(), lifted);
            bars
        })
    };
    let left = permitted(&inv, Some(&ids(&["A1"]))).unwrap().unwrap();
    assert_eq!(left.apis, ids(&["A2"]).into_iter().collect());
    assert_eq!(permitted(&inv, Some(&ids(&["A3"]))).unwrap(), None);
    assert_eq!(permitted(&inv, None).unwrap(), Some(Bars::default()));
    assert_eq!(permitted(&invoker("INV"), None).unwrap(), None);

    inv.bars.all = true;
    assert!(permitted(&inv, Some(&ids(&["A1"]))).is_err());
    assert_eq!(permitted(&inv, None).unwrap(), Some(Bars::default()));
}

/// An AEF is told at every interface that it has published, once each, and at no more than a few.
#[test]
fn every_interface_of_an_aef_is_told() {
    let interfaces = json!([
        { "ipv4Addr": "192.0.2.1", "port": 8443 },
        { "ipv4Addr": "192.0.2.1", "port": 8443, "apiPrefix": "/nef" },
        { "ipv6Addr": "2001:DB8::1" },
        { "fqdn": "AEF.example", "port": 443 },
        { "fqdn": "not a host" },
    ]);
    let mut first = profile("AEF1", &[Oauth]);
    first.domain_name = None;
    first.interface_descriptions = Some(wire(interfaces));
    let apis = [
        api("A1", "weather", &[first]),
        api(
            "A2",
            "traffic",
            &[profile("AEF1", &[Oauth]), profile("AEF2", &[Oauth])],
        ),
    ];
    assert_eq!(
        authorities(&"AEF1".into(), apis.iter()),
        ["192.0.2.1:8443", "[2001:db8::1]:443", "aef.example:443",]
    );
    let mut many = profile("AEF1", &[Oauth]);
    let numbered = |port: u16| json!({ "ipv4Addr": "192.0.2.1", "port": port });
    many.interface_descriptions = Some((1..100).map(|port| wire(numbered(port))).collect());
    let apis = [api("A1", "weather", &[many])];
    assert_eq!(
        authorities(&"AEF1".into(), apis.iter()).len(),
        INTERFACES_MAX
    );
}

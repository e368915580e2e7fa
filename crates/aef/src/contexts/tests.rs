use capif_spec::common::Port;
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

fn own() -> InterfaceDescription {
    InterfaceDescription {
        fqdn: Some("gateway.example".to_owned()),
        port: Some(Port(9443)),
        ..InterfaceDescription::default()
    }
}

fn amy() -> ApiInvokerId {
    ApiInvokerId::new("amy")
}

/// `authenticationInfo` with a key of this number, good for an hour.
fn key(number: u64, octet: u8) -> Value {
    json!({
        "pskId": format!("3GPP-CAPIF.amy.{number}"),
        "psk": BASE64_URL_SAFE_NO_PAD.encode([octet; 32]),
        "exp": NOW.unix_timestamp() + 3600,
        "tls": "1.3",
        "interface": "https://gateway.example:9443",
    })
}

fn entry(method: &str, authentication: &Value, apis: &[&str]) -> Value {
    json!({
        "aefId": "AEF",
        "prefSecurityMethods": [method],
        "selSecurityMethod": method,
        "authenticationInfo": authentication.to_string(),
        "authorizationInfo": json!({ "scope": "", "gen": 3, "apis": apis }).to_string(),
    })
}

fn reading(entries: &[Value]) -> Reading {
    let context =
        json!({ "securityInfo": entries, "notificationDestination": "https://a.example/" });
    let context = serde_json::from_value(context).unwrap();
    read(context, &amy(), &own(), PskVersion::Tls13)
}

fn keys_of(authentication: &Value) -> Vec<AefPsk> {
    reading(&[entry("PSK", authentication, &["weather"])])
        .authorization
        .keys
}

#[test]
fn a_key_and_the_one_before_it_are_read() {
    let mut both = key(8, 1);
    let mut previous = key(7, 2);
    previous["exp"] = json!(NOW.unix_timestamp() + 60);
    both["previous"] = previous;
    let authorization = reading(&[entry("PSK", &both, &["weather"])]).authorization;
    assert_eq!(authorization.methods["weather"], SecurityMethod::Psk);
    assert_eq!(authorization.generation, 3);
    assert_eq!(authorization.newest_key(), Some(8));
    let found = |identity: &str, seconds: i64| {
        let now = NOW + Duration::seconds(seconds);
        let key = authorization.key(identity, now);
        key.map(|key| key.key.expose()[0])
    };
    for (identity, seconds, octet) in [
        ("3GPP-CAPIF.amy.8", 0, Some(1)),
        ("3GPP-CAPIF.amy.8", 3599, Some(1)),
        ("3GPP-CAPIF.amy.8", 3600, None),
        ("3GPP-CAPIF.amy.7", 59, Some(2)),
        ("3GPP-CAPIF.amy.7", 60, None),
        ("3GPP-CAPIF.amy.9", 0, None),
        ("3GPP-CAPIF.bob.8", 0, None),
        ("", 0, None),
    ] {
        assert_eq!(found(identity, seconds), octet, "{identity} {seconds}");
    }
    let shown = format!("{authorization:?}");
    assert!(
        shown.contains("[redacted]") && !shown.contains("[1, 1"),
        "{shown}"
    );
}

#[test]
fn a_key_for_another_interface_version_or_invoker_is_none() {
    assert_eq!(keys_of(&key(1, 1)).len(), 1);
    for (member, value) in [
        ("interface", json!("https://gateway.example:9444")),
        ("interface", json!("https://gateway.example:9443/prefix")),
        ("tls", json!("1.2")),
        ("tls", json!("1.4")),
        ("pskId", json!("3GPP-CAPIF.bob.1")),
        ("pskId", json!("amy")),
        ("psk", json!(BASE64_URL_SAFE_NO_PAD.encode([1; 31]))),
        ("psk", json!(BASE64_URL_SAFE_NO_PAD.encode([1; 33]))),
        ("psk", json!("")),
        ("psk", json!("*")),
        ("exp", json!("tomorrow")),
        ("exp", json!(i64::MAX)),
    ] {
        let mut changed = key(1, 1);
        changed[member] = value;
        assert!(keys_of(&changed).is_empty(), "{changed}");
        changed.as_object_mut().unwrap().remove(member);
        assert!(keys_of(&changed).is_empty(), "{changed}");
    }
}

#[test]
fn entries_of_other_interfaces_are_not_read() {
    let mut entry = entry("PSK", &key(1, 1), &["weather"]);
    entry.as_object_mut().unwrap().remove("aefId");
    for (interface, read) in [
        (json!({ "fqdn": "gateway.example", "port": 9443 }), true),
        (json!({ "fqdn": "gateway.example", "port": 9444 }), false),
        (json!({ "fqdn": "other.example", "port": 9443 }), false),
        (json!({ "ipv4Addr": "127.0.0.1", "port": 9443 }), false),
    ] {
        entry["interfaceDetails"] = interface;
        let authorization = reading(std::slice::from_ref(&entry)).authorization;
        assert_eq!(
            authorization.methods.contains_key("weather"),
            read,
            "{entry}"
        );
        assert_eq!(authorization.keys.len(), usize::from(read), "{entry}");
    }
}

#[test]
fn a_key_outlives_its_method_for_the_indication() {
    let mut entry = entry("PSK", &key(1, 1), &[]);
    let rights = json!({ "scope": "", "gen": 3, "apis": [], "outdated": ["weather"] });
    entry["authorizationInfo"] = json!(rights.to_string());
    let authorization = reading(&[entry]).authorization;
    assert!(authorization.methods.is_empty() && authorization.outdated.contains("weather"));
    assert!(authorization.key("3GPP-CAPIF.amy.1", NOW).is_some());
}

#[test]
fn certificate_and_roots_are_read() {
    let pki = json!({ "x5t#S256": "ab", "caPem": ["one", "two"] });
    let reading = reading(&[entry("PKI", &pki, &["weather"])]);
    let certificates = reading.authorization.certificates.unwrap();
    assert!(certificates.count("ab", NOW) && !certificates.count("cd", NOW));
    assert_eq!(reading.anchors.unwrap(), ["one", "two"]);
}

#[test]
fn what_follows_and_what_retires_counts_beside_it_to_the_second() {
    let until = NOW.unix_timestamp() + 60;
    let pki = json!({ "x5t#S256": "active", "also": [
        { "x5t#S256": "successor" },
        { "x5t#S256": "retiring", "until": until },
        { "x5t#S256": "never", "until": i64::MAX },
    ]});
    let authorization = reading(&[entry("PKI", &pki, &["weather"])]).authorization;
    let certificates = authorization.certificates.as_ref().unwrap();
    for (fingerprint, seconds, counts) in [
        ("active", 0, true),
        ("successor", 0, true),
        ("successor", 100_000, true),
        ("retiring", 0, true),
        ("retiring", 59, true),
        ("retiring", 60, false),
        ("never", 0, false),
        ("other", 0, false),
        ("", 0, false),
    ] {
        let now = NOW + Duration::seconds(seconds);
        assert_eq!(
            certificates.count(fingerprint, now),
            counts,
            "{fingerprint} {seconds}"
        );
    }
    let many = (0..100).map(|number| json!({ "x5t#S256": number.to_string() }));
    let many = json!({ "also": many.collect::<Vec<_>>() });
    let many = reading(&[entry("PKI", &many, &["weather"])]).authorization;
    assert_eq!(many.certificates.unwrap().0.len(), ALSO_MAX);
    for damaged in [
        json!({ "x5t#S256": "active", "also": [{ "until": 1 }] }),
        json!({ "x5t#S256": "active", "also": [{ "x5t#S256": "a", "until": "soon" }] }),
        json!({ "x5t#S256": "active", "also": "successor" }),
    ] {
        let authorization = reading(&[entry("PKI", &damaged, &["weather"])]).authorization;
        assert!(authorization.certificates.is_none(), "{damaged}");
    }
}

#[test]
fn what_ends_is_told_once_when_it_has() {
    let endings = Endings::default();
    let until = NOW.unix_timestamp() + 60;
    let pki = json!({ "x5t#S256": "a", "also": [{ "x5t#S256": "b", "until": until }] });
    let authorization = reading(&[
        entry("PKI", &pki, &["weather"]),
        entry("PSK", &key(1, 1), &["sky"]),
    ])
    .authorization;
    endings.note(&amy(), &authorization);
    endings.note(&amy(), &authorization);
    for (seconds, told) in [(59, 0), (60, 1), (60, 0), (3599, 0), (3600, 1), (99_999, 0)] {
        let past = endings.past(NOW + Duration::seconds(seconds));
        assert_eq!(past.len(), told, "{seconds}");
        assert!(past.iter().all(|id| *id == amy()));
    }
}

#[test]
fn what_cannot_be_read_grants_nothing() {
    let sound = entry("PKI", &json!({}), &["weather"]);
    for (member, value) in [
        ("authorizationInfo", json!("{")),
        ("authorizationInfo", json!("{}")),
        (
            "authorizationInfo",
            json!(r#"{"gen":1,"gen":2,"apis":["weather"]}"#),
        ),
        (
            "authorizationInfo",
            json!(r#"{"gen":"1","apis":["weather"]}"#),
        ),
    ] {
        let mut changed = sound.clone();
        changed[member] = value;
        assert!(
            reading(&[changed.clone()]).authorization.methods.is_empty(),
            "{changed}"
        );
    }
    for member in ["authorizationInfo", "selSecurityMethod"] {
        let mut changed = sound.clone();
        changed.as_object_mut().unwrap().remove(member);
        assert!(
            reading(&[changed]).authorization.methods.is_empty(),
            "{member}"
        );
    }
}

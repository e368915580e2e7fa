//! What an AEF is told for Method 1 (R-6.5.2.1-03, R-6.5.2.1-06, D-07, D-08).

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use time::Duration;

use super::*;
use crate::{
    aefpsk::Profile,
    security_method::{PskSession, negotiate},
    state::{Retiring, SecurityEntry},
};

fn published(methods: &[SecurityMethod]) -> Vec<ServiceApi> {
    let at = |aef: &str, name: &str, host: &str| {
        let interfaces: [(&str, &[SecurityMethod]); 1] = [(host, &[])];
        api(name, name, &[profile_with(aef, methods, &interfaces)])
    };
    vec![
        at("AEF1", "weather", "a.example"),
        at("AEF2", "traffic", "b.example"),
    ]
}

fn later(seconds: i64) -> DateTime {
    DateTime(now().0 + Duration::seconds(seconds))
}

/// Negotiates Method 1 at both AEFs.
fn keyed(octet: u8, held: Option<SecurityContext>, now: &DateTime) -> SecurityContext {
    let entry = |aef: &str| json!({ "aefId": aef, "prefSecurityMethods": ["PSK"] });
    let request = wire(json!({
        "securityInfo": [entry("AEF1"), entry("AEF2")],
        "notificationDestination": DESTINATION,
    }));
    let held = held.map(versioned);
    let session = session(octet);
    let (changes, _) = negotiate(
        request,
        &invoker("INV"),
        held.as_ref(),
        published(&[Psk]).iter(),
        &policy(&[Psk]),
        Some(&session as &dyn PskSession),
        now,
    )
    .unwrap();
    written(&changes).remove(0).1
}

/// What one AEF is told at a time, by one who can open keys or not.
fn told_then(
    aef: &str,
    context: &SecurityContext,
    apis: &[ServiceApi],
    now: &DateTime,
    unseal: &dyn Fn(&AefPsk) -> Option<Zeroizing<[u8; 32]>>,
) -> (Value, Value) {
    let answer = security_information(
        &AefId::from(aef),
        &invoker("INV"),
        context,
        apis.iter(),
        true,
        true,
        Material {
            jwks_uri: "",
            anchors: &[],
            unseal,
            policy: &policy(&[Psk, Pki, Oauth]),
            renewal: &rotation_terms(),
            now,
        },
    );
    texts(&answer.unwrap().security_info[0])
}

fn base64(octets: [u8; 32]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(octets)
}

/// R-6.5.2.1-03: the AEF whose interface it is gets the key that was derived for it, and nothing of another AEF's.
#[test]
fn the_owning_aef_gets_the_key() {
    let context = keyed(3, None, &now());
    for (aef, number, interface) in [
        ("AEF1", 1, "https://a.example:443"),
        ("AEF2", 2, "https://b.example:443"),
    ] {
        let (authentication, authorization) =
            told_then(aef, &context, &published(&[Psk]), &now(), &unsealed);
        let key = session(3).derived(Profile::A1Exporter, interface);
        assert_eq!(
            authentication,
            json!({
                "pskId": format!("3GPP-CAPIF.INV.{number}"),
                "psk": base64(key),
                "exp": later(86_400).0.unix_timestamp(),
                "tls": "1.3",
                "interface": interface,
            })
        );
        assert_eq!(authorization["apis"].as_array().unwrap().len(), 1);
    }
}

/// It comes when authentication information is asked for, and not otherwise.
#[test]
fn a_key_comes_when_it_is_asked_for() {
    let context = keyed(3, None, &now());
    for authentication in [false, true] {
        let flags = (authentication, true);
        let answer = told("AEF1", &context, &published(&[Psk]), flags).unwrap();
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(text.contains("psk\\\":"), authentication, "{text}");
    }
}

/// D-07: the key that was replaced comes along while it is good; a key that has ended is not handed over.
#[test]
fn keys_are_handed_over_while_they_are_good() {
    let first = keyed(3, None, &now());
    let second = keyed(4, Some(first), &later(100));
    let apis = published(&[Psk]);
    let at = |seconds: i64| told_then("AEF1", &second, &apis, &later(seconds), &unsealed).0;
    let key = |octet: u8| {
        let derived = session(octet).derived(Profile::A1Exporter, "https://a.example:443");
        json!(base64(derived))
    };
    for seconds in [100, 159] {
        let told = at(seconds);
        assert_eq!(
            (&told["pskId"], &told["psk"]),
            (&json!("3GPP-CAPIF.INV.3"), &key(4))
        );
        assert_eq!(
            told["previous"],
            json!({
                "pskId": "3GPP-CAPIF.INV.1",
                "psk": key(3),
                "exp": later(160).0.unix_timestamp(),
            })
        );
    }
    for seconds in [160, 86_499] {
        let told = at(seconds);
        assert_eq!(told["psk"], key(4));
        assert_eq!(told.get("previous"), None, "after {seconds} s");
    }
    assert_eq!(at(86_500), json!(null));
}

/// TS 33.122 clause 6.7: an entry whose method has changed since still brings its key, so that the handshake can finish and the
/// AEF can say what is wrong; so does one whose API was withdrawn. Neither grants anything.
#[test]
fn an_outdated_entry_keeps_its_key() {
    let context = keyed(3, None, &now());
    for (apis, outdated) in [
        (published(&[Pki]), Some(json!(["weather"]))),
        (Vec::new(), None),
    ] {
        let (authentication, authorization) = told_then("AEF1", &context, &apis, &now(), &unsealed);
        assert!(authentication["psk"].is_string());
        assert_eq!(authorization["apis"], json!([]));
        assert_eq!(authorization.get("outdated").cloned(), outdated);
    }
}

/// A key that does not open, since the sealing key was changed, counts as absent; one that does is told all the same.
#[test]
fn a_key_that_does_not_open_is_absent() {
    let context = keyed(4, Some(keyed(3, None, &now())), &now());
    let apis = published(&[Psk]);
    let told = told_then("AEF1", &context, &apis, &now(), &|_| None).0;
    assert_eq!(told, json!(null));
    let newest = |key: &AefPsk| (key.identity == "3GPP-CAPIF.INV.3").then(|| unsealed(key))?;
    let told = told_then("AEF1", &context, &apis, &now(), &newest).0;
    assert_eq!(told["pskId"], "3GPP-CAPIF.INV.3");
    assert_eq!(told.get("previous"), None);
}

/// D-29: an AEF is told where tokens count over mutual TLS alone.
#[test]
fn the_aef_is_told_of_mutual_tls() {
    let context = context("INV", vec![entry_at("AEF1", Some(Oauth))]);
    let mut apis = published(&[Oauth]);
    let told = |apis: &[ServiceApi], bound: bool| {
        let answer = security_information(
            &AefId::from("AEF1"),
            &invoker("INV"),
            &context,
            apis.iter(),
            true,
            false,
            Material {
                jwks_uri: "",
                anchors: &[],
                unseal: &unsealed,
                policy: &Policy {
                    certificate_bound_tokens: bound,
                    ..policy(&[Psk, Pki, Oauth])
                },
                renewal: &rotation_terms(),
                now: &now(),
            },
        );
        texts(&answer.unwrap().security_info[0])
            .0
            .get("mutualTls")
            .cloned()
    };
    assert_eq!(told(&apis, false), None);
    assert_eq!(told(&apis, true), Some(json!(true)));
    let profile = &mut apis[0].description.aef_profiles.as_mut().unwrap()[0];
    profile.interface_descriptions.as_mut().unwrap()[0].extra =
        vendor(json!({ "oauthMutualTls": true }));
    assert_eq!(told(&apis, false), Some(json!(true)));
}

/// R-U-06: a key ends with the certificate that it was negotiated with, exactly, whether or not it was taken away by then.
#[test]
fn a_key_ends_with_its_certificate() {
    let context = keyed(3, None, &now());
    let mut renewed = invoker("INV");
    renewed.certificate = certificate(2);
    renewed.renewal.retiring = vec![Retiring {
        certificate: certificate(1),
        onboard_secret: None,
        secret_expires: None,
        until: later(300),
    }];
    let told = |invoker: &Invoker, now: &DateTime| {
        let answer = security_information(
            &AefId::from("AEF1"),
            invoker,
            &context,
            published(&[Psk]).iter(),
            true,
            false,
            Material {
                jwks_uri: "",
                anchors: &[],
                unseal: &unsealed,
                policy: &policy(&[Psk]),
                renewal: &rotation_terms(),
                now,
            },
        );
        texts(&answer.unwrap().security_info[0]).0
    };
    let exp = |told: Value| told["exp"].as_i64().unwrap();
    assert_eq!(
        exp(told(&invoker("INV"), &now())),
        later(86_400).0.unix_timestamp()
    );
    assert_eq!(
        exp(told(&renewed, &later(299))),
        later(300).0.unix_timestamp()
    );
    assert_eq!(told(&renewed, &later(300)), Value::Null);
    renewed.renewal.retiring.clear();
    assert_eq!(told(&renewed, &now()), Value::Null);
}

/// R-6.5.2.1-06: what is left after everything was revoked holds no key.
#[test]
fn a_context_without_entries_holds_no_key() {
    let mut context = keyed(3, None, &now());
    assert!(
        context
            .entries
            .iter()
            .all(|entry: &SecurityEntry| entry.psk.is_some())
    );
    context.entries.clear();
    let text = serde_json::to_string(&context).unwrap();
    assert!(
        !text.contains("sealed") && !text.contains("3GPP-CAPIF"),
        "{text}"
    );
    assert_eq!(context.psk_count, 2);
}

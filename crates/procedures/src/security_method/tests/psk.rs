//! The keys that a negotiation makes (TS 33.122 clauses 6.5.2.1 and A.1).

mod places;

use capif_spec::{
    common::DateTime,
    vendor::{MEMBER, PskTls},
};
use time::Duration;

use super::*;
use crate::{
    aefpsk::Profile,
    state::{Digest, SecurityEntry},
};

const A: &str = "https://a.example:443";
const B: &str = "https://b.example:443";

/// An API on two interfaces that take PSK.
fn two() -> Vec<ServiceApi> {
    let interfaces: [(&str, &[SecurityMethod]); 2] = [("a.example", &[]), ("b.example", &[])];
    vec![api(
        "A",
        "weather",
        &[profile_with("AEF", &[Psk, Pki], &interfaces)],
    )]
}

/// An API on one.
fn one() -> Vec<ServiceApi> {
    let interfaces: [(&str, &[SecurityMethod]); 1] = [("a.example", &[])];
    vec![api(
        "A",
        "weather",
        &[profile_with("AEF", &[Psk, Pki], &interfaces)],
    )]
}

fn later(seconds: i64) -> DateTime {
    DateTime(now().0 + Duration::seconds(seconds))
}

fn over(
    session: Option<&Session>,
    entries: &[Value],
    held: Option<&SecurityContext>,
    apis: &[ServiceApi],
    now: &DateTime,
) -> Result<(SecurityContext, ServiceSecurity), Refusal> {
    let held = held.cloned().map(versioned);
    let (changes, answer) = negotiate(
        per_api(entries),
        &invoker("INV"),
        held.as_ref(),
        apis.iter(),
        &policy(&[Psk, Pki, Oauth]),
        session.map(|session| session as &dyn PskSession),
        now,
    )?;
    let (_, context) = written(&changes).remove(0);
    Ok((context, answer))
}

fn text(information: &SecurityInformation) -> Value {
    serde_json::from_str(information.authentication_info.as_ref().unwrap()).unwrap()
}

fn keys(entry: &SecurityEntry) -> &crate::state::AefPsks {
    entry.psk.as_ref().unwrap()
}

/// R-6.5.2.1-01: the CCF derives the key from the session that carries the negotiation, for the invoker and the interface; the
/// invoker is told what it needs to derive the same one, and not the key (D-08, D-09, R-A-05).
#[test]
fn a_key_is_derived_from_the_session() {
    let entries = [at("AEF", &[Psk])];
    let (context, answer) = over(Some(&session(3)), &entries, None, &one(), &now()).unwrap();
    let key = &keys(&context.entries[0]).current;
    let octets = unsealed(key).unwrap();
    assert_eq!(*octets, session(3).derived(Profile::A1Exporter, A));
    assert_eq!(key.identity, "3GPP-CAPIF.INV.1");
    assert_eq!(context.psk_count, 1);
    assert_eq!(keys(&context.entries[0]).previous, None);
    assert_eq!(answer.security_info.len(), 1);
    assert_eq!(answer.security_info[0].aef_id, Some("AEF".into()));
    assert_eq!(answer.security_info[0].interface_details, None);
    assert_eq!(
        text(&answer.security_info[0]),
        json!({
            "method": "PSK",
            "profile": "a1-exporter",
            "pskId": "3GPP-CAPIF.INV.1",
            "exp": now().0.unix_timestamp() + 86_400,
            "tls": "1.3",
            "interface": A,
        })
    );
    for secret in [
        Digest::new(*octets).to_string(),
        key.sealed.as_str().to_owned(),
    ] {
        assert!(!serde_json::to_string(&answer).unwrap().contains(&secret));
        assert!(!format!("{context:?}").contains(&secret));
    }
    // What is kept opens again after a restart.
    let kept: SecurityContext =
        serde_json::from_value(serde_json::to_value(&context).unwrap()).unwrap();
    assert_eq!(kept, context);
}

/// D-06: an entry about an AEF with several interfaces is answered by one entry per interface, each with its own key; an entry
/// about one interface, and one about an AEF that has one, stay as they are.
#[test]
fn each_interface_has_its_key() {
    let entries = [
        at("AEF", &[Psk]),
        on("b.example", &[Psk]),
        at("AEF", &[Pki]),
    ];
    let (context, answer) = over(Some(&session(3)), &entries, None, &two(), &now()).unwrap();
    let shown: Vec<Value> = answer
        .security_info
        .iter()
        .map(|entry| {
            json!([
                entry.aef_id,
                entry.interface_details,
                text(entry)["interface"],
                text(entry)["pskId"],
            ])
        })
        .collect();
    assert_eq!(
        json!(shown),
        json!([
            [null, { "fqdn": "a.example" }, A, "3GPP-CAPIF.INV.1"],
            [null, { "fqdn": "b.example" }, B, "3GPP-CAPIF.INV.2"],
            // The same interface from the same session is the same key.
            [null, { "fqdn": "b.example" }, B, "3GPP-CAPIF.INV.2"],
            ["AEF", null, null, null],
        ])
    );
    assert_eq!(context.psk_count, 2);
    let opened = |index: usize| *unsealed(&keys(&context.entries[index]).current).unwrap();
    assert_eq!(opened(0), session(3).derived(Profile::A1Exporter, A));
    assert_eq!(opened(1), session(3).derived(Profile::A1Exporter, B));
    assert_eq!(keys(&context.entries[1]), keys(&context.entries[2]));
    assert!(
        context
            .entries
            .iter()
            .all(|entry| entry.aef_id.as_str() == "AEF")
    );
    // Each entry grants the API on its interface.
    let inv = invoker("INV");
    assert_eq!(
        granted(&inv, &context, two().iter(), &policy(&[Psk, Pki, Oauth])).count(),
        4
    );
}

/// What is published beside the address, the version of TLS above all, does not come along into the entry; the version is that of
/// the key.
#[test]
fn an_interface_says_in_which_tls_its_key_is_used() {
    let mut apis = two();
    let profile = &mut apis[0].description.aef_profiles.as_mut().unwrap()[0];
    let interfaces = profile.interface_descriptions.as_mut().unwrap();
    interfaces[1].extra = crate::fixtures::vendor(json!({ "pskTls": "1.2" }));
    interfaces[1].security_methods = Some(vec![Psk]);
    let entries = [at("AEF", &[Psk])];
    let (context, answer) = over(Some(&session(3)), &entries, None, &apis, &now()).unwrap();
    let tls: Vec<PskTls> = context
        .entries
        .iter()
        .map(|entry| keys(entry).current.tls)
        .collect();
    assert_eq!(tls, [PskTls::Tls13, PskTls::Tls12]);
    assert_eq!(text(&answer.security_info[1])["tls"], "1.2");
    assert_eq!(
        json!(answer.security_info[1].interface_details),
        json!({ "fqdn": "b.example" })
    );
    // Two publications of one interface that disagree: no key, so no PSK.
    let mut other = one();
    other[0].id = "A2".into();
    other[0].description.aef_profiles.as_mut().unwrap()[0]
        .interface_descriptions
        .as_mut()
        .unwrap()[0]
        .extra = crate::fixtures::vendor(json!({ "pskTls": "1.2" }));
    let both = [one(), other].concat();
    let entries = [at("AEF", &[Psk, Pki])];
    let (context, answer) = over(Some(&session(3)), &entries, None, &both, &now()).unwrap();
    assert_eq!(selected(&answer), [Some(Pki)]);
    assert_eq!(context.psk_count, 0);
}

/// D-04: without the facts of a session there is no key, so Method 1 is left out, and the next method is selected.
#[test]
fn without_facts_of_the_session_the_method_is_left_out() {
    let (context, answer) = over(None, &[at("AEF", &[Psk, Pki])], None, &one(), &now()).unwrap();
    assert_eq!(selected(&answer), [Some(Pki)]);
    assert_eq!((context.psk_count, &context.entries[0].psk), (0, &None));
    let mut literal = at("AEF", &[Psk]);
    literal[MEMBER] = json!({ "pskProfile": "a1-tls12" });
    let (_, answer) = over(None, &[literal], None, &one(), &now()).unwrap();
    assert_eq!(selected(&answer), [None]);
}

/// A key that is not made, since it could not be sealed, leaves the method out too.
#[test]
fn a_key_that_is_not_made_leaves_the_method_out() {
    struct Broken;
    impl PskSession for Broken {
        fn serves(&self, _: Profile) -> bool {
            true
        }
        fn certificate(&self) -> Digest {
            session(1).certificate()
        }
        fn key(&self, _: Profile, _: &str, _: &str) -> Option<crate::state::SealedKey> {
            None
        }
    }
    let (changes, answer) = negotiate(
        request(&[at("AEF", &[Psk, Pki])]),
        &invoker("INV"),
        None,
        two().iter(),
        &policy(&[Psk, Pki]),
        Some(&Broken),
        &now(),
    )
    .unwrap();
    assert_eq!(selected(&answer), [Some(Pki)]);
    let (_, context) = written::<SecurityContext>(&changes).remove(0);
    assert_eq!(context.psk_count, 0);
}

/// An interface without one spelling of its address has no key (D-01).
#[test]
fn an_interface_without_a_usable_address_has_no_key() {
    for interface in [
        json!({ "fqdn": "münchen.example" }),
        json!({ "ipv4Addr": "gw.example" }),
        json!({ "fqdn": "a.example", "apiPrefix": "/a/../b" }),
    ] {
        let mut profile = profile_with("AEF", &[Psk, Pki], &[]);
        profile.interface_descriptions = Some(vec![wire(interface.clone())]);
        let apis = [api("A", "weather", &[profile])];
        let entries = [at("AEF", &[Psk, Pki])];
        let (_, answer) = over(Some(&session(3)), &entries, None, &apis, &now()).unwrap();
        assert_eq!(selected(&answer), [Some(Pki)], "{interface}");
    }
}

/// An interface that two AEFs claim has no key: each would be given the other's, since the key is of the interface alone. It does
/// not matter whether the invoker reaches both, nor how they spell the address.
#[test]
fn an_interface_of_two_aefs_has_no_key() {
    let foreign = |host: &str| {
        let interfaces: [(&str, &[SecurityMethod]); 1] = [(host, &[])];
        let profile = profile_with("AEF9", &[Psk, Pki], &interfaces);
        elsewhere(api("A9", "copy", &[profile]), "APF9", "DOM9")
    };
    let entries = [at("AEF", &[Psk, Pki])];
    for (host, expected) in [
        ("a.example", Some(Pki)),
        ("A.EXAMPLE", Some(Pki)),
        ("b.example", Some(Psk)),
    ] {
        let apis = [one(), vec![foreign(host)]].concat();
        let inv = invoker_within("INV", names(&["weather"]));
        let (_, answer) = negotiate(
            request(&entries),
            &inv,
            None,
            apis.iter(),
            &policy(&[Psk, Pki]),
            Some(&session(3)),
            &now(),
        )
        .unwrap();
        assert_eq!(selected(&answer), [expected], "{host}");
    }
}

/// R-A-03, D-02: the literal facts of clause A.1 are used when they are asked for, and a session that has none is refused in words
/// that say what to do.
#[test]
fn the_literal_profile_is_used_where_it_can_be() {
    let of = |profile: &str| {
        let mut entry = at("AEF", &[Psk, Pki]);
        entry[MEMBER] = json!({ "pskProfile": profile });
        entry
    };
    let literal = Session {
        octet: 3,
        tls12: true,
    };
    for (profile, word) in [
        (Profile::A1Exporter, "a1-exporter"),
        (Profile::A1Tls12, "a1-tls12"),
    ] {
        let (context, answer) = over(Some(&literal), &[of(word)], None, &one(), &now()).unwrap();
        let key = &keys(&context.entries[0]).current;
        assert_eq!(*unsealed(key).unwrap(), literal.derived(profile, A));
        assert_eq!(text(&answer.security_info[0])["profile"], word);
    }
    let entries = [at("AEF", &[Pki]), of("a1-tls12")];
    let refusal = over(Some(&session(3)), &entries, None, &one(), &now()).unwrap_err();
    assert!(
        matches!(&refusal, Refusal::Malformed { pointer, reason, .. }
            if *pointer == format!("/securityInfo/1/{MEMBER}/pskProfile")
                && reason.contains("TLS 1.2") && reason.contains("a1-exporter")),
        "{refusal:?}"
    );
    // Who does not want Method 1 may say what it likes.
    let mut without = of("a1-tls12");
    without["prefSecurityMethods"] = json!(["PKI"]);
    let (_, answer) = over(Some(&session(3)), &[without], None, &one(), &now()).unwrap();
    assert_eq!(selected(&answer), [Some(Pki)]);
    // Two ways for the same interface are two keys.
    let (context, _) = over(
        Some(&literal),
        &[of("a1-tls12"), of("a1-exporter")],
        None,
        &one(),
        &now(),
    )
    .unwrap();
    assert_eq!(context.psk_count, 2);
}

/// D-03, D-07, R-6.5.2.1-06: negotiating anew makes another key with another number; the one before is good for a minute more. The
/// method going takes both.
#[test]
fn a_new_key_replaces_the_one_before() {
    let entries = [at("AEF", &[Psk, Pki])];
    let (first, _) = over(Some(&session(3)), &entries, None, &one(), &now()).unwrap();
    let (second, answer) = over(
        Some(&session(4)),
        &entries,
        Some(&first),
        &one(),
        &later(600),
    )
    .unwrap();
    let (before, after) = (keys(&first.entries[0]), keys(&second.entries[0]));
    assert_eq!(after.current.identity, "3GPP-CAPIF.INV.2");
    assert_eq!(text(&answer.security_info[0])["pskId"], "3GPP-CAPIF.INV.2");
    assert_eq!(
        *unsealed(&after.current).unwrap(),
        session(4).derived(Profile::A1Exporter, A)
    );
    let previous = after.previous.as_ref().unwrap();
    assert_eq!(previous.identity, before.current.identity);
    assert_eq!(previous.sealed, before.current.sealed);
    assert_eq!(previous.expires, later(660));
    assert!(previous.is_good(&later(659)) && !previous.is_good(&later(660)));
    assert!(!serde_json::to_string(&answer).unwrap().contains("INV.1"));
    assert_eq!(second.generation, first.generation, "no token dies of it");

    // A third one: the second is the one before now, the first is gone.
    let (third, _) = over(
        Some(&session(5)),
        &entries,
        Some(&second),
        &one(),
        &later(610),
    )
    .unwrap();
    let previous = keys(&third.entries[0]).previous.as_ref().unwrap();
    assert_eq!(previous.identity, "3GPP-CAPIF.INV.2");
    assert_eq!(third.psk_count, 3);

    // The method goes, and every key with it; the count stays, also when everything was revoked.
    let (none, _) = over(
        Some(&session(6)),
        &[at("AEF", &[Pki])],
        Some(&third),
        &one(),
        &later(620),
    )
    .unwrap();
    assert_eq!((none.psk_count, &none.entries[0].psk), (3, &None));
    assert!(none.generation > third.generation);
    let mut revoked = none;
    revoked.entries.clear();
    let (again, _) = over(
        Some(&session(7)),
        &entries,
        Some(&revoked),
        &one(),
        &later(630),
    )
    .unwrap();
    assert_eq!(keys(&again.entries[0]).current.identity, "3GPP-CAPIF.INV.4");
    assert_eq!(keys(&again.entries[0]).previous, None);
}

/// What was replaced is kept for the AEF, interface and version of TLS that it was made for, and while it is good by itself.
#[test]
fn only_the_same_place_keeps_what_was_replaced() {
    let entries = [at("AEF", &[Psk])];
    let (both, _) = over(Some(&session(3)), &entries, None, &two(), &now()).unwrap();
    let previous = |held: &SecurityContext, apis: &[ServiceApi], at: i64| {
        let (context, _) = over(Some(&session(4)), &entries, Some(held), apis, &later(at)).unwrap();
        let of = |entry: &SecurityEntry| keys(entry).previous.clone().map(|key| key.identity);
        context.entries.iter().map(of).collect::<Vec<_>>()
    };
    let named = |number: u8| Some(format!("3GPP-CAPIF.INV.{number}"));
    assert_eq!(previous(&both, &two(), 5), [named(1), named(2)]);
    assert_eq!(previous(&both, &one(), 5), [named(1)]);
    let (of_one, _) = over(Some(&session(3)), &entries, None, &one(), &now()).unwrap();
    assert_eq!(previous(&of_one, &two(), 5), [named(1), None]);
    // At its end, and after it.
    assert_eq!(previous(&of_one, &one(), 86_399), [named(1)]);
    assert_eq!(previous(&of_one, &one(), 86_400), [None]);
    let mut another = of_one.clone();
    another.entries[0].aef_id = "AEF2".into();
    assert_eq!(previous(&another, &one(), 5), [None]);
    let mut tls12 = of_one;
    tls12.entries[0].psk.as_mut().unwrap().current.tls = PskTls::Tls12;
    assert_eq!(previous(&tls12, &one(), 5), [None]);
}

/// D-07: a key ends with the certificate of its invoker, if that is sooner.
#[test]
fn a_key_does_not_outlive_the_certificate() {
    let ends = |not_after: i64, at: DateTime| {
        let mut inv = invoker("INV");
        inv.certificate.not_after = later(not_after);
        let (changes, answer) = negotiate(
            request(&[at_psk()]),
            &inv,
            None,
            one().iter(),
            &policy(&[Psk]),
            Some(&session(3)),
            &at,
        )
        .unwrap();
        let (_, context) = written::<SecurityContext>(&changes).remove(0);
        let expires = keys(&context.entries[0]).current.expires.clone();
        assert_eq!(
            text(&answer.security_info[0])["exp"],
            expires.0.unix_timestamp()
        );
        expires
    };
    assert_eq!(ends(90_000, now()), later(86_400));
    assert_eq!(ends(3600, now()), later(3600));
    // Whole seconds, as both sides are told.
    let odd = DateTime(now().0 + Duration::milliseconds(1500));
    assert_eq!(ends(90_000, odd), later(86_401));
}

fn at_psk() -> Value {
    at("AEF", &[Psk])
}

/// An AEF can list interfaces without end; the entries that a context holds are bounded all the same.
#[test]
fn the_interfaces_of_a_negotiation_are_bounded() {
    let hosts: Vec<String> = (0..ENTRIES_MAX + 1)
        .map(|index| format!("h{index}.example"))
        .collect();
    let published = |count: usize| {
        let interfaces: Vec<(&str, &[SecurityMethod])> = hosts
            .iter()
            .take(count)
            .map(|host| (host.as_str(), &[][..]))
            .collect();
        vec![api(
            "A",
            "weather",
            &[profile_with("AEF", &[Psk], &interfaces)],
        )]
    };
    let most = published(ENTRIES_MAX);
    let (context, _) = over(Some(&session(3)), &[at_psk()], None, &most, &now()).unwrap();
    assert_eq!(context.entries.len(), ENTRIES_MAX);
    assert_eq!(context.psk_count, ENTRIES_MAX as u64);
    let more = published(ENTRIES_MAX + 1);
    let refusal = over(Some(&session(3)), &[at_psk()], None, &more, &now()).unwrap_err();
    assert!(
        matches!(&refusal, Refusal::Malformed { pointer, .. } if pointer == "/securityInfo"),
        "{refusal:?}"
    );
}

/// A context that was written before there were keys is read as one that never had any.
#[test]
fn contexts_of_before_have_no_keys() {
    let mut written =
        serde_json::to_value(context("INV", vec![entry_at("AEF", Some(Pki))])).unwrap();
    let members = written.as_object_mut().unwrap();
    members.remove("psk_count");
    assert!(!written.to_string().contains("psk"));
    let read: SecurityContext = serde_json::from_value(written).unwrap();
    assert_eq!((read.psk_count, &read.entries[0].psk), (0, &None));
}

//! Where a key is good, and how many places there can be.

use super::*;
use crate::state::SealedKey;

/// P-27: a key is for one interface in one version of TLS. What moves away from there, comes to another place of the AEF, or changes
/// the version does not go by it: the invoker has to ask anew.
#[test]
fn a_key_grants_at_its_own_interface_alone() {
    let (inv, policy) = (invoker("INV"), policy(&[Psk, Pki]));
    let (context, _) = over(Some(&session(3)), &[at_psk()], None, &one(), &now()).unwrap();
    let at_host = |id: &str, name: &str, host: &str, terms: Value| {
        let interfaces: [(&str, &[SecurityMethod]); 1] = [(host, &[])];
        let mut api = api(id, name, &[profile_with("AEF", &[Psk], &interfaces)]);
        let profile = &mut api.description.aef_profiles.as_mut().unwrap()[0];
        profile.interface_descriptions.as_mut().unwrap()[0].extra = vendor(terms);
        api
    };
    let seen = |apis: &[ServiceApi]| -> (Vec<String>, Vec<String>) {
        let ids = |api: &ServiceApi| api.id.to_string();
        let by = granted(&inv, &context, apis.iter(), &policy);
        let gone = outdated(&inv, &context.entries[0], apis.iter(), &policy);
        (
            by.map(|grant| ids(grant.api)).collect(),
            gone.map(ids).collect(),
        )
    };
    let (weather, maps) = ("A".to_owned(), "B".to_owned());
    assert_eq!(seen(&one()), (vec![weather.clone()], vec![]));
    // The same place, in other words and among others.
    assert_eq!(seen(&two()), (vec![weather.clone()], vec![]));
    let spelled = [at_host(
        "A",
        "weather",
        "A.Example",
        json!({ "pskTls": "1.3" }),
    )];
    assert_eq!(seen(&spelled), (vec![weather.clone()], vec![]));
    let moved = [at_host("A", "weather", "b.example", json!({}))];
    assert_eq!(seen(&moved), (vec![], vec![weather.clone()]));
    let changed = [at_host(
        "A",
        "weather",
        "a.example",
        json!({ "pskTls": "1.2" }),
    )];
    assert_eq!(seen(&changed), (vec![], vec![weather.clone()]));
    let later = [one(), vec![at_host("B", "maps", "b.example", json!({}))]].concat();
    assert_eq!(seen(&later), (vec![weather], vec![maps]));
}

/// However many interfaces there are to make keys for, no more are made than a context could hold, and the answer is a refusal.
#[test]
fn no_more_keys_are_made_than_a_context_holds() {
    struct Counted(std::cell::Cell<usize>);
    impl PskSession for Counted {
        fn serves(&self, _: Profile) -> bool {
            true
        }
        fn certificate(&self) -> Digest {
            session(1).certificate()
        }
        fn key(&self, profile: Profile, interface: &str, identity: &str) -> Option<SealedKey> {
            self.0.set(self.0.get() + 1);
            session(1).key(profile, interface, identity)
        }
    }
    let hosts: Vec<String> = (0..10_000)
        .map(|index| format!("h{index}.example"))
        .collect();
    let interfaces: Vec<(&str, &[SecurityMethod])> =
        hosts.iter().map(|host| (host.as_str(), &[][..])).collect();
    let apis = [api(
        "A",
        "weather",
        &[profile_with("AEF", &[Psk], &interfaces)],
    )];
    let counted = Counted(Default::default());
    let refusal = negotiate(
        request(&[at_psk()]),
        &invoker("INV"),
        None,
        apis.iter(),
        &policy(&[Psk]),
        Some(&counted),
        &now(),
    );
    assert!(matches!(refusal, Err(Refusal::Malformed { .. })));
    assert_eq!(counted.0.get(), ENTRIES_MAX + 1);
}

/// Two spellings of one interface have one key, and an entry each: what is published under either is granted.
#[test]
fn spellings_of_an_interface_are_one_place() {
    let mut apis = two();
    let mut other = api(
        "B",
        "maps",
        &[profile_with("AEF", &[Psk], &[("A.EXAMPLE", &[])])],
    );
    let profile = &mut other.description.aef_profiles.as_mut().unwrap()[0];
    profile.interface_descriptions.as_mut().unwrap()[0].port = wire(json!(443));
    apis.push(other);
    let (context, _) = over(Some(&session(3)), &[at_psk()], None, &apis, &now()).unwrap();
    assert_eq!(context.psk_count, 2);
    let inv = invoker("INV");
    let policy = policy(&[Psk]);
    let rows: Vec<String> = context
        .entries
        .iter()
        .flat_map(|entry| granted_by(entry, &inv, apis.iter(), &policy))
        .map(|grant| format!("{} {}", grant.api.id, keys(grant.entry).current.identity))
        .collect();
    let key = |number: u64| crate::aefpsk::identity(&inv.id, number);
    let expected = [("A", key(1)), ("A", key(2)), ("B", key(1))];
    assert_eq!(rows, expected.map(|(api, key)| format!("{api} {key}")));
    // Alone, the place needs no words.
    let alone = [one(), apis.split_off(1)].concat();
    let (context, _) = over(Some(&session(3)), &[at_psk()], None, &alone, &now()).unwrap();
    assert_eq!(context.entries.len(), 1);
    assert_eq!(context.entries[0].information.interface_details, None);
    assert_eq!(granted(&inv, &context, alone.iter(), &policy).count(), 2);
}

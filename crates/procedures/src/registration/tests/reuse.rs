//! Registration again, by a credential that may be used more than once.

use super::*;
use crate::state::{CredentialUse, Reuse};

fn held(functions: &[ProviderFunction]) -> Versioned<ProviderDomain> {
    let mut record = domain(functions);
    record.reuse = Some(Reuse::of(&credential()));
    versioned(record)
}

fn again(wanted: &[Value], before: &[ProviderFunction]) -> Result<Plan, Refusal> {
    let (domain, functions) = (held(before), stored(before));
    planned(request(wanted), Before::Again(&domain, &functions))
}

/// A domain remembers the credential only where it may be used again, and is bound to it by the commit that makes it.
#[test]
fn a_domain_remembers_a_credential_that_may_be_used_again() {
    let credential = credential();
    for is_reusable in [false, true] {
        let before = Before::Nothing {
            credential: &credential,
            name: "provider",
            is_reusable,
        };
        let plan = planned(request(&[wanted("AMF", 1)]), before).unwrap();
        let (changes, _) = completed(plan, &[], &[]);
        let [(Expect::Absent, made)] = &written::<ProviderDomain>(&changes)[..] else {
            panic!("{changes:?}");
        };
        let reuse = is_reusable.then(|| Reuse::of(&credential));
        assert_eq!(made.reuse, reuse);
        assert_eq!(written::<CredentialUse>(&changes).len(), 1);
    }
}

/// Functions are found by their keys, otherwise by their roles in order; ids stay, what is new comes beside them and what is left
/// over goes. New keys are certified as in a renewal: the certificates in use stay until the new ones are seen.
#[test]
fn functions_keep_their_ids() {
    let mut before = functions();
    before.push(function("AEF2", Role::Aef, 4));
    let ids = |wanted: &[Value]| -> Vec<String> {
        let (_, answer) = completed(again(wanted, &before).unwrap(), &[], &[]);
        let answered = answered(&answer);
        answered.into_iter().map(|(id, ..)| id).collect()
    };
    let fresh = [
        wanted("AMF", 11),
        wanted("APF", 12),
        wanted("AEF", 13),
        wanted("AEF", 14),
    ];
    assert_eq!(ids(&fresh), ["AMF", "APF", "AEF", "AEF2"]);
    // One whose key is known is not taken by another that comes first.
    let swapped = [
        wanted("AEF", 13),
        wanted("AEF", 3),
        wanted("APF", 2),
        wanted("AMF", 11),
        wanted("AEF", 15),
    ];
    assert_eq!(ids(&swapped), ["AEF2", "AEF", "APF", "AMF", "AEF-1"]);

    let plan = again(&fresh[..3], &before).unwrap();
    let (changes, answer) = completed(plan, &[], &[]);
    assert_eq!(answered(&answer)[2], row("AEF", "AEF", 13));
    assert!(written::<CredentialUse>(&changes).is_empty());
    let written = written::<ProviderFunction>(&changes);
    let (_, aef) = written
        .iter()
        .find(|(_, held)| held.id.as_str() == "AEF")
        .unwrap();
    assert_eq!(aef.certificate, certificate(3), "still in use");
    let successor = aef.renewal.successor.as_ref().unwrap();
    assert_eq!(successor.certificate, certificate(13));
    let mut world = World::default();
    for function in &before {
        world = world.with(function);
    }
    world = world.with(&held(&before).record);
    world.commit(changes).unwrap();
    assert_eq!(world.ids(Kind::ProviderFunction), ["AEF", "AMF", "APF"]);
}

/// The same request is answered alike, as often as it comes.
#[test]
fn a_request_may_be_repeated() {
    let wanted = [wanted("AMF", 11), wanted("APF", 12), wanted("AEF", 13)];
    let (changes, first) = completed(again(&wanted, &functions()).unwrap(), &[], &[]);
    let after: Vec<ProviderFunction> = written(&changes)
        .into_iter()
        .map(|(_, function)| function)
        .collect();
    let plan = again(&wanted, &after).unwrap();
    assert_eq!(orders(&plan), []);
    let (changes, second) = completed(plan, &[], &[]);
    assert_eq!(answered(&first), answered(&second));
    assert!(!format!("{changes:?}").contains("DeletePrefix"));
}

/// Whoever starts over knows no subscription of before; who comes with the keys of before does.
#[test]
fn subscriptions_of_functions_with_new_keys_go() {
    let wanted = [wanted("AMF", 1), wanted("APF", 2), wanted("AEF", 13)];
    let (changes, _) = completed(again(&wanted, &functions()).unwrap(), &[], &[]);
    let text = format!("{changes:?}");
    assert!(text.contains("AEF/") && !text.contains("AMF/") && !text.contains("APF/"));
    // An update of the same kind leaves them.
    let before = functions();
    let domain = versioned(domain(&before));
    let functions = stored(&before);
    let plan = planned(request(&wanted), Before::Domain(&domain, &functions)).unwrap();
    let (changes, _) = completed(plan, &[], &[]);
    assert!(!written::<ProviderDomain>(&changes).is_empty());
}

/// What is refused of an update is refused of a registration again: foreign ids, and keys that are not believed any more.
#[test]
fn nothing_else_comes_of_it() {
    let foreign = [wanted("AMF", 11), known(wanted("AEF", 13), "AEF9")];
    assert!(matches!(
        again(&foreign, &functions()),
        Err(Refusal::NotFound { .. })
    ));
    let no_amf = [wanted("AEF", 13)];
    assert!(again(&no_amf, &functions()).is_err());
    let twice = [
        known(wanted("AMF", 11), "AMF"),
        known(wanted("AMF", 12), "AMF"),
    ];
    assert!(again(&twice, &functions()).is_err());
}

/// A credential that takes the place of another counts as used from the start, and can be taken away.
#[test]
fn a_domain_is_bound_to_another_credential() {
    let domain = held(&functions());
    let other = Credential {
        single_use: digest(0xc1),
        ..credential()
    };
    let changes = bind(&domain, &other);
    let [(expect, bound)] = &written::<ProviderDomain>(&changes)[..] else {
        panic!("{changes:?}");
    };
    assert_eq!(*expect, Expect::At(REVISION));
    assert_eq!(bound.reuse, Some(Reuse::of(&other)));
    let used = written::<CredentialUse>(&changes);
    assert_eq!(used, [(Expect::Absent, other.used())]);

    let changes = unbind(&domain).unwrap();
    let [(_, alone)] = &written::<ProviderDomain>(&changes)[..] else {
        panic!("{changes:?}");
    };
    assert_eq!(alone.reuse, None);
    assert!(unbind(&versioned(alone.clone())).is_none());
}

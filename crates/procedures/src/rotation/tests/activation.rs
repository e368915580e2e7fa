//! The commits of first use and of the end of an overlap.

use serde_json::json;

use super::{generic::after, *};
use crate::{
    aefpsk::Profile,
    changes::{Changes, Expect, Kind},
    security_method::{PskSession, negotiate},
    state::{RevokedCertificate, SecurityContext, Subscription},
};

const OVERLAP: Duration = Duration::minutes(60);

fn renewing() -> Invoker {
    let mut inv = invoker("INV");
    inv.certificate.serial = "01".to_owned();
    inv.renewal.agreed = true;
    let mut next = certificate(2);
    next.serial = "02".to_owned();
    inv.renewal.successor = Some(Box::new(Successor {
        public_key_text: "key 2".into(),
        certificate: next,
        onboard_secret: Some(digest(2)),
        secret_expires: None,
    }));
    inv
}

fn subscriptions() -> Vec<Subscription> {
    vec![
        subscription("AEF", Role::Aef, &["API_INVOKER_UPDATED"]),
        subscription("INV", Role::ApiInvoker, &["API_INVOKER_UPDATED"]),
        subscription("INV9", Role::ApiInvoker, &["API_INVOKER_UPDATED"]),
        subscription("APF", Role::Apf, &["API_INVOKER_ONBOARDED"]),
    ]
}

fn told(changes: &Changes) -> Vec<String> {
    let notified = notified(changes).into_iter();
    notified
        .map(|(subscriber, event, detail)| {
            assert_eq!(event, "API_INVOKER_UPDATED");
            assert_eq!(detail, json!({ "apiInvokerIds": ["INV"] }), "and no secret");
            subscriber
        })
        .collect()
}

/// A session under a certificate.
struct Under(u8);

impl PskSession for Under {
    fn serves(&self, _: Profile) -> bool {
        true
    }
    fn certificate(&self) -> Digest {
        certificate(self.0).fingerprint
    }
    fn key(&self, profile: Profile, interface: &str, identity: &str) -> Option<SealedKey> {
        session(self.0).key(profile, interface, identity)
    }
}

/// A context whose key was negotiated by this invoker over a session under the certificate of a key.
fn negotiated(
    inv: &Invoker,
    key: u8,
    held: Option<&SecurityContext>,
    now: &DateTime,
) -> SecurityContext {
    let interfaces: [(&str, &[capif_spec::publish_service::SecurityMethod]); 1] =
        [("a.example", &[])];
    let apis = [api(
        "A",
        "weather",
        &[profile_with("AEF", &[Psk], &interfaces)],
    )];
    let held = held.cloned().map(versioned);
    let (changes, _) = negotiate(
        wire(json!({
            "securityInfo": [{ "aefId": "AEF", "prefSecurityMethods": ["PSK"] }],
            "notificationDestination": DESTINATION,
        })),
        inv,
        held.as_ref(),
        apis.iter(),
        &policy(&[Psk]),
        Some(&Under(key)),
        now,
    )
    .unwrap();
    written(&changes).remove(0).1
}

/// R-U-05, R-U-08: first use is one commit, seen by the AEFs and by the invoker, and by nobody else.
#[test]
fn first_use_takes_effect_once() {
    let inv = versioned(renewing());
    let subscriptions = subscriptions();
    let around = || Around {
        context: None,
        circle: everyone(),
        subscriptions: subscriptions.iter(),
    };
    let (changes, ended) = activate(&inv, around(), OVERLAP, &now()).unwrap();
    assert_eq!(ended, []);
    assert_eq!(told(&changes), ["AEF", "INV"]);
    assert_eq!(written::<RevokedCertificate>(&changes), []);
    let (expect, renewed) = written::<Invoker>(&changes).remove(0);
    assert_eq!(expect, Expect::At(REVISION));
    assert_eq!(renewed.certificate.fingerprint, certificate(2).fingerprint);

    let mut world = World::default().with(&inv.record);
    let held = world.held::<Invoker>("INV").unwrap();
    let both = [(); 2].map(|()| activate(&held, around(), OVERLAP, &now()).unwrap().0);
    let [one, other] = both;
    world.commit(one).unwrap();
    assert_eq!(world.commit(other).unwrap_err().kind, Kind::Invoker);
    let held = world.held::<Invoker>("INV").unwrap();
    assert_eq!(activate(&held, around(), OVERLAP, &now()), None);
}

/// R-U-06: at the end of the overlap the old certificate is revoked, and the keys go that were negotiated with it; those of the new
/// one stay.
#[test]
fn the_end_of_an_overlap_takes_what_was_bound_to_it() {
    let mut inv = renewing();
    let old_key = negotiated(&inv, 1, None, &now());
    promote(&mut inv, OVERLAP, &now()).unwrap();
    let until = after(&now(), OVERLAP);
    let new_key = negotiated(&inv, 2, None, &now());
    let retiring_key = negotiated(&inv, 1, None, &now());
    let key = |context: &SecurityContext| context.entries[0].psk.clone().unwrap().current;
    assert_eq!(key(&old_key).certificate, Some(certificate(1).fingerprint));
    assert_eq!(key(&new_key).certificate, Some(certificate(2).fingerprint));
    assert_eq!(
        key(&retiring_key).expires,
        until,
        "no longer than its ground"
    );
    let both_keys = negotiated(&inv, 2, Some(&old_key), &now());
    assert!(
        both_keys.entries[0]
            .psk
            .as_ref()
            .unwrap()
            .previous
            .is_some()
    );

    let inv = versioned(inv);
    let subscriptions = subscriptions();
    let retired = |context: &SecurityContext| {
        let context = versioned(context.clone());
        let around = Around {
            context: Some(&context),
            circle: everyone(),
            subscriptions: subscriptions.iter(),
        };
        let (changes, ended) = end_overlap(&inv, around, &until).unwrap();
        assert_eq!(ended, [certificate(1).fingerprint]);
        assert_eq!(told(&changes), ["AEF", "INV"]);
        let (_, revoked) = written::<RevokedCertificate>(&changes).remove(0);
        assert_eq!(
            (revoked.serial.as_str(), revoked.reason),
            ("01", RevocationReason::Superseded)
        );
        let left = written::<SecurityContext>(&changes).pop();
        left.map(|(_, context)| context.entries[0].psk.clone())
    };
    assert_eq!(retired(&old_key), Some(None));
    assert_eq!(retired(&retiring_key), Some(None));
    assert_eq!(retired(&new_key), None);
    let left = retired(&both_keys).unwrap().unwrap();
    assert_eq!((left.current, left.previous), (key(&both_keys), None));
    let mut unknown = new_key;
    for keys in unknown
        .entries
        .iter_mut()
        .filter_map(|entry| entry.psk.as_mut())
    {
        keys.current.certificate = None;
    }
    assert_eq!(retired(&unknown), Some(None), "a key of an earlier version");

    let around = Around {
        context: None,
        circle: everyone(),
        subscriptions: subscriptions.iter(),
    };
    let before = after(&until, -Duration::nanoseconds(1));
    assert_eq!(end_overlap(&inv, around, &before), None);
}

/// A certificate that is none of the invoker's makes no key.
#[test]
fn a_key_needs_a_certificate_that_counts() {
    let inv = renewing();
    assert!(negotiated(&inv, 9, None, &now()).entries[0].psk.is_none());
}

/// P-08: what an onboarding could be answered again from goes with the first use of what it handed out, and only that.
#[test]
fn first_use_of_an_onboarding_settles_it() {
    let handover = Box::new(Handover {
        request: "attempt".to_owned(),
        credential: Some(digest(0xc0)),
        public_key_text: digest(1),
        secret: Some(SealedKey::new("sealed")),
        until: None,
    });
    let mut inv = invoker("INV");
    assert_eq!(settle(&versioned(inv.clone()), &now()), None);
    inv.renewal.handover = Some(handover.clone());
    let changes = settle(&versioned(inv.clone()), &now()).unwrap();
    let (expect, settled) = written::<Invoker>(&changes).remove(0);
    assert_eq!(expect, Expect::At(REVISION));
    assert_eq!(settled, invoker("INV"));

    let mut inv = renewing();
    inv.renewal.handover = Some(handover);
    assert_eq!(settle(&versioned(inv.clone()), &now()), None);
    promote(&mut inv, OVERLAP, &now()).unwrap();
    assert_eq!(settle(&versioned(inv.clone()), &now()), None);
    let until = after(&now(), OVERLAP);
    assert!(settle(&versioned(inv), &until).is_some());
}

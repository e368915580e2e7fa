//! What an AEF is told in the midst of a renewal (R-U-05, R-U-06).

use time::Duration;

use super::*;
use crate::state::{Demand, DemandReason, Retiring, Successor};

fn later(duration: Duration) -> DateTime {
    DateTime(now().0 + duration)
}

fn told_of(inv: &Invoker, now: &DateTime) -> Result<Value, Refusal> {
    let context = context("INV", vec![entry_at("AEF2", Some(Pki))]);
    let policy = policy(&[Psk, Pki, Oauth]);
    let answer = security_information(
        &AefId::from("AEF2"),
        inv,
        &context,
        apis().iter(),
        true,
        true,
        Material {
            jwks_uri: "",
            anchors: &[],
            unseal: &unsealed,
            policy: &policy,
            renewal: &rotation_terms(),
            now,
        },
    )?;
    Ok(texts(&answer.security_info[0]).0)
}

/// R-U-05: during a renewal every certificate that counts is told, one that retires with its end.
#[test]
fn all_certificates_that_count_are_told() {
    let mut inv = invoker("INV");
    inv.renewal.successor = Some(Box::new(Successor {
        public_key_text: "key 2".into(),
        certificate: certificate(2),
        onboard_secret: None,
        secret_expires: None,
    }));
    let until = later(Duration::minutes(5));
    inv.renewal.retiring = vec![Retiring {
        certificate: certificate(3),
        onboard_secret: None,
        secret_expires: None,
        until: until.clone(),
    }];
    let of = |key: u8| certificate(key).fingerprint;
    let successor = json!({ "x5t#S256": of(2) });
    let retiring = json!({ "x5t#S256": of(3), "until": until.0.unix_timestamp() });
    let whole = json!({ "caPem": [], "x5t#S256": of(1), "also": [successor, retiring] });
    assert_eq!(told_of(&inv, &now()), Ok(whole));
    let after = json!({ "caPem": [], "x5t#S256": of(1), "also": [successor] });
    assert_eq!(told_of(&inv, &until), Ok(after));
    inv.renewal = Default::default();
    let alone = json!({ "caPem": [], "x5t#S256": of(1) });
    assert_eq!(told_of(&inv, &now()), Ok(alone));
}

/// R-U-02, R-U-05: who must renew first, or whose enrolment has ended, is unknown at the AEFs, from the very instant on.
#[test]
fn who_counts_for_nothing_is_unknown() {
    let unknown = Err(Refusal::NotFound {
        what: "security context",
    });
    let end = later(Duration::minutes(5));
    let last = DateTime(end.0 - Duration::nanoseconds(1));
    let mut inv = invoker("INV");
    inv.expires = Some(end.clone());
    assert!(told_of(&inv, &last).is_ok());
    assert_eq!(told_of(&inv, &end), unknown);

    for reason in [DemandReason::Compromise, DemandReason::Operator] {
        let mut inv = invoker("INV");
        inv.renewal.demand = Some(Box::new(Demand {
            reason,
            since: now(),
            deadline: end.clone(),
        }));
        let compromised = reason == DemandReason::Compromise;
        assert_eq!(told_of(&inv, &last).is_err(), compromised);
        assert_eq!(told_of(&inv, &end), unknown);
    }
}

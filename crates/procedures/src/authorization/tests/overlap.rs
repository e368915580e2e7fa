//! Tokens in the midst of a renewal (R-U-05, R-U-06).

use time::Duration;

use super::*;
use crate::state::{Demand, DemandReason, Retiring, Successor};

fn later(duration: Duration) -> DateTime {
    DateTime(now().0 + duration)
}

/// Key and secret 1 are in use, 2 were handed over, 3 retire in five minutes.
fn renewing() -> Invoker {
    let mut inv = invoker("INV");
    inv.renewal.successor = Some(Box::new(Successor {
        public_key_text: "key 2".into(),
        certificate: certificate(2),
        onboard_secret: Some(digest(2)),
        secret_expires: None,
    }));
    inv.renewal.retiring = vec![Retiring {
        certificate: certificate(3),
        onboard_secret: Some(digest(3)),
        secret_expires: None,
        until: later(Duration::minutes(5)),
    }];
    inv
}

fn asked(
    inv: &Invoker,
    key: u8,
    secret: u8,
    now: &DateTime,
) -> Result<AccessTokenClaims, TokenRefusal> {
    let request = TokenRequest {
        secret: Some(digest(secret)),
        certificate: certificate(key).fingerprint,
        ..request()
    };
    let bound = Policy {
        certificate_bound_tokens: true,
        ..policy(&[Psk, Pki, Oauth])
    };
    grant(
        &request,
        inv,
        Some(&both()),
        apis().iter(),
        &bound,
        terms(600),
        now,
    )
}

/// R-U-06: a token that is got with something that retires ends with its overlap, whichever of the two it is; it is bound to the
/// certificate that the connection carries.
#[test]
fn tokens_end_with_what_they_were_got_by() {
    let inv = renewing();
    let start = now().0.unix_timestamp();
    for (key, secret, seconds) in [(1, 0x5e, 600), (3, 0x5e, 300), (1, 3, 300), (3, 3, 300)] {
        let claims = asked(&inv, key, secret, &now()).unwrap();
        assert_eq!(claims.exp, start + seconds, "key {key}, secret {secret}");
        let bound_to = claims.cnf.unwrap().x5t_s256;
        assert_eq!(bound_to, certificate(key).fingerprint.to_base64url());
    }
    let mut inv = inv;
    let mut expect = |seconds: i64, change: &dyn Fn(&mut Invoker)| {
        change(&mut inv);
        let claims = asked(&inv, 1, 0x5e, &now()).unwrap();
        assert_eq!(claims.exp, start + seconds);
    };
    expect(400, &|inv| {
        inv.secret_expires = Some(later(Duration::seconds(400)))
    });
    expect(200, &|inv| {
        inv.expires = Some(later(Duration::seconds(200)))
    });
    expect(100, &|inv| {
        inv.certificate.not_after = later(Duration::seconds(100))
    });
    // Half a second too many is not told to who counts in whole ones.
    expect(99, &|inv| {
        inv.certificate.not_after = later(Duration::milliseconds(99_500))
    });
}

/// R-U-06: what is in use may be replaced the moment after. A token that was got before then is over with the overlap too, however
/// long tokens may be; who never renews has no overlap.
#[test]
fn tokens_end_with_an_overlap_that_begins_now() {
    let lasts = |inv: &Invoker| {
        let policy = policy(&[Oauth]);
        let of = (&request(), inv, Some(&both()));
        let claims = grant(
            of.0,
            of.1,
            of.2,
            apis().iter(),
            &policy,
            terms(7200),
            &now(),
        );
        claims.unwrap().exp - now().0.unix_timestamp()
    };
    let mut inv = invoker("INV");
    assert_eq!(lasts(&inv), 7200);
    inv.renewal.agreed = true;
    assert_eq!(lasts(&inv), 3600);
}

/// R-U-05, R-U-06: an expired secret, one whose overlap is over and one that is in other hands get no token, from the very instant
/// on.
#[test]
fn dead_secrets_get_nothing() {
    let inv = renewing();
    let refused = Some(TokenRefusal::InvalidClient);
    let until = later(Duration::minutes(5));
    let last = later(Duration::minutes(5) - Duration::nanoseconds(1));
    for (key, secret) in [(3, 0x5e), (1, 3)] {
        assert!(asked(&inv, key, secret, &last).is_ok());
        assert_eq!(asked(&inv, key, secret, &until).err(), refused);
    }
    let mut expiring = inv.clone();
    expiring.secret_expires = Some(until.clone());
    assert!(asked(&expiring, 1, 0x5e, &last).is_ok());
    assert_eq!(asked(&expiring, 1, 0x5e, &until).err(), refused);
    let mut leaving = inv.clone();
    leaving.expires = Some(until.clone());
    assert!(asked(&leaving, 1, 0x5e, &last).is_ok());
    assert_eq!(asked(&leaving, 1, 0x5e, &until).err(), refused);

    for reason in [DemandReason::Compromise, DemandReason::Operator] {
        let mut asked_to = inv.clone();
        asked_to.renewal.demand = Some(Box::new(Demand {
            reason,
            since: now(),
            deadline: until.clone(),
        }));
        let compromised = reason == DemandReason::Compromise;
        assert_eq!(asked(&asked_to, 1, 0x5e, &last).is_err(), compromised);
        assert_eq!(asked(&asked_to, 1, 0x5e, &until).err(), refused);
    }
}

/// What was handed over takes effect first, by a commit of its own: then it gets tokens.
#[test]
fn a_successor_takes_effect_first() {
    let mut inv = renewing();
    for (key, secret) in [(2, 2), (1, 2), (2, 0x5e)] {
        assert!(asked(&inv, key, secret, &now()).is_err());
    }
    rotation::promote(&mut inv, Duration::minutes(5), &now()).unwrap();
    for (key, secret) in [(2, 2), (1, 2), (2, 0x5e)] {
        assert!(asked(&inv, key, secret, &now()).is_ok());
    }
    assert_eq!(
        asked(&inv, 9, 2, &now()).err(),
        Some(TokenRefusal::InvalidClient),
        "a certificate of nobody"
    );
}

//! The check of credentials is a trait with several implementations (R-6.1-07): each alone, and all of them in a row.

use std::{collections::BTreeSet, sync::Arc};

use capif_ccf::{
    authority::tokens::{SigningKey, files},
    credential::{
        self, CredentialError, CredentialVerifier, Issuer, Purpose, Verdict, Verified,
        handed_over::HandedOver, issuers::Issuers,
    },
    store::{EmbeddedStore, Store},
};
use capif_procedures::{
    changes::{Changes, Expect},
    onboarding::Credential,
    refusal::Refusal,
    state::{ApiReach, Digest, RegisteredCredential},
};
use capif_spec::common::DateTime;

use crate::support::{World, reveal};

/// A verifier of another kind: a one-time code that somebody reads out over the telephone.
struct Spoken;

impl CredentialVerifier for Spoken {
    fn verify<'a>(&'a self, token: &'a str, purpose: Purpose, now: DateTime) -> Verdict<'a> {
        Box::pin(async move {
            let Some(code) = token.strip_prefix("spoken ") else {
                return Ok(None);
            };
            if code != "swordfish" || purpose != Purpose::Onboarding {
                return Err(Refusal::CredentialRefused.into());
            }
            Ok(Some(Verified {
                credential: Credential {
                    issuer: "telephone".to_owned(),
                    single_use: Digest::new([7; 32]),
                    expires: now,
                    reach: ApiReach::default(),
                    registered: None,
                    approval: false,
                },
                name: None,
                is_used: false,
                is_reusable: false,
                has_ended: false,
            }))
        })
    }
}

fn refusal(outcome: Result<Verified, CredentialError>) -> Refusal {
    match outcome.unwrap_err() {
        CredentialError::Refused(refusal) => refusal,
        CredentialError::Fault(fault) => panic!("{fault}"),
    }
}

/// R-6.1-07: the first verifier that recognises a credential decides; what none recognises is refused as a forged one is.
#[tokio::test]
async fn the_first_verifier_that_recognises_a_credential_decides() {
    let mut world = World::start().await;
    let token = world.credential(&["weather"]).await;
    let registration = world.registration_credential("acme").await;
    let now = DateTime(time::OffsetDateTime::from_unix_timestamp(world.now()).unwrap());
    world.stop().await;

    let key = std::fs::read_to_string(world.dir.path().join(files::CREDENTIAL)).unwrap();
    let id = std::fs::read_to_string(world.dir.path().join(init_file())).unwrap();
    let issuer = Issuer::new(SigningKey::from_pem(&key).unwrap(), id.trim());
    let store: Arc<dyn Store> =
        Arc::new(EmbeddedStore::open(&world.dir.path().join("store")).unwrap());
    let jwt = Issuers::new(&issuer, &[], &world.clock(), Arc::clone(&store)).unwrap();
    let mut changes = Changes::new();
    let handed_over = RegisteredCredential {
        token: digest("handed over"),
        expires: DateTime(now.0 + time::Duration::hours(1)),
        reach: ApiReach::default(),
        approval: false,
    };
    changes.put(&handed_over, Expect::Absent);
    store.commit(changes).await.unwrap();
    let by_digest = HandedOver::new(Arc::clone(&store));

    // Each alone knows its own kind and nothing else.
    let verified = jwt
        .verify(&token, Purpose::Onboarding, now.clone())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(verified.credential.issuer, issuer.name());
    assert_eq!(
        verified.credential.reach.api_names,
        Some(BTreeSet::from(["weather".to_owned()]))
    );
    assert!(
        jwt.verify("handed over", Purpose::Onboarding, now.clone())
            .await
            .unwrap()
            .is_none()
    );
    let verified = by_digest
        .verify("handed over", Purpose::Onboarding, now.clone())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(verified.credential.registered, Some(digest("handed over")));
    assert!(
        by_digest
            .verify(&token, Purpose::Onboarding, now.clone())
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        by_digest
            .verify("handed over", Purpose::Registration, now.clone())
            .await
            .unwrap()
            .is_none()
    );
    let verified = jwt
        .verify(&registration, Purpose::Registration, now.clone())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(verified.name.as_deref(), Some("acme"));
    let own = issuer
        .onboarding(Default::default(), false, 60, &now)
        .unwrap();
    assert!(
        jwt.verify(reveal(&own), Purpose::Onboarding, now.clone())
            .await
            .unwrap()
            .is_some()
    );

    // All in a row, with a third kind among them.
    let all: Vec<Box<dyn CredentialVerifier>> =
        vec![Box::new(Spoken), Box::new(by_digest), Box::new(jwt)];
    let judge = |token: String, purpose: Purpose| {
        let (all, now) = (&all, now.clone());
        async move { credential::verify(all, &token, purpose, &now).await }
    };
    for (token, issuer) in [
        ("spoken swordfish".to_owned(), "telephone"),
        ("handed over".to_owned(), "operator"),
        (token.clone(), issuer.name()),
    ] {
        let verified = judge(token, Purpose::Onboarding).await.unwrap();
        assert_eq!(verified.credential.issuer, issuer);
    }
    for (token, purpose) in [
        ("spoken password".to_owned(), Purpose::Onboarding),
        ("spoken swordfish".to_owned(), Purpose::Registration),
        ("nobody knows".to_owned(), Purpose::Onboarding),
        ("handed over".to_owned(), Purpose::Registration),
        (token, Purpose::Registration),
        ("x".repeat(9000), Purpose::Onboarding),
        (String::new(), Purpose::Onboarding),
    ] {
        assert_eq!(
            refusal(judge(token, purpose).await),
            Refusal::CredentialRefused
        );
    }
}

fn init_file() -> &'static str {
    capif_ccf::init::ID_FILE
}

fn digest(text: &str) -> Digest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    Digest::new(digest.as_ref().try_into().unwrap())
}

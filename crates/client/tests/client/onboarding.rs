//! Onboarding (TS 33.122 clause 6.1).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use capif_client::{Enrolment, Error, ErrorKind, Invoker, Keystore, OnboardingRequest};
use capif_spec::common::{Redacted, Uri};
use rcgen::{CertificateSigningRequestParams, PublicKeyData};
use serde_json::{Value, json};
use time::macros::datetime;

use crate::world::{Authority, CREDENTIAL, INVOKER, Peer, SECRET, World, answer, problem, usual};

const ONBOARDING: &str = "/api-invoker-management/v1/onboardedInvokers";

#[tokio::test]
async fn enrols_with_a_credential_and_ends_with_a_certificate() {
    let world = World::new().await;
    let enrolment = Enrolment::from_code(&world.code(), world.clock())
        .await
        .unwrap();
    let request = OnboardingRequest {
        apis: vec!["weather".to_owned()],
        information: Some("a test".to_owned()),
        ..OnboardingRequest::default()
    };
    let invoker = Invoker::onboard(world.keystore(), &enrolment, request, world.clock())
        .await
        .unwrap();
    assert_eq!(invoker.id().as_str(), INVOKER);
    assert_eq!(
        invoker.details().onboarding_information.onboarding_secret,
        None
    );

    let seen = &world.ccf.seen()[0];
    assert_eq!(world.ccf.count("POST", ONBOARDING), 1);
    // The server alone proves itself by certificate; the credential stands for the invoker.
    assert_eq!(seen.peer, None);
    assert_eq!(
        seen.header("authorization"),
        Some(&*format!("Bearer {CREDENTIAL}"))
    );
    let sent = seen.json();
    assert_eq!(sent.get("apiInvokerId"), None);
    assert_eq!(sent["apiInvokerInformation"], "a test");
    assert_eq!(
        sent["apiList"],
        json!({ "serviceAPIDescriptions": [{ "apiName": "weather" }] })
    );
    let request = sent["onboardingInformation"]["apiInvokerPublicKey"]
        .as_str()
        .unwrap();
    let request = CertificateSigningRequestParams::from_pem(request).unwrap();
    let pem = std::fs::read_to_string(world.folder().join("capif-invoker.key")).unwrap();
    let key = rcgen::KeyPair::from_pem(&pem).unwrap();
    assert_eq!(request.public_key.der_bytes(), key.der_bytes());

    // From here on mutual TLS.
    let found = invoker.discover(&Default::default()).await.unwrap();
    assert_eq!(found[0].api_name, "weather");
    assert_eq!(world.ccf.seen()[1].peer.as_deref(), Some(INVOKER));
    assert_eq!(world.ccf.seen()[1].header("authorization"), None);
}

#[tokio::test]
async fn a_client_that_cannot_be_called_gives_a_destination_that_never_exists() {
    let world = World::new().await;
    world.onboarded().await;
    let sent = world.ccf.seen()[0].json();
    assert_eq!(
        sent["notificationDestination"],
        "https://api-invoker.invalid/"
    );
    assert_eq!(sent.get("apiList"), None);
    // Changes of single members, and an end of the enrolment.
    assert_eq!(sent["supportedFeatures"], "C");
    assert_eq!(sent.get("expTime"), None);
}

#[tokio::test]
async fn the_private_key_is_in_its_file_and_nowhere_else() {
    let world = World::new().await;
    world.onboarded().await;
    let files = world.files();
    let pem = &files
        .iter()
        .find(|(name, _)| name == "capif-invoker.key")
        .unwrap()
        .1;
    let line = pem.lines().nth(1).unwrap();
    let holders: Vec<_> = files
        .iter()
        .filter(|(_, text)| text.contains(line))
        .collect();
    assert_eq!(holders.len(), 1);
    for seen in world.ccf.seen() {
        assert!(!String::from_utf8_lossy(&seen.body).contains(line));
        assert!(!String::from_utf8_lossy(&seen.body).contains("PRIVATE KEY"));
    }
    // The credential has served and is kept nowhere.
    assert!(files.iter().all(|(_, text)| !text.contains(CREDENTIAL)));
}

#[tokio::test]
async fn an_enrolment_is_opened_again_without_the_credential() {
    let world = World::new().await;
    world.onboarded().await;
    let again = world.onboarded().await;
    assert_eq!(again.id().as_str(), INVOKER);
    assert_eq!(world.ccf.count("POST", ONBOARDING), 1);
    let opened = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
    assert_eq!(opened.id().as_str(), INVOKER);
    let found = opened.discover(&Default::default()).await.unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_word_for_word() {
    let world = World::new().await;
    let lost = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&lost);
    world.unusual(move |seen| {
        (seen.path == ONBOARDING && counter.fetch_add(1, Ordering::SeqCst) < 2)
            .then_some(crate::world::Reply::Hang)
    });
    for _ in 0..2 {
        let error = world.try_onboard().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{error}");
        let error = Invoker::open(world.keystore(), world.clock())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("same code"), "{error}");
    }
    world.onboarded().await;
    let bodies: Vec<Value> = world.ccf.seen().iter().map(|seen| seen.json()).collect();
    assert_eq!(bodies.len(), 3);
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0], bodies[2]);
}

#[tokio::test]
async fn what_is_pending_for_another_address_is_not_repeated_there() {
    let world = World::new().await;
    world.unusual(|_| Some(crate::world::Reply::Hang));
    world.try_onboard().await.unwrap_err();
    let facts = Arc::clone(&world.facts);
    let other = Peer::new(
        world.authority.server("ccf-2"),
        world.authority.anchors(),
        world.clock(),
        move |seen| usual(&facts, seen),
    )
    .await;
    let enrolment = Enrolment::from_parts(
        &*other.address,
        world.authority.pem(),
        Redacted::from(CREDENTIAL),
    )
    .unwrap();
    let request = OnboardingRequest::default();
    Invoker::onboard(world.keystore(), &enrolment, request, world.clock())
        .await
        .unwrap();
    let key = |seen: &crate::world::Seen| {
        seen.json()["onboardingInformation"]["apiInvokerPublicKey"].clone()
    };
    assert_ne!(key(&world.ccf.seen()[0]), key(&other.seen()[0]));

    // And the folder now belongs to the other one.
    world.as_usual();
    let error = world.try_onboard().await.unwrap_err();
    assert!(matches!(error, Error::EnrolledElsewhere { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let world = World::new().await;
    for (status, kind, advice) in [
        (400, ErrorKind::Refused, "check what was asked for"),
        (401, ErrorKind::Authentication, "new enrolment code"),
        (403, ErrorKind::Refused, "new enrolment code"),
        (404, ErrorKind::NotFound, "check what was asked for"),
        (409, ErrorKind::Conflict, "check what was asked for"),
        (429, ErrorKind::Refused, "try again later"),
        (500, ErrorKind::Refused, "the fault is on its side"),
        (503, ErrorKind::Refused, "try again later"),
        (504, ErrorKind::TimedOut, "the fault is on its side"),
        (302, ErrorKind::Refused, "not followed"),
    ] {
        world.unusual(move |_| {
            let reply = problem(status, "evil \u{1b}[31m\u{202e}text\r\nsecond line");
            Some(reply.with("location", "https://127.0.0.1:1/steal"))
        });
        let error = world.try_onboard().await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        assert!(text.contains(advice), "{text}");
        assert!(
            !text.contains(|character: char| character.is_control()),
            "{text:?}"
        );
        assert!(
            !text.contains('\u{202e}') && !text.contains(CREDENTIAL),
            "{text:?}"
        );
        assert!(!format!("{error:?}").contains(CREDENTIAL));
        assert_eq!(error.problem().unwrap().status, Some(status));
    }
    // None of it stood in the way.
    world.as_usual();
    world.onboarded().await;
}

#[tokio::test]
async fn waiting_for_approval_is_no_failure_for_good() {
    let world = World::new().await;
    world.unusual(|_| Some(answer(202, &Value::Null)));
    let error = world.try_onboard().await.unwrap_err();
    assert!(matches!(error, Error::ApprovalPending { .. }), "{error}");
    world.as_usual();
    world.onboarded().await;
    let seen = world.ccf.seen();
    assert_eq!(seen[0].json(), seen[1].json());
}

#[tokio::test]
async fn a_wrong_certificate_is_not_kept() {
    let world = World::new().await;
    type Forge = fn(&Authority, &str) -> String;
    let cases: [(&str, Forge); 5] = [
        ("not for the public key", |authority, _| {
            authority.stranger(INVOKER)
        }),
        ("common name", |authority, request| {
            authority.sign(request, "invoker-2", "API_INVOKER")
        }),
        ("not for the public key", |_, _| "no certificate".to_owned()),
        ("not for the public key", |_, _| String::new()),
        ("not for the public key", |_, _| {
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()
        }),
    ];
    for (reason, certificate) in cases {
        let facts = Arc::clone(&world.facts);
        let authority = Arc::clone(&world.authority);
        world.unusual(move |seen| {
            let crate::world::Reply::Answer(_) = usual(&facts, seen) else {
                return None;
            };
            let mut details = seen.json();
            let information = &mut details["onboardingInformation"];
            let request = information["apiInvokerPublicKey"]
                .as_str()
                .unwrap()
                .to_owned();
            information["apiInvokerCertificate"] = json!(certificate(&authority, &request));
            details["apiInvokerId"] = json!(INVOKER);
            Some(answer(201, &details))
        });
        let error = world.try_onboard().await.unwrap_err();
        assert!(matches!(error, Error::WrongCertificate { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert!(error.to_string().contains(reason), "{error}");
        assert!(
            Invoker::open(world.keystore(), world.clock())
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn an_expired_certificate_is_not_kept() {
    let world = World::new().await;
    let facts = Arc::clone(&world.facts);
    let clock = Arc::clone(&world.clock);
    world.unusual(move |seen| {
        // The answer was a long time on its way.
        clock.set(datetime!(2029-01-01 0:00 UTC));
        Some(usual(&facts, seen))
    });
    let error = world.try_onboard().await.unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
async fn unusable_answers_are_refused() {
    let world = World::new().await;
    let good = json!({
        "apiInvokerId": INVOKER,
        "onboardingInformation": { "apiInvokerPublicKey": "k", "apiInvokerCertificate": "c" },
        "notificationDestination": "https://api-invoker.invalid/",
    });
    let mut without_id = good.clone();
    without_id.as_object_mut().unwrap().remove("apiInvokerId");
    let mut strange_id = good.clone();
    strange_id["apiInvokerId"] = json!("../../etc/passwd");
    let mut without_certificate = good.clone();
    without_certificate["onboardingInformation"] = json!({ "apiInvokerPublicKey": "k" });
    let bodies = [
        without_id.to_string(),
        strange_id.to_string(),
        without_certificate.to_string(),
        "{}".to_owned(),
        "null".to_owned(),
        "secret-canary".to_owned(),
        good.to_string()
            .replacen('{', "{\"apiInvokerId\":\"secret-canary\",", 1),
        "[".repeat(5000),
        format!("\"{}\"", "a".repeat(2 << 20)),
    ];
    for body in bodies {
        let start: String = body.chars().take(60).collect();
        world.unusual(move |_| {
            let mut response = http::Response::new(capif_transport::full(body.clone()));
            *response.status_mut() = http::StatusCode::CREATED;
            Some(crate::world::Reply::Answer(response))
        });
        let error = world.try_onboard().await.unwrap_err();
        assert!(matches!(error, Error::BadAnswer { .. }), "{start}: {error}");
        assert!(!error.to_string().contains("secret-canary"), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_whoever_does_not_prove_to_be_the_one() {
    let world = World::new().await;
    let impostor = Authority::new("CAPIF root");
    let peer = Peer::new(
        impostor.server("ccf"),
        impostor.anchors(),
        world.clock(),
        |_| answer(200, &Value::Null),
    )
    .await;
    // By fingerprint.
    let mut code = world.code();
    code.address = peer.address.clone();
    let error = Enrolment::from_code(&code, world.clock())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
    assert!(error.to_string().contains("do not trust"), "{error}");
    // By root certificate.
    let enrolment = Enrolment::from_parts(
        &*peer.address,
        world.authority.pem(),
        Redacted::from(CREDENTIAL),
    )
    .unwrap();
    let error = Invoker::onboard(
        world.keystore(),
        &enrolment,
        OnboardingRequest::default(),
        world.clock(),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
    assert!(error.to_string().contains("do not trust"), "{error}");
    assert!(peer.seen().is_empty());
}

#[tokio::test]
async fn a_peer_that_refuses_the_certificate_is_told_apart_from_an_impostor() {
    let world = World::new().await;
    let facts = Arc::clone(&world.facts);
    // The right core function, but it believes in another authority for its clients.
    let peer = Peer::new(
        world.authority.server("ccf"),
        Authority::new("another root").anchors(),
        world.clock(),
        move |seen| usual(&facts, seen),
    )
    .await;
    let enrolment = Enrolment::from_parts(
        &*peer.address,
        world.authority.pem(),
        Redacted::from(CREDENTIAL),
    )
    .unwrap();
    let request = OnboardingRequest::default();
    let invoker = Invoker::onboard(world.keystore(), &enrolment, request, world.clock())
        .await
        .unwrap();
    let error = invoker.discover(&Default::default()).await.unwrap_err();
    assert!(
        matches!(error, Error::CertificateRefused { .. }),
        "{error:?}"
    );
    // That is no answer, so nothing is erased.
    invoker.offboard().await.unwrap_err();
    Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_told_apart() {
    let world = World::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let mut code = world.code();
    code.address = address;
    let error = Enrolment::from_code(&code, world.clock())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    assert!(error.to_string().contains("cannot reach"), "{error}");
}

#[tokio::test]
async fn two_at_once_enrol_once() {
    let world = World::new().await;
    let (one, other) = tokio::join!(world.try_onboard(), world.try_onboard());
    assert_eq!(one.unwrap().id(), other.unwrap().id());
    assert_eq!(world.ccf.count("POST", ONBOARDING), 1);
}

#[tokio::test]
async fn an_empty_folder_says_how_to_begin() {
    let world = World::new().await;
    let error = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("enrolment code"), "{error}");
}

#[tokio::test]
async fn a_damaged_enrolment_is_not_silently_replaced() {
    let world = World::new().await;
    world.onboarded().await;
    std::fs::write(world.folder().join("capif-invoker.json"), "{").unwrap();
    let error = world.try_onboard().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert_eq!(world.ccf.count("POST", ONBOARDING), 1);

    let folder = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(folder.path()).unwrap();
    let request = OnboardingRequest {
        notification_destination: Uri::from("https://invoker.example/capif"),
        ..OnboardingRequest::default()
    };
    Invoker::onboard(keystore, &world.enrolment(), request, world.clock())
        .await
        .unwrap();
    std::fs::remove_file(folder.path().join("capif-invoker.key")).unwrap();
    let keystore = Keystore::open(folder.path()).unwrap();
    let error = Invoker::open(keystore, world.clock()).await.unwrap_err();
    assert!(
        error.to_string().contains("private key is missing"),
        "{error}"
    );
}

#[tokio::test]
async fn no_secret_shows_in_debug_form() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    let text = format!(
        "{invoker:?} {:?} {:?}",
        invoker.details(),
        world.enrolment()
    );
    assert!(
        !text.contains(SECRET) && !text.contains(CREDENTIAL),
        "{text}"
    );
}

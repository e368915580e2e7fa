//! Renewal as an API invoker begins it, by raw requests: one test for each row of the register (R-U-01 to R-U-08), and the answer
//! to an onboarding that was lost (P-08). Time is the test's.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use time::Duration;

use super::renewable::{
    VENDOR, ask, renewable, renewable_with, renewal, renewed, resource, status,
};
use crate::support::{
    World, eventually, keys,
    people::{Domain, RawInvoker, enrolment},
    raw::Raw,
    receiver::Receiver,
    wire::Answer,
};

const OVERLAP: Duration = Duration::minutes(60);
const TICK: Duration = Duration::nanoseconds(1);

/// A provider with an API by Method 3, and an invoker that negotiated it.
async fn scene(world: &World) -> (Domain, RawInvoker) {
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH", "PSK", "PKI"]).await;
    let amy = renewable(world).await;
    let answer = amy.negotiate(&domain.aef.id, &["OAUTH"]).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    (domain, amy)
}

fn vendor(answer: &Answer) -> Value {
    answer.json()["onboardingInformation"][VENDOR].clone()
}

/// What an invoker gets with a certificate and a secret, on a connection of its own.
async fn token(world: &World, certificate: &RawInvoker, secret: &RawInvoker) -> Answer {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", certificate.id.as_str()),
        ("client_secret", secret.secret.as_deref().unwrap()),
    ];
    let caller = world.with_certificate(&certificate.pems);
    caller.form(&certificate.token_path(), &form).await
}

async fn token_status(world: &World, certificate: &RawInvoker, secret: &RawInvoker) -> StatusCode {
    token(world, certificate, secret).await.status
}

fn patch_of(request: &str, name: &str) -> Value {
    json!({ "onboardingInformation": {
        "apiInvokerPublicKey": request,
        VENDOR: { "renewal": name },
    } })
}

/// R-U-01: an invoker gets a new certificate, a new secret and a new end without offboarding; id, subscriptions, context and
/// enrolment go on, and so do its calls.
#[tokio::test]
async fn r_u_01_an_invoker_renews_without_offboarding() {
    let world = World::start().await;
    let (domain, amy) = scene(&world).await;
    let subscription = json!({
        "events": ["SERVICE_API_AVAILABLE"],
        "notificationDestination": "https://127.0.0.1:1/events",
    });
    let path = format!("/capif-events/v1/{}/subscriptions", amy.id);
    assert_eq!(
        amy.post(&path, &subscription).await.status,
        StatusCode::CREATED
    );
    let before = world.list("invokers").await;

    // A new key by PATCH, the same key by PUT and by name; with each a new end.
    let key = keys::p256();
    let mut body = patch_of(&keys::request(&key), "one");
    let end = capif_spec::common::DateTime(
        time::OffsetDateTime::from_unix_timestamp(world.now() + 200 * 86_400).unwrap(),
    );
    body["expTime"] = json!(end);
    let answer = amy.patch(&resource(&amy), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert_eq!(answer.json()["expTime"], json!(end));
    assert_eq!(answer.json()["apiInvokerId"], amy.id.as_str());
    let terms = vendor(&answer);
    assert_eq!(
        (&terms["renewal"], &terms["overlapSeconds"]),
        (&json!("one"), &json!(3600))
    );
    assert!(terms["certificateExpires"].is_string() && terms["secretExpires"].is_string());
    let once = world.invoker_of(&answer, &key);
    assert_ne!(
        (&once.secret, &once.pems.chain),
        (&amy.secret, &amy.pems.chain)
    );
    assert_eq!(token_status(&world, &amy, &amy).await, StatusCode::OK);
    assert_eq!(token_status(&world, &once, &once).await, StatusCode::OK);

    let mut whole = once.details.clone();
    whole["onboardingInformation"] = json!({
        "apiInvokerPublicKey": once.details["onboardingInformation"]["apiInvokerPublicKey"],
        VENDOR: { "renewal": "two" },
    });
    let answer = once.put(&resource(&amy), &whole).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let twice = world.invoker_of(&answer, &key);
    assert_ne!(
        (&twice.secret, &twice.pems.chain),
        (&once.secret, &once.pems.chain)
    );
    assert_eq!(token_status(&world, &twice, &twice).await, StatusCode::OK);

    // As deployed clients send it: the same key without a name leaves the certificate in use as it is.
    whole["onboardingInformation"] = json!({
        "apiInvokerPublicKey": once.details["onboardingInformation"]["apiInvokerPublicKey"],
    });
    world.clock.advance(OVERLAP);
    let answer = twice.put(&resource(&amy), &whole).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let information = &answer.json()["onboardingInformation"];
    assert_eq!(
        information["apiInvokerCertificate"],
        twice.pems.chain.as_str()
    );
    assert_eq!(information["onboardingSecret"], Value::Null);

    let after = world.list("invokers").await;
    assert_eq!(after.len(), 1);
    assert_eq!(after[0]["apiInvokerId"], before[0]["apiInvokerId"]);
    assert_eq!(after[0]["onboarded"], before[0]["onboarded"]);
    let answer = twice
        .post(
            &format!("{}/update", amy.context()),
            &crate::support::people::wishes(&[(&domain.aef.id, &["OAUTH"])]),
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK, "the context is still there");
    let rows = world.list("events").await;
    assert!(
        rows.iter().any(|row| row["subscriber"] == amy.id.as_str()),
        "{rows:?}"
    );
}

/// R-U-02: the core function says when to renew: after two thirds of the life, or at once when it asks.
#[tokio::test]
async fn r_u_02_the_core_function_says_when() {
    let world = World::with(|config| config.certificates.invoker_days = 90).await;
    let (_, amy) = scene(&world).await;
    let told = status(&amy).await;
    let time = |name: &str| -> time::OffsetDateTime {
        let text = told[name].as_str().unwrap();
        text.parse::<capif_spec::common::DateTime>().unwrap().0
    };
    let now = time::OffsetDateTime::from_unix_timestamp(world.now()).unwrap();
    let due = time("renewAfter") - now;
    assert!(
        (due - Duration::days(60)).abs() < Duration::seconds(2),
        "{due}"
    );
    assert!(time("secretExpires") > time("renewAfter"));
    assert_eq!(told.get("enrolmentExpires"), None);
    assert_eq!(told["trust"]["anchors"], json!([world.root_pem()]));
    assert_eq!(told["trust"]["distrusted"], json!([]));

    let (code, _) = ask(&world, json!({ "all": true, "withinSeconds": 600 })).await;
    assert_eq!(code, StatusCode::OK);
    let told = status(&amy).await;
    assert_eq!(told["demand"]["reason"], "OPERATOR");
    let next = renewed(&world, &amy, "asked").await;
    assert!(
        status(&amy).await["demand"].is_object(),
        "asked until the new is used"
    );
    assert_eq!(status(&next).await.get("demand"), None);

    // Nobody learns of anybody else, and who is nobody learns nothing.
    let bob = renewable(&world).await;
    let path = format!("/capif-renewal/v1/{}", amy.id);
    assert_eq!(bob.get(&path).await.status, StatusCode::FORBIDDEN);
    let nobody = world.anonymous().json(Method::GET, &path, None).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
}

/// R-U-03: renewal goes over mutual TLS by a certificate of the very invoker alone, and what is told of it holds nothing secret.
#[tokio::test]
async fn r_u_03_only_over_mutual_tls_and_never_in_an_event() {
    let mut world = World::start().await;
    let receiver = Receiver::start(&world);
    world.allow(&[&receiver]).await;
    let (domain, amy) = scene(&world).await;
    let bob = renewable(&world).await;
    for party in [&domain.aef, &amy.party] {
        let body = json!({
            "events": ["API_INVOKER_UPDATED"],
            "notificationDestination": receiver.url("/events"),
            "supportedFeatures": "4",
        });
        let path = format!("/capif-events/v1/{}/subscriptions", party.id);
        assert_eq!(party.post(&path, &body).await.status, StatusCode::CREATED);
    }
    let body = patch_of(&keys::request(&keys::p256()), "stolen");
    let credential = world.credential(&[]).await;
    let path = resource(&amy);
    let nobody = world.anonymous();
    let refused = [
        (
            nobody.json(Method::PATCH, &path, Some(&body)).await,
            StatusCode::UNAUTHORIZED,
        ),
        (
            nobody
                .bearer(Method::PATCH, &path, &credential, Some(&body))
                .await,
            StatusCode::UNAUTHORIZED,
        ),
        (bob.patch(&path, &body).await, StatusCode::FORBIDDEN),
        (domain.aef.patch(&path, &body).await, StatusCode::FORBIDDEN),
        (domain.amf.patch(&path, &body).await, StatusCode::FORBIDDEN),
    ];
    for (answer, expected) in refused {
        assert_eq!(answer.status, expected, "{}", answer.json());
    }

    let next = renewed(&world, &amy, "own").await;
    assert_eq!(token_status(&world, &next, &next).await, StatusCode::OK);
    world.clock.advance(OVERLAP);
    // Handed over, taken into use, the old one gone: to the AEF and to the invoker.
    let notices = receiver.acknowledged(6).await;
    let secret = next.secret.clone().unwrap();
    for notice in &notices {
        assert_eq!(notice["events"], "API_INVOKER_UPDATED");
        assert_eq!(notice["eventDetail"], json!({ "apiInvokerIds": [amy.id] }));
        let text = notice.to_string();
        assert!(!text.contains(&secret) && !text.contains("BEGIN"), "{text}");
    }
    assert!(
        !world.store_holds(secret.as_bytes()),
        "not in the clear at rest either"
    );
}

/// R-U-04: a new key comes with a proof of possession, or not at all.
#[tokio::test]
async fn r_u_04_a_new_key_is_proved() {
    let world = World::start().await;
    let (_, amy) = scene(&world).await;
    let (own, other) = (keys::p256(), keys::p256());
    let mut forged = keys::der(&keys::request(&other));
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    let before = world.list("expiring").await;
    let bad = [
        keys::public_pem(&other),
        keys::pem(&forged, "CERTIFICATE REQUEST"),
        keys::request(&keys::ed25519()),
        other.serialize_pem(),
        "no key".to_owned(),
        String::new(),
    ];
    for request in bad {
        let answer = amy.patch(&resource(&amy), &patch_of(&request, "r")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{request}");
        assert_eq!(answer.cause(), "MANDATORY_IE_INCORRECT");
    }
    assert_eq!(world.list("expiring").await, before);
    assert_eq!(token_status(&world, &amy, &amy).await, StatusCode::OK);
    let good = amy
        .patch(&resource(&amy), &patch_of(&keys::request(&own), "r"))
        .await;
    assert_eq!(good.status, StatusCode::OK);
}

/// R-U-05: old and new work side by side from the first use of the new until the overlap is over, to the instant; nobody's but the
/// own count.
#[tokio::test]
async fn r_u_05_old_and_new_overlap() {
    let mut world = World::start().await;
    let (_, amy) = scene(&world).await;
    let bob = renewable(&world).await;
    let next = renewed(&world, &amy, "one").await;
    // As long as the new is not used there is no end to the old but its own.
    world.clock.advance(Duration::days(20));
    assert_eq!(token_status(&world, &amy, &amy).await, StatusCode::OK);
    // A crash does not matter.
    world.stop().await;
    world.resume().await;
    assert_eq!(token_status(&world, &amy, &amy).await, StatusCode::OK);

    // The secret is enough of a use. Several at once do it once.
    let tries = (0..8).map(|_| token(&world, &amy, &next));
    for answer in futures_util::future::join_all(tries).await {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    }
    for (certificate, secret) in [(&amy, &amy), (&amy, &next), (&next, &amy), (&next, &next)] {
        assert_eq!(
            token_status(&world, certificate, secret).await,
            StatusCode::OK
        );
    }
    assert_eq!(
        token_status(&world, &bob, &next).await,
        StatusCode::UNAUTHORIZED
    );
    let activations: Vec<Value> = audit(&world).await;
    let activations = activations
        .iter()
        .filter(|act| act["operation"] == "activate-renewal");
    assert_eq!(activations.count(), 1);

    world.clock.advance(OVERLAP - TICK);
    for (certificate, secret) in [(&amy, &amy), (&amy, &next), (&next, &amy)] {
        let answer = token(&world, certificate, secret).await;
        assert_eq!(answer.status, StatusCode::OK, "to the last instant");
        assert_eq!(
            answer.json()["expires_in"],
            0,
            "and no longer by a token either"
        );
    }
    world.clock.advance(TICK);
    assert_eq!(
        token_status(&world, &amy, &next).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        token_status(&world, &next, &amy).await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(token_status(&world, &next, &next).await, StatusCode::OK);
}

/// R-U-06: with the overlap all ends that hung on the old: certificate, secret, connections, tokens, keys.
#[tokio::test]
async fn r_u_06_the_end_of_the_overlap_takes_all_that_is_bound() {
    let world = World::start().await;
    let (domain, amy) = scene(&world).await;
    amy.psk(&world, &domain.aef.id, "127.0.0.1:8443").await;
    let context = format!("{}?authenticationInfo=true", amy.context());
    let has_key = async || {
        let answer = domain.aef.get(&context).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        answer.json()["securityInfo"][0]["authenticationInfo"].is_string()
    };
    assert!(has_key().await);
    let mut kept = Raw::connect(world.ccf().local_addr(), &world.root_pem(), Some(&amy.pems)).await;
    let jwks = "GET /.well-known/jwks.json HTTP/1.1\r\nhost: ccf\r\n\r\n";
    kept.send(jwks).await;
    assert!(kept.answer().await.starts_with("HTTP/1.1 200 "));

    let next = renewed(&world, &amy, "one").await;
    assert_eq!(status(&next).await.get("demand"), None);
    world.clock.advance(OVERLAP - Duration::seconds(100));
    assert!(has_key().await);
    world.clock.advance(Duration::seconds(100));
    let refused = world.with_certificate(&amy.pems);
    let answer = refused
        .json(Method::GET, &format!("/capif-renewal/v1/{}", amy.id), None)
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let dead = token(&world, &next, &amy).await;
    assert_eq!(dead.status, StatusCode::UNAUTHORIZED);
    assert_eq!(dead.json()["error"], "invalid_client");
    eventually("the key goes with the certificate", || async {
        !has_key().await
    })
    .await;
    let rest = kept.read_to_end().await;
    assert!(rest.is_empty(), "its connections are closed");
}

/// R-U-07: a lost answer can be asked for again, by the old certificate and by the new, until the overlap is over, and it is the
/// same; the name is for that key alone.
#[tokio::test]
async fn r_u_07_a_lost_answer_is_given_again() {
    let mut world = World::start().await;
    let (_, amy) = scene(&world).await;
    let key = keys::p256();
    let request = keys::request(&key);
    let body = patch_of(&request, "lost");
    // The answer is never read: the connection is gone once the request is out.
    let mut raw = Raw::connect(world.ccf().local_addr(), &world.root_pem(), Some(&amy.pems)).await;
    let text = body.to_string();
    raw.send(format!(
        "PATCH {} HTTP/1.1\r\nhost: ccf\r\ncontent-type: application/merge-patch+json\r\ncontent-length: {}\r\n\r\n{text}",
        resource(&amy),
        text.len(),
    ))
    .await;
    eventually("the renewal is carried out", || async {
        audit(&world)
            .await
            .iter()
            .any(|act| act["operation"] == "ModifyIndOnboardedAPIInvoker")
    })
    .await;
    drop(raw);
    world.stop().await;
    world.resume().await;

    let first = amy.patch(&resource(&amy), &body).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.json());
    let target = resource(&amy);
    let tries = (0..8).map(|_| amy.patch(&target, &body));
    for again in futures_util::future::join_all(tries).await {
        assert_eq!(again.json(), first.json());
    }
    let next = world.invoker_of(&first, &key);
    let mut by_the_new = next.patch(&resource(&amy), &body).await;
    assert_eq!(by_the_new.json(), first.json());
    world.clock.advance(OVERLAP - TICK);
    by_the_new = next.patch(&resource(&amy), &body).await;
    assert_eq!(by_the_new.json(), first.json());

    let another = amy
        .patch(
            &resource(&amy),
            &patch_of(&keys::request(&keys::p256()), "lost"),
        )
        .await;
    assert_eq!(another.status, StatusCode::CONFLICT, "{}", another.json());
    another.cause();
    assert_eq!(token_status(&world, &next, &next).await, StatusCode::OK);
    world.clock.advance(TICK);
    let anew = next.patch(&resource(&amy), &body).await;
    assert_ne!(
        anew.json()["onboardingInformation"],
        first.json()["onboardingInformation"]
    );
}

/// R-U-08: every update has its record in the trail and is published, and neither says anything secret.
#[tokio::test]
async fn r_u_08_updates_are_recorded_and_published() {
    let world = World::start().await;
    let (domain, amy) = scene(&world).await;
    let receiver = Receiver::start(&world);
    let body = json!({
        "events": ["API_INVOKER_UPDATED"],
        "notificationDestination": receiver.url("/events"),
        "supportedFeatures": "4",
    });
    let path = format!("/capif-events/v1/{}/subscriptions", domain.aef.id);
    assert_eq!(
        domain.aef.post(&path, &body).await.status,
        StatusCode::CREATED
    );

    let next = renewed(&world, &amy, "one").await;
    receiver.acknowledged(1).await;
    assert_eq!(token_status(&world, &next, &next).await, StatusCode::OK);
    receiver.acknowledged(2).await;
    world.clock.advance(OVERLAP);
    receiver.acknowledged(3).await;
    let information = json!({ "apiInvokerInformation": "other" });
    assert_eq!(
        next.patch(&resource(&amy), &information).await.status,
        StatusCode::OK
    );
    receiver.acknowledged(4).await;
    let same = next.patch(&resource(&amy), &information).await;
    assert_eq!(same.status, StatusCode::OK);

    let acts: Vec<Value> = audit(&world).await;
    let of_amy = |act: &&Value| act["subject"] == amy.id.as_str();
    let named = |name: &str| {
        let acts = acts.iter().filter(of_amy);
        acts.filter(|act| act["operation"] == name).count()
    };
    assert_eq!(named("ModifyIndOnboardedAPIInvoker"), 2, "{acts:?}");
    assert_eq!(named("activate-renewal"), 1);
    let text = json!(acts).to_string();
    assert!(!text.contains(next.secret.as_deref().unwrap()));
    assert!(!text.contains("BEGIN"));
}

async fn audit(world: &World) -> Vec<Value> {
    let (code, page) = world.operator(Method::GET, "/audit?after=0", None).await;
    assert_eq!(code, StatusCode::OK);
    let rows = page["records"].as_array().or(page.as_array());
    let rows = rows.unwrap_or_else(|| panic!("no records: {page}"));
    rows.iter()
        .map(|row| row.get("record").unwrap_or(row).clone())
        .collect()
}

/// P-08, R-6.1: who lost the answer to its onboarding asks again with the same credential, name and key, until its certificate was
/// used; both kinds of credential serve.
#[tokio::test]
async fn p_08_a_lost_answer_to_an_onboarding_is_given_again() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH"]).await;
    let handed_over = "a credential that the provider handed over";
    let expires = time::OffsetDateTime::from_unix_timestamp(world.now() + 3600).unwrap();
    let path = format!("/capif-onboarding-credentials/v1/{}/credentials", domain.id);
    let body = json!({
        "token": handed_over,
        "expires": capif_spec::common::DateTime(expires).to_string(),
    });
    let answer = domain.amf.post(&path, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());

    for credential in [world.credential(&[]).await, handed_over.replace(' ', "-")] {
        let credential = if credential.starts_with("a-") {
            // As a header takes it.
            let body = json!({
                "token": credential,
                "expires": capif_spec::common::DateTime(expires).to_string(),
            });
            assert_eq!(
                domain.amf.post(&path, &body).await.status,
                StatusCode::CREATED
            );
            credential
        } else {
            credential
        };
        let key = keys::p256();
        let mut body = enrolment(&keys::request(&key));
        body[VENDOR] = json!({ "attempt": "a-1", "features": ["renewal"] });
        let first = world.onboard(&credential, &body).await;
        assert_eq!(first.status, StatusCode::CREATED, "{}", first.json());
        let tries = (0..4).map(|_| world.onboard(&credential, &body));
        for again in futures_util::future::join_all(tries).await {
            assert_eq!(again.status, StatusCode::CREATED, "{}", again.json());
            assert_eq!(again.json(), first.json());
            assert_eq!(again.headers["location"], first.headers["location"]);
        }
        let mut unnamed = body.clone();
        unnamed[VENDOR] = json!({ "features": ["renewal"] });
        let mut other_name = body.clone();
        other_name[VENDOR]["attempt"] = json!("a-2");
        let mut other_key = body.clone();
        other_key["onboardingInformation"]["apiInvokerPublicKey"] =
            json!(keys::request(&keys::p256()));
        for wrong in [unnamed, other_name, other_key, json!({}), json!([])] {
            let refused = world.onboard(&credential, &wrong).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{wrong}");
        }
        let invoker = world.invoker_of(&first, &key);
        assert_eq!(status(&invoker).await.get("demand"), None);
        let late = world.onboard(&credential, &body).await;
        assert_eq!(
            late.status,
            StatusCode::UNAUTHORIZED,
            "the certificate was used"
        );
    }
    assert_eq!(world.list("invokers").await.len(), 2);
}

/// D-21: without the feature the rule of Rel-17 holds, and the secret has no end.
#[tokio::test]
async fn without_the_feature_nothing_changes() {
    let world = World::start().await;
    let amy = renewable_with(&world, |body| {
        body[VENDOR] = json!({ "features": ["renewal"] });
    })
    .await;
    assert!(amy.details["onboardingInformation"][VENDOR]["secretExpires"].is_string());
    let bob = world.raw_invoker(&[]).await;
    assert_eq!(bob.details["onboardingInformation"].get(VENDOR), None);
    let (answer, _) = renewal(&bob, "r").await;
    assert_eq!(
        answer.status,
        StatusCode::FORBIDDEN,
        "PATCH is not agreed on"
    );
    let mut body = bob.details.clone();
    body["onboardingInformation"] = json!({
        "apiInvokerPublicKey": keys::request(&keys::p256()),
        VENDOR: { "renewal": "r" },
    });
    let answer = bob.put(&resource(&bob), &body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.cause(), "MODIFICATION_NOT_ALLOWED");
    assert_eq!(status(&bob).await.get("secretExpires"), None);
}

//! The core function's own credentials and everything that resembles them (R-6.1-06, R-6.1-08, R-6.1-10, R-6.1-16, D-26, P-19,
//! P-23): RFC 7519, RFC 7515, RFC 8725.

use std::sync::Arc;

use http::{Request, StatusCode};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::requests::nothing_left;
use crate::support::{
    World,
    jws::{encode, hs256, taken_apart, with_signature},
    keys::{self, Signer},
    people::{INVOKERS, REGISTRATIONS, enrolment, function, registration},
};

/// Makes tokens with the core function's own key: only what a test changes is wrong with them.
pub(super) struct Forge {
    pub(super) header: Value,
    pub(super) claims: Value,
    pub(super) own: Signer,
}

impl Forge {
    pub(super) async fn new(world: &World) -> Self {
        let (header, claims, _) = taken_apart(&world.credential(&[]).await);
        let pem = std::fs::read_to_string(world.dir.path().join("keys/credential.key")).unwrap();
        let own = Signer::from_pem(&pem, Algorithm::ES256, header["kid"].as_str().unwrap());
        Self {
            header,
            claims,
            own,
        }
    }

    /// Good claims with a name of their own, changed.
    pub(super) fn claims(&self, change: impl FnOnce(&mut Value)) -> Value {
        let mut claims = self.claims.clone();
        claims["jti"] = json!(keys::ed25519().serialize_pem().get(40..72));
        change(&mut claims);
        claims
    }

    /// A token with good claims, changed, and a good signature.
    pub(super) fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        self.own.sign(&self.claims(change))
    }
}

/// The problem of a refused onboarding, without what differs each time.
pub(super) async fn refused(world: &World, what: &str, token: &str) -> Value {
    let body = enrolment(&keys::request(&keys::p256()));
    let answer = world.onboard(token, &body).await;
    assert_eq!(
        answer.status,
        StatusCode::UNAUTHORIZED,
        "{what}: {}",
        answer.json()
    );
    assert_eq!(answer.cause(), "UNSPECIFIED_MSG_FAILURE");
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
    assert!(answer.headers.get("location").is_none());
    let mut problem = answer.json();
    problem.as_object_mut().unwrap().remove("requestId");
    assert!(
        token.len() < 20 || !problem.to_string().contains(token),
        "{what}: echoed"
    );
    problem
}

/// Whether a token onboards.
async fn onboards(world: &World, token: &str) -> bool {
    let answer = world
        .onboard(token, &enrolment(&keys::request(&keys::p256())))
        .await;
    assert!(
        [StatusCode::CREATED, StatusCode::UNAUTHORIZED].contains(&answer.status),
        "{}",
        answer.json()
    );
    answer.status == StatusCode::CREATED
}

/// R-6.1-06: without a bearer credential there is no onboarding.
#[tokio::test]
async fn a_request_without_a_credential_is_refused() {
    let world = World::start().await;
    let good = world.credential(&[]).await;
    let body = enrolment(&keys::request(&keys::p256())).to_string();
    let ways: [&[String]; 7] = [
        &[],
        &[String::new()],
        &["Bearer".to_owned()],
        &["Bearer ".to_owned()],
        &[format!("Basic {good}")],
        std::slice::from_ref(&good),
        &[format!("Bearer {good}"), format!("Bearer {good}")],
    ];
    for way in ways {
        let mut request = Request::post(INVOKERS).header("content-type", "application/json");
        for value in way {
            request = request.header("authorization", value);
        }
        let answer = world
            .anonymous()
            .send(request.body(body.clone().into_bytes()).unwrap())
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{way:?}");
        answer.cause();
    }
    // RFC 6750 sections 2.2 and 2.3: neither in the query nor in the body.
    let request = Request::post(format!("{INVOKERS}?access_token={good}"))
        .header("content-type", "application/json")
        .body(body.clone().into_bytes())
        .unwrap();
    assert_eq!(
        world.anonymous().send(request).await.status,
        StatusCode::UNAUTHORIZED
    );
    nothing_left(&world).await;
    // RFC 9110 section 11.1: the scheme's name has no case.
    let request = Request::post(INVOKERS)
        .header("content-type", "application/json")
        .header("authorization", format!("bEARER {good}"))
        .body(body.into_bytes())
        .unwrap();
    assert_eq!(
        world.anonymous().send(request).await.status,
        StatusCode::CREATED
    );
}

/// R-6.1-08 and R-6.1-16: whatever is not a token of a known issuer, signed by its key for this purpose, is refused, and all
/// in the same words, so that nobody learns which issuers are known.
#[tokio::test]
async fn every_forged_credential_is_refused_in_the_same_words() {
    let world = World::start().await;
    let forge = Forge::new(&world).await;
    let stranger = Signer::es256("stranger");
    let same_kid = stranger.named(&forge.own.kid);
    let good = forge.token(|_| {});
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload) = (forge.header.to_string(), forge.claims(|_| {}).to_string());
    let header_with = |change: &dyn Fn(&mut Value)| {
        let mut header = forge.header.clone();
        change(&mut header);
        header.to_string()
    };
    let resigned =
        |change: &dyn Fn(&mut Value)| forge.own.sign_texts(&header_with(change), &payload);
    let jwks = keys::jwks(&[&forge.own]).to_string();
    let public_pem = forge.own.public_pem();
    let x = forge.own.jwk()["x"].as_str().unwrap().to_owned();
    let confusions: Vec<(String, String)> = [&jwks, &public_pem, &x, "", public_pem.trim_end()]
        .iter()
        .map(|secret| {
            let header = json!({ "alg": "HS256", "kid": forge.own.kid }).to_string();
            (
                "HS256 with the public key".to_owned(),
                hs256(secret.as_bytes(), &header, &payload),
            )
        })
        .collect();
    let access = {
        let pem = std::fs::read_to_string(world.dir.path().join("keys/access-token.key")).unwrap();
        Signer::from_pem(&pem, Algorithm::ES256, &forge.own.kid)
    };
    let mut cases: Vec<(String, String)> = [
        // Not a token at all.
        ("text", "forged".to_owned()),
        ("dots", "..".to_owned()),
        ("one dot", "a.b".to_owned()),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.{}", parts[2])),
        ("JSON serialization", json!({ "payload": parts[1], "protected": parts[0], "signature": parts[2] }).to_string()),
        ("padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2])),
        ("not base64url", format!("{}.{}.{}", parts[0], parts[1], "!!!!")),
        ("too long", format!("{}.{}", "A".repeat(9000), parts[1])),
        // The signature.
        ("empty signature", with_signature(&header, &payload, "")),
        ("zeros", with_signature(&header, &payload, &encode(&[0; 64]))),
        ("of another token", with_signature(&header, &payload, parts[2])),
        ("cut", good[..good.len() - 2].to_owned()),
        ("longer", format!("{good}AA")),
        ("changed payload", {
            let mut claims = forge.claims.clone();
            claims["apis"] = json!(["everything"]);
            format!("{}.{}.{}", parts[0], encode(claims.to_string().as_bytes()), parts[2])
        }),
        ("changed header", format!("{}.{}.{}", encode(header_with(&|h| h["x"] = json!(1)).as_bytes()), parts[1], parts[2])),
        // The key.
        ("wrong key", stranger.sign(&forge.claims(|_| {}))),
        ("wrong key under the right name", same_kid.sign(&forge.claims(|_| {}))),
        ("right key under another name", forge.own.named("other").sign(&forge.claims(|_| {}))),
        ("key of access tokens", access.sign(&forge.claims(|_| {}))),
        ("key in the header", {
            let header = json!({ "alg": "ES256", "jwk": stranger.jwk() }).to_string();
            stranger.sign_texts(&header, &payload)
        }),
        ("address of a key in the header", {
            let header = json!({ "alg": "ES256", "jku": "https://127.0.0.1:1/", "x5u": "https://127.0.0.1:1/" }).to_string();
            stranger.sign_texts(&header, &payload)
        }),
        ("RS256 by a stranger", Signer::rs256(&forge.own.kid).sign(&forge.claims(|_| {}))),
        ("EdDSA by a stranger", Signer::eddsa(&forge.own.kid).sign(&forge.claims(|_| {}))),
        // The issuer.
        ("unknown issuer", stranger.sign(&forge.claims(|c| c["iss"] = json!("https://elsewhere.example")))),
        ("unknown issuer, own key", forge.token(|c| c["iss"] = json!("https://elsewhere.example"))),
        ("issuer in another case", forge.token(|c| c["iss"] = json!(c["iss"].as_str().unwrap().to_uppercase()))),
        ("issuer with a blank", forge.token(|c| c["iss"] = json!(format!("{} ", c["iss"].as_str().unwrap())))),
        // The audience.
        ("other audience", forge.token(|c| c["aud"] = json!("https://elsewhere.example"))),
        ("registration audience", forge.token(|c| c["aud"] = json!(c["aud"].as_str().unwrap().replace("onboarding", "registration")))),
        ("no purpose", forge.token(|c| c["aud"] = c["iss"].clone())),
        ("empty audiences", forge.token(|c| c["aud"] = json!([]))),
    ]
    .into_iter()
    .map(|(what, token)| (what.to_owned(), token))
    .collect();
    cases.extend(confusions);
    // The algorithm (RFC 8725 section 2.1): never taken from the token.
    for alg in [
        "none", "None", "NONE", "nOnE", "", "ES384", "es256", "HS256", "RS256", "PS256", "EdDSA",
        "ES256K",
    ] {
        cases.push((format!("alg {alg}"), resigned(&|h| h["alg"] = json!(alg))));
        let header = json!({ "alg": alg }).to_string();
        cases.push((
            format!("alg {alg} unsigned"),
            with_signature(&header, &payload, ""),
        ));
    }
    // Claims of the wrong type count as wrong, never as absent (RFC 8725 section 2.7).
    for (member, values) in [
        (
            "exp",
            vec![
                json!("99999999999"),
                json!(null),
                json!(true),
                json!([1]),
                json!({}),
                json!(1e300),
                json!(-1),
            ],
        ),
        (
            "nbf",
            vec![json!("1"), json!(true), json!([1]), json!({}), json!(1.5)],
        ),
        ("iat", vec![json!("1"), json!(true), json!({})]),
        (
            "iss",
            vec![json!(1), json!(null), json!([forge.claims["iss"]])],
        ),
        ("aud", vec![json!(1), json!(null), json!({}), json!([1])]),
        (
            "jti",
            vec![json!(1), json!(null), json!(""), json!("x".repeat(257))],
        ),
        (
            "apis",
            vec![json!("weather"), json!([1]), json!({ "weather": true })],
        ),
    ] {
        for value in values {
            // A time that has passed is told as such.
            if (member, &value) != ("exp", &json!(-1)) {
                cases.push((
                    format!("{member} = {value}"),
                    forge.token(|c| c[member] = value.clone()),
                ));
            }
        }
    }
    for member in ["exp", "iss", "aud", "jti"] {
        let token = forge.token(|c| drop(c.as_object_mut().unwrap().remove(member)));
        cases.push((format!("no {member}"), token));
    }
    // Repeated members: two readers could see two tokens.
    for (what, claims) in [
        ("jti twice", payload.replacen('{', "{\"jti\":\"other\",", 1)),
        (
            "escaped jti twice",
            payload.replacen('{', "{\"\\u006ati\":\"other\",", 1),
        ),
        ("exp twice", payload.replacen('{', "{\"exp\":1,", 1)),
        (
            "unknown twice",
            payload.replacen('{', "{\"x\":1,\"x\":2,", 1),
        ),
        ("trailing octets", format!("{payload} x")),
        ("array", format!("[{payload}]")),
        ("not JSON", "claims".to_owned()),
    ] {
        cases.push((what.to_owned(), forge.own.sign_texts(&header, &claims)));
    }
    // Extensions that must be understood (RFC 7515 section 4.1.11), of which there are none.
    for header in [
        header_with(&|h| h["crit"] = json!(["b64"])),
        header_with(&|h| h["crit"] = json!([])),
        header_with(&|h| h["crit"] = json!("exp")),
        header.replacen('{', "{\"alg\":\"none\",", 1),
        header.replacen('{', "{\"kid\":\"other\",", 1),
        json!({ "kid": forge.own.kid }).to_string(),
        json!({ "alg": ["ES256"] }).to_string(),
    ] {
        cases.push((header.clone(), forge.own.sign_texts(&header, &payload)));
    }

    let mut words: Option<Value> = None;
    for (what, token) in &cases {
        let problem = refused(&world, what, token).await;
        assert_eq!(
            *words.get_or_insert_with(|| problem.clone()),
            problem,
            "{what}"
        );
    }
    assert!(cases.len() > 80);
    nothing_left(&world).await;
    assert!(onboards(&world, &good).await, "the pattern itself is good");
}

/// R-6.1-08: a key needs not be named, and several audiences may be, this one among them.
#[tokio::test]
async fn unusual_but_good_credentials_are_accepted() {
    let world = World::start().await;
    let forge = Forge::new(&world).await;
    let audience = forge.claims["aud"].clone();
    let nameless = json!({ "alg": "ES256" }).to_string();
    for token in [
        forge.token(|c| c["aud"] = json!(["https://elsewhere.example", audience])),
        forge.token(|c| c["jti"] = json!("x".repeat(256))),
        forge.token(|c| c["unknown"] = json!({ "ignored": [1, 2, 3] })),
        forge.token(|c| drop(c.as_object_mut().unwrap().remove("iat"))),
        forge
            .own
            .sign_texts(&nameless, &forge.claims(|_| {}).to_string()),
    ] {
        assert!(onboards(&world, &token).await);
    }
}

/// D-26 and R-6.x-prov: a credential serves the one purpose that it was made for.
#[tokio::test]
async fn a_credential_of_the_other_purpose_is_refused() {
    let world = World::start().await;
    refused(
        &world,
        "registration",
        &world.registration_credential("acme").await,
    )
    .await;
    nothing_left(&world).await;

    let credential = world.credential(&[]).await;
    let functions = [function("AMF", &keys::request(&keys::p256()))];
    let body = registration(&credential, &functions);
    let answer = world
        .anonymous()
        .bearer(http::Method::POST, REGISTRATIONS, &credential, Some(&body))
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(world.list("providers").await.is_empty());
    // Neither try used it up.
    assert!(onboards(&world, &credential).await);
}

/// RFC 7519 sections 4.1.4 to 4.1.6, R-C-05: `exp`, `nbf` and `iat` are held with 30 seconds of tolerance, not one more.
#[tokio::test]
async fn times_are_held_with_thirty_seconds_of_tolerance() {
    let world = World::start().await;
    let start = world.now();
    let at = |seconds: i64| {
        world
            .clock
            .set(time::OffsetDateTime::from_unix_timestamp(start + seconds).unwrap())
    };
    at(0);
    let forge = Forge::new(&world).await;
    let expires = forge.claims["exp"].as_i64().unwrap();
    assert_eq!(
        expires,
        start + 15 * 60,
        "a credential lives for 15 minutes"
    );

    let good = || forge.token(|_| {});
    at(15 * 60 + 29);
    assert!(onboards(&world, &good()).await);
    at(15 * 60 + 30);
    let late = refused(&world, "30 s too late", &good()).await;
    at(24 * 60 * 60);
    assert_eq!(refused(&world, "a day too late", &good()).await, late);
    at(0);
    for member in ["nbf", "iat"] {
        assert!(
            onboards(&world, &forge.token(|c| c[member] = json!(start + 30))).await,
            "{member}"
        );
        assert_eq!(
            refused(
                &world,
                member,
                &forge.token(|c| c[member] = json!(start + 31))
            )
            .await,
            late
        );
        // The later of the two counts.
        let other = if member == "nbf" { "iat" } else { "nbf" };
        let token = forge.token(|c| {
            c[member] = json!(start + 31);
            c[other] = json!(start);
        });
        assert_eq!(refused(&world, member, &token).await, late);
    }
    for exp in [i64::MIN, -1, 0, start - 30] {
        assert_eq!(
            refused(&world, "exp", &forge.token(|c| c["exp"] = json!(exp))).await,
            late
        );
    }
    // Ends beyond every calendar, refused without harm.
    for exp in [i64::MAX, i64::MAX - 60, 1 << 40] {
        refused(&world, "exp", &forge.token(|c| c["exp"] = json!(exp))).await;
    }
    // Who cannot show a good signature learns nothing about times.
    let stranger = Signer::es256("stranger");
    assert_ne!(
        refused(
            &world,
            "stranger",
            &stranger.sign(&forge.claims(|c| c["exp"] = json!(0)))
        )
        .await,
        late
    );
}

/// D-26, P-23: a credential serves once; whoever presents it again is told so, whichever way it is written.
#[tokio::test]
async fn a_replayed_credential_is_refused() {
    let mut world = World::start().await;
    let forge = Forge::new(&world).await;
    let claims = forge.claims(|_| {});
    let token = forge.own.sign(&claims);
    assert!(onboards(&world, &token).await);
    let used = refused(&world, "replay", &token).await;
    assert!(used["detail"].as_str().unwrap().contains("used before"));
    // Another signature over the same `jti`, and other claims beside it, are the same credential.
    assert_eq!(
        refused(&world, "signed again", &forge.own.sign(&claims)).await,
        used
    );
    let mut others = claims.clone();
    others["exp"] = json!(claims["exp"].as_i64().unwrap() + 60);
    assert_eq!(
        refused(&world, "other claims", &forge.own.sign(&others)).await,
        used
    );
    // Also after the invoker left, and after a restart.
    let id = world.list("invokers").await[0]["apiInvokerId"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        world
            .operator(http::Method::DELETE, &format!("/invokers/{id}"), None)
            .await
            .0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(refused(&world, "after offboarding", &token).await, used);
    world.stop().await;
    world.resume().await;
    assert_eq!(refused(&world, "after a restart", &token).await, used);
    assert!(world.list("invokers").await.is_empty());
}

/// P-23: of many uses of one credential at the same moment exactly one succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_parallel_uses_exactly_one_succeeds() {
    const USES: usize = 200;
    let world = Arc::new(World::start().await);
    let credential = Arc::new(world.credential(&[]).await);
    let body = Arc::new(enrolment(&keys::request(&keys::p256())));
    let barrier = Arc::new(Barrier::new(USES));
    let uses: Vec<_> = (0..USES)
        .map(|_| {
            let (world, credential) = (Arc::clone(&world), Arc::clone(&credential));
            let (body, barrier) = (Arc::clone(&body), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                world.onboard(&credential, &body).await.status
            })
        })
        .collect();
    let mut created = 0;
    for one in uses {
        match one.await.unwrap() {
            StatusCode::CREATED => created += 1,
            status => assert_eq!(status, StatusCode::UNAUTHORIZED),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(world.list("invokers").await.len(), 1);
}

/// D-26: a credential that is limited to named APIs opens these and no other, however much is asked for.
#[tokio::test]
async fn a_limited_credential_opens_the_named_apis_alone() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    for api in ["weather", "traffic", "power"] {
        domain.publish(api, &["PKI", "OAUTH"]).await;
    }
    for (credential, wanted, expected) in [
        (&["weather"][..], &[][..], &["weather"][..]),
        (&["weather", "traffic"], &["traffic", "power"], &["traffic"]),
        (&[], &["power"], &["power"]),
        (&[], &[], &["power", "traffic", "weather"]),
    ] {
        let invoker = world
            .raw_invoker_by(&world.credential(credential).await, wanted)
            .await;
        let names = |list: &Value| {
            let mut names: Vec<String> = list["serviceAPIDescriptions"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|api| api["apiName"].as_str().unwrap().to_owned())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&invoker.details["apiList"]), expected);
        let path = format!(
            "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
            invoker.id
        );
        assert_eq!(names(&invoker.get(&path).await.json()), expected);
        // Not by token either.
        assert_eq!(
            invoker.negotiate(&domain.aef.id, &["OAUTH"]).await.status,
            StatusCode::CREATED
        );
        // PKI comes first in the operator's order, so these APIs go by token for want of another wish.
        let granted = invoker.token(None).await.json()["scope"]
            .as_str()
            .unwrap()
            .to_owned();
        let mut granted: Vec<&str> = granted.rsplit(':').next().unwrap().split(',').collect();
        granted.sort_unstable();
        assert_eq!(granted, expected);
    }
}

//! The token endpoint (TS 33.122 annexes C.2 and C.3, clause 6.5.2.3; TS 29.222 clause 5.6.2.3; RFC 6749, RFC 7519).

mod binding;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Method, Request, StatusCode};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde_json::{Value, json};

use crate::support::{
    World,
    jws::taken_apart,
    people::{Domain, RawInvoker, wishes},
    wire::Answer,
};

struct Scene {
    world: World,
    acme: Domain,
    umbrella: Domain,
    invoker: RawInvoker,
}

/// An invoker that goes by Method 3 to two AEFs.
async fn scene() -> Scene {
    let world = World::start().await;
    let (acme, umbrella) = (world.domain("acme").await, world.domain("umbrella").await);
    acme.publish("weather", &["OAUTH"]).await;
    acme.publish("tides", &["OAUTH"]).await;
    umbrella.publish("traffic", &["OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let both = wishes(&[(&acme.aef.id, &["OAUTH"]), (&umbrella.aef.id, &["OAUTH"])]);
    assert_eq!(
        invoker.put(&invoker.context(), &both).await.status,
        StatusCode::CREATED
    );
    Scene {
        world,
        acme,
        umbrella,
        invoker,
    }
}

impl RawInvoker {
    /// A request for a token with any form and headers.
    async fn ask(&self, form: &[(&str, &str)], authorization: &[&str]) -> Answer {
        let mut request = Request::post(self.token_path())
            .header("content-type", "application/x-www-form-urlencoded");
        for value in authorization {
            request = request.header("authorization", *value);
        }
        let body = serde_urlencoded::to_string(form).unwrap().into_bytes();
        self.caller.send(request.body(body).unwrap()).await
    }

    fn basic(&self, id: &str, secret: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}")))
    }

    fn own_secret(&self) -> &str {
        self.secret.as_deref().unwrap()
    }
}

/// RFC 6749 section 5.2, D-15: `invalid_client` is 401, every other code 400; the body is an AccessTokenErr as plain JSON, and no
/// cache keeps it.
fn refused(answer: &Answer, error: &str) {
    let status = if error == "invalid_client" {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::BAD_REQUEST
    };
    assert_eq!(answer.status, status, "{error}: {}", answer.json());
    let body = answer.json();
    assert_eq!(body["error"], error, "{body}");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(
        answer.headers.get("www-authenticate").is_some(),
        status == StatusCode::UNAUTHORIZED
    );
    assert!(
        body["error_description"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    assert!(body.get("access_token").is_none());
}

/// R-C-02 to R-C-04, section 3.3: a signed JWT with the claims of TS 29.222 and TS 33.122, by a key that is published under its
/// name, for exactly what was granted.
#[tokio::test]
async fn a_token_says_what_was_granted_and_verifies_by_the_published_key() {
    let Scene {
        world,
        acme,
        umbrella,
        invoker,
    } = scene().await;
    let answer = invoker.token(None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["pragma"], "no-cache");
    let body = answer.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 600);
    assert!(body.get("refresh_token").is_none(), "R-C-10");
    let token = body["access_token"].as_str().unwrap();

    let (header, claims, _) = taken_apart(token);
    let algorithm = match world.is_lenient() {
        true => Algorithm::RS256,
        false => Algorithm::ES256,
    };
    assert_eq!(header["alg"], json!(algorithm));
    assert_eq!(header["typ"], "at+jwt");
    assert!(header.get("jwk").is_none(), "R-T-06");
    let now = world.now();
    assert_eq!(claims["exp"], now + 600);
    assert_eq!((&claims["iat"], &claims["nbf"]), (&json!(now), &json!(now)));
    for member in ["iss", "sub", "client_id"] {
        assert_eq!(claims[member], invoker.id.as_str(), "{member}");
    }
    assert_eq!(claims["gen"], 1);
    assert!(claims["jti"].as_str().unwrap().len() >= 32);
    let mut grants = [
        (&acme.aef.id, "weather,tides", "tides,weather"),
        (&umbrella.aef.id, "traffic", "traffic"),
    ];
    grants.sort();
    let audience: Vec<&String> = grants.iter().map(|grant| grant.0).collect();
    match world.is_lenient() {
        // Libraries of deployed AEFs refuse what names an audience.
        true => assert!(claims.get("aud").is_none(), "{claims}"),
        false => assert_eq!(claims["aud"], json!(audience)),
    }
    let scope = claims["scope"].as_str().unwrap();
    assert_eq!(body["scope"], scope);
    let groups: Vec<&str> = scope.strip_prefix("3gpp#").unwrap().split(';').collect();
    assert_eq!(groups.len(), 2);
    for (group, (aef, one, other)) in groups.iter().zip(grants) {
        let (id, names) = group.split_once(':').unwrap();
        assert_eq!(id, aef);
        assert!([one, other].contains(&names), "{names}");
    }

    // Anyone verifies it by the published key of that name, over server-authenticated TLS.
    let published = world
        .anonymous()
        .json(Method::GET, "/.well-known/jwks.json", None)
        .await;
    assert_eq!(published.status, StatusCode::OK);
    let set: JwkSet = serde_json::from_slice(&published.body).unwrap();
    let jwk = set.find(header["kid"].as_str().unwrap()).unwrap();
    assert!(
        !published.json().to_string().contains("\"d\""),
        "the private half stays here"
    );
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[&acme.aef.id]);
    validation.set_issuer(&[&invoker.id]);
    let verified =
        jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation)
            .unwrap();
    assert_eq!(verified.claims, claims);
    let other = invoker.token(None).await.json();
    let (_, others, _) = taken_apart(other["access_token"].as_str().unwrap());
    assert_ne!(others["jti"], claims["jti"]);
}

/// Section 3.5: the operator decides how long tokens live.
#[tokio::test]
async fn the_life_of_tokens_is_configured() {
    let world = World::with(|config| config.security.token_seconds = 42).await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
    let body = invoker.token(None).await.json();
    assert_eq!(body["expires_in"], 42);
    let (_, claims, _) = taken_apart(body["access_token"].as_str().unwrap());
    assert_eq!(claims["exp"], world.now() + 42);
}

/// R-C-06, D-13, RFC 6749 section 2.3: the Onboard_Secret comes in the form or by HTTP Basic, in one way at a time.
#[tokio::test]
async fn the_secret_comes_in_one_of_two_ways() {
    let Scene { world, invoker, .. } = scene().await;
    let grant = ("grant_type", "client_credentials");
    let client = ("client_id", invoker.id.as_str());
    let secret = ("client_secret", invoker.own_secret());
    let basic = invoker.basic(&invoker.id, invoker.own_secret());
    let lower = basic.replacen("Basic", "basic", 1);
    for (form, headers) in [
        (&[grant, client, secret][..], &[][..]),
        (&[grant, client], &[basic.as_str()]),
        (&[grant, client], &[lower.as_str()]),
        // What is not known is ignored, and a parameter without a value counts as left out (RFC 6749 section 3.2).
        (
            &[grant, client, secret, ("unknown", "1"), ("scope", "")],
            &[],
        ),
        (&[grant, client, ("client_secret", "")], &[basic.as_str()]),
    ] {
        let answer = invoker.ask(form, headers).await;
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "{form:?} {headers:?}: {}",
            answer.json()
        );
    }
    refused(
        &invoker.ask(&[grant, client, secret], &[&basic]).await,
        "invalid_request",
    );
    refused(
        &invoker.ask(&[grant, client], &[&basic, &basic]).await,
        "invalid_request",
    );
    let bearer = format!("Bearer {}", invoker.own_secret());
    let other = world.raw_invoker(&[]).await;
    for headers in [
        &[][..],
        &["Basic"],
        &["Basic !!!"],
        &["Basic bm9jb2xvbg=="],
        &[bearer.as_str()],
        &[invoker.basic(&other.id, invoker.own_secret()).as_str()],
        &[invoker.basic("", invoker.own_secret()).as_str()],
        &[invoker.basic(&invoker.id, "").as_str()],
    ] {
        refused(
            &invoker.ask(&[grant, client], headers).await,
            "invalid_client",
        );
    }
}

/// RFC 6749 section 5.2: the table of errors.
#[tokio::test]
async fn malformed_requests_get_the_codes_of_the_standard() {
    let Scene {
        world: _world,
        invoker,
        ..
    } = scene().await;
    let grant = ("grant_type", "client_credentials");
    let client = ("client_id", invoker.id.as_str());
    let secret = ("client_secret", invoker.own_secret());
    for (form, error) in [
        (&[][..], "invalid_request"),
        (&[grant], "invalid_request"),
        (&[client, secret], "invalid_request"),
        (&[grant, secret], "invalid_request"),
        (&[("grant_type", ""), client, secret], "invalid_request"),
        (&[grant, ("client_id", ""), secret], "invalid_request"),
        (&[grant, grant, client, secret], "invalid_request"),
        (&[grant, client, client, secret], "invalid_request"),
        (&[grant, client, secret, secret], "invalid_request"),
        (
            &[grant, client, secret, ("scope", "a:b"), ("scope", "a:b")],
            "invalid_request",
        ),
        (
            &[("grant_type", "password"), client, secret],
            "unsupported_grant_type",
        ),
        (
            &[("grant_type", "authorization_code"), client, secret],
            "unsupported_grant_type",
        ),
        (
            &[("grant_type", "CLIENT_CREDENTIALS"), client, secret],
            "unsupported_grant_type",
        ),
        (
            &[("grant_type", "client_credentials "), client, secret],
            "unsupported_grant_type",
        ),
        (
            &[grant, client, ("client_secret", "wrong")],
            "invalid_client",
        ),
        (&[grant, ("client_id", "INV0"), secret], "invalid_client"),
        (
            &[grant, client, secret, ("scope", "nonsense")],
            "invalid_scope",
        ),
    ] {
        refused(&invoker.ask(form, &[]).await, error);
    }
    let form = "application/x-www-form-urlencoded";
    for (media, body, status) in [
        (
            "application/json",
            &b"{}"[..],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        ("", b"", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (form, b"grant_type=\xff\xfe", StatusCode::BAD_REQUEST),
        (
            form,
            b"grant_type=%ff%fe&client_id=%00",
            StatusCode::UNAUTHORIZED,
        ),
        (form, b"%", StatusCode::BAD_REQUEST),
        (form, b"&&&&====", StatusCode::BAD_REQUEST),
        (form, &[b'a'; (1 << 20) + 1], StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let request = Request::post(invoker.token_path())
            .header("content-type", media)
            .body(body.to_vec())
            .unwrap();
        assert_eq!(
            invoker.caller.send(request).await.status,
            status,
            "{media} {}",
            body.len()
        );
    }
    assert_eq!(invoker.token(None).await.status, StatusCode::OK);
}

/// D-14, P-14: path, form and certificate must name one invoker; another's id and an unknown one are refused in the same words, as
/// is a wrong secret.
#[tokio::test]
async fn path_form_and_certificate_must_agree() {
    let Scene {
        world,
        acme,
        invoker,
        ..
    } = scene().await;
    let other = world.raw_invoker(&[]).await;
    assert_eq!(
        other.negotiate(&acme.aef.id, &["OAUTH"]).await.status,
        StatusCode::CREATED
    );
    let unknown = format!("INV{}", "0".repeat(32));
    let own = invoker.id.as_str();
    let mut words = None;
    for (path, client, secret) in [
        (own, own, "wrong"),
        (own, own, other.own_secret()),
        (own, other.id.as_str(), other.own_secret()),
        (own, &unknown, invoker.own_secret()),
        (&other.id, own, invoker.own_secret()),
        (&other.id, &other.id, other.own_secret()),
        (&unknown, own, invoker.own_secret()),
        (&unknown, &unknown, invoker.own_secret()),
    ] {
        let path = format!("/capif-security/v1/securities/{path}/token");
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", secret),
        ];
        let answer = invoker.caller.form(&path, &form).await;
        refused(&answer, "invalid_client");
        assert_eq!(*words.get_or_insert(answer.json()), answer.json());
    }
    // A provider's functions have no business here.
    for party in [&acme.aef, &acme.apf, &acme.amf] {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", own),
            ("client_secret", invoker.own_secret()),
        ];
        assert_eq!(
            party.caller.form(&invoker.token_path(), &form).await.status,
            StatusCode::FORBIDDEN
        );
    }
}

/// D-13: after ten wrong secrets in a row an invoker waits for a minute, also with the right one; nobody else does.
#[tokio::test]
async fn ten_wrong_secrets_bring_a_pause_of_a_minute() {
    let Scene {
        world,
        acme,
        invoker,
        ..
    } = scene().await;
    let other = world.raw_invoker(&[]).await;
    assert_eq!(
        other.negotiate(&acme.aef.id, &["OAUTH"]).await.status,
        StatusCode::CREATED
    );
    let grant = ("grant_type", "client_credentials");
    let client = ("client_id", invoker.id.as_str());
    let form = [grant, client, ("client_secret", "wrong")];
    let wrong = || invoker.ask(&form, &[]);
    // Nine are forgiven by a right one.
    for _ in 0..2 {
        for _ in 0..9 {
            refused(&wrong().await, "invalid_client");
        }
        assert_eq!(invoker.token(None).await.status, StatusCode::OK);
    }
    for _ in 0..10 {
        refused(&wrong().await, "invalid_client");
    }
    for _ in 0..3 {
        for answer in [wrong().await, invoker.token(None).await] {
            assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(answer.cause(), "NF_CONGESTION_RISK");
            let wait: i64 = answer.headers["retry-after"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!((60..=61).contains(&wait), "{wait}");
        }
    }
    assert_eq!(other.token(None).await.status, StatusCode::OK);
    world.clock.advance(time::Duration::seconds(59));
    assert_eq!(
        invoker.token(None).await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    world.clock.advance(time::Duration::seconds(1));
    assert_eq!(invoker.token(None).await.status, StatusCode::OK);
    refused(&wrong().await, "invalid_client");
}

/// Section 3.2, D-12, P-26: both forms of the scope are read, the one of TS 29.222 is given; what is malformed or more than was
/// granted gets no token at all.
#[tokio::test]
async fn a_scope_is_read_in_both_forms_and_granted_whole_or_not_at_all() {
    let Scene {
        world,
        acme,
        umbrella,
        invoker,
    } = scene().await;
    let (a, b) = (acme.aef.id.as_str(), umbrella.aef.id.as_str());
    for (scope, granted) in [
        (format!("3gpp#{a}:weather"), format!("3gpp#{a}:weather")),
        (format!("{a}:weather"), format!("3gpp#{a}:weather")),
        (
            format!("3gpp#{a}:weather,tides"),
            format!("3gpp#{a}:weather,tides"),
        ),
        (
            format!("3gpp#{b}:traffic;{a}:tides"),
            format!("3gpp#{b}:traffic;{a}:tides"),
        ),
        (
            format!("{a}:weather; {b}:traffic"),
            format!("3gpp#{a}:weather;{b}:traffic"),
        ),
        (
            format!("3gpp#{a}:weather,weather;{a}:tides"),
            format!("3gpp#{a}:weather,tides"),
        ),
    ] {
        let answer = invoker.token(Some(&scope)).await;
        assert_eq!(answer.status, StatusCode::OK, "{scope}: {}", answer.json());
        assert_eq!(answer.json()["scope"], granted.as_str());
        let (_, claims, _) = taken_apart(answer.json()["access_token"].as_str().unwrap());
        assert_eq!(claims["scope"], granted.as_str());
        let audience: Vec<&str> = [a, b]
            .into_iter()
            .filter(|aef| granted.contains(aef))
            .collect();
        if world.is_lenient() {
            assert!(claims.get("aud").is_none(), "{claims}");
            continue;
        }
        let named = claims["aud"].as_array().unwrap();
        assert_eq!(named.len(), audience.len());
        assert!(audience.iter().all(|aef| named.contains(&json!(aef))));
    }
    for scope in [
        " ",
        "3gpp#",
        "weather",
        ":",
        ";",
        "*",
        &format!("{a}:"),
        &format!("{a}:*"),
        ":weather",
        &format!("{a}:weather;"),
        &format!("{a}:weather;;{b}:traffic"),
        &format!("{a}:weather,"),
        &format!("{a}:,weather"),
        &format!("{a}:weather\n"),
        &format!("{a}:weather\0"),
        &format!("{a}:weather "),
        &format!("{a} :weather"),
        &format!("{a}:Weather"),
        &format!("{a}:weathe"),
        &format!("{a}:weather{}", "x".repeat(9000)),
        &format!("3GPP#{a}:weather"),
        &format!("3gpp#3gpp#{a}:weather"),
        &format!("{}:weather", a.to_lowercase()),
        // Of another AEF, of nobody, beside what is granted.
        &format!("{b}:weather"),
        &format!("AEF{}:weather", "0".repeat(32)),
        &format!("{a}:weather,traffic"),
        &format!("{a}:weather;{b}:tides"),
        &format!("{a}:weather openid"),
    ] {
        refused(&invoker.token(Some(scope)).await, "invalid_scope");
    }
}

/// P-26, R-6.3-07: a token carries what is granted at that moment: nothing before the negotiation, nothing by another method,
/// nothing withdrawn.
#[tokio::test]
async fn a_token_needs_an_agreement_on_method_3() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let weather = domain.publish("weather", &["PKI", "OAUTH"]).await;
    domain.publish("by-certificate", &["PKI"]).await;
    let invoker = world.raw_invoker(&[]).await;
    refused(&invoker.token(None).await, "unauthorized_client");
    invoker.negotiate(&domain.aef.id, &["PKI"]).await;
    refused(&invoker.token(None).await, "unauthorized_client");
    // All APIs of an AEF go by one method, which these two do not have in common.
    invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
    refused(&invoker.token(None).await, "unauthorized_client");
    let entry =
        json!({ "aefId": domain.aef.id, "apiId": weather, "prefSecurityMethods": ["OAUTH"] });
    let body = json!({
        "securityInfo": [entry], "notificationDestination": "https://invoker.example/", "supportedFeatures": "4"
    });
    assert_eq!(
        invoker.put(&invoker.context(), &body).await.status,
        StatusCode::CREATED
    );
    let scope = format!("3gpp#{}:weather", domain.aef.id);
    assert_eq!(invoker.token(None).await.json()["scope"], scope.as_str());
    refused(
        &invoker
            .token(Some(&format!("3gpp#{}:by-certificate", domain.aef.id)))
            .await,
        "invalid_scope",
    );

    assert_eq!(
        domain
            .apf
            .delete(&format!("{}/{weather}", domain.apis()))
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    refused(&invoker.token(None).await, "unauthorized_client");
    refused(&invoker.token(Some(&scope)).await, "unauthorized_client");

    // Who was enrolled without Method 3 has no secret to show.
    let other = world.raw_invoker(&["by-certificate"]).await;
    assert!(other.secret.is_none());
    refused(
        &other
            .ask(
                &[
                    ("grant_type", "client_credentials"),
                    ("client_id", &other.id),
                ],
                &[],
            )
            .await,
        "unauthorized_client",
    );
}

/// R-6.1-14: the secret is bound to the one invoker and stays the same; R-6.8-04: it is dead with the invoker.
#[tokio::test]
async fn an_offboarded_invoker_gets_no_token() {
    let Scene {
        mut world, invoker, ..
    } = scene().await;
    assert_eq!(invoker.token(None).await.status, StatusCode::OK);
    world.stop().await;
    world.resume().await;
    assert_eq!(
        invoker.token(None).await.status,
        StatusCode::OK,
        "the same secret after a restart"
    );

    let again = world.with_certificate(&invoker.pems);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", invoker.id.as_str()),
        ("client_secret", invoker.own_secret()),
    ];
    assert_eq!(
        again.form(&invoker.token_path(), &form).await.status,
        StatusCode::OK
    );
    let (status, _) = world
        .operator(Method::DELETE, &format!("/invokers/{}", invoker.id), None)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    for caller in [again, world.with_certificate(&invoker.pems)] {
        let answer = caller.form(&invoker.token_path(), &form).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.json()["error"], "invalid_client");
    }
}

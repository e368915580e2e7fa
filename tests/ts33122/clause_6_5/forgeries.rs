//! Access tokens that were never issued, or not for this (section 3.4 numbers 3 to 7, P-19, RFC 8725).

use capif_client::Wish;
use capif_spec::{publish_service::SecurityMethod, security::Scope};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{INSUFFICIENT, INVALID_TOKEN, Site, assert_refused};
use crate::support::{
    backend::Backend,
    jws::{self, Key},
    reveal,
    wire::Caller,
};

/// An honest token, and the means to make others like it.
struct Forge {
    site: Site,
    header: Value,
    claims: Value,
    token: String,
    /// The core function's own key.
    key: Key,
}

impl Forge {
    async fn start() -> Self {
        let site = Site::start().await;
        let amy = site.invoker("amy", SecurityMethod::Oauth).await;
        let token = site.token(&amy).await;
        let (header, claims, _) = jws::taken_apart(&token);
        let file = match site.world.is_lenient() {
            true => "keys/opencapif.key",
            false => "keys/access-token.key",
        };
        let key = Key::read(&site.world.dir.path().join(file));
        Self {
            site,
            header,
            claims,
            token,
            key,
        }
    }

    /// A token that the core function's key signs, with one claim changed; `None` takes it away.
    fn with_claim(&self, name: &str, value: Option<Value>) -> String {
        let mut claims = self.claims.clone();
        match value {
            Some(value) => claims[name] = value,
            None => drop(claims.as_object_mut().unwrap().remove(name)),
        }
        self.key.sign(&self.header.to_string(), &claims.to_string())
    }

    fn with_header(&self, name: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[name] = value;
        self.key.sign(&header.to_string(), &self.claims.to_string())
    }

    #[track_caller]
    fn refused(&self, what: &str, token: &str) -> impl Future<Output = ()> {
        let caller = self.site.caller(None);
        async move {
            let answer = caller.bearer(Method::GET, super::PATH, token, None).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{what}");
            assert_refused(&answer, StatusCode::UNAUTHORIZED, INVALID_TOKEN);
        }
    }

    /// The API saw this many calls.
    fn seen(&self, count: usize) {
        assert_eq!(self.site.backend.seen().len(), count);
    }
}

/// P-19: the algorithm comes from the key, never from the token.
#[tokio::test]
async fn the_token_does_not_choose_its_algorithm() {
    let forge = Forge::start().await;
    let (header, claims) = (forge.header.clone(), forge.claims.to_string());
    let kid = header["kid"].as_str().unwrap();
    let (_, _, signature) = jws::taken_apart(&forge.token);
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({"alg": algorithm, "kid": kid, "typ": "at+jwt"}).to_string();
        forge
            .refused(algorithm, &jws::with_signature(&header, &claims, ""))
            .await;
        forge
            .refused(
                algorithm,
                &jws::with_signature(&header, &claims, &signature),
            )
            .await;
        forge
            .refused(algorithm, &jws::with_signature(&header, &claims, "AA"))
            .await;
    }
    // The public key is known to everyone, so it must not serve as a secret one in any of its forms.
    let ccf = Caller::new(&forge.site.world, forge.site.world.address(), None);
    let set = ccf.json(Method::GET, "/.well-known/jwks.json", None).await;
    let keys = set.json()["keys"].as_array().unwrap().clone();
    let jwk = keys.into_iter().find(|key| key["kid"] == kid).unwrap();
    let forms = [
        jwk.to_string().into_bytes(),
        set.body.clone(),
        jwk.get("x").unwrap_or(&jwk["n"]).to_string().into_bytes(),
        std::fs::read(forge.site.world.dir.path().join("ca/root.pem")).unwrap(),
        Vec::new(),
        kid.as_bytes().to_vec(),
    ];
    for secret in &forms {
        for algorithm in ["HS256", "ES256", "RS256"] {
            let header = json!({"alg": algorithm, "kid": kid, "typ": "at+jwt"}).to_string();
            forge
                .refused(algorithm, &jws::hs256(secret, &header, &claims))
                .await;
        }
    }
    for algorithm in [
        "ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA", "HS256", "es256", "ES256K",
    ] {
        if algorithm == header["alg"] {
            continue;
        }
        forge
            .refused(algorithm, &forge.with_header("alg", algorithm.into()))
            .await;
    }
    forge.seen(0);
}

/// P-19: keys come from the core function alone, whatever the header offers.
#[tokio::test]
async fn keys_come_from_the_core_function_alone() {
    let forge = Forge::start().await;
    let claims = forge.claims.to_string();
    let kid = forge.header["kid"].clone();
    let own = forge.key.another();
    let plain = forge.header.to_string();
    forge
        .refused(
            "another key under the right name",
            &own.sign(&plain, &claims),
        )
        .await;
    for (name, value) in [
        ("kid", json!("unknown")),
        ("kid", json!("")),
        ("kid", json!("../../etc/passwd")),
        ("kid", json!("' OR 1=1 --")),
        (
            "jwk",
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
        ),
        ("jku", json!("https://127.0.0.1:1/jwks.json")),
        ("x5u", json!("https://127.0.0.1:1/")),
        ("x5c", json!(["AA"])),
    ] {
        let mut header = forge.header.clone();
        header[name] = value.clone();
        forge
            .refused(name, &own.sign(&header.to_string(), &claims))
            .await;
        if name == "kid" {
            forge
                .refused(
                    "the right key under a wrong name",
                    &forge.with_header(name, value),
                )
                .await;
        }
    }
    let alg = forge.header["alg"].as_str().unwrap();
    for header in [
        json!({"alg": alg, "typ": "at+jwt"}),
        json!({"alg": alg, "kid": null}),
        json!({"alg": alg, "kid": 1}),
        json!({"alg": alg, "kid": [kid]}),
        json!({"kid": kid}),
        json!({"alg": alg, "kid": kid, "crit": ["exp"], "typ": "at+jwt"}),
        json!({"alg": alg, "kid": kid, "crit": []}),
        json!({"alg": alg, "kid": kid, "crit": ["b64"], "b64": false}),
        json!([alg, kid]),
    ] {
        let token = forge.key.sign(&header.to_string(), &claims);
        forge.refused(&header.to_string(), &token).await;
    }
    let twice = format!("{{\"alg\":\"none\",\"alg\":\"{alg}\",\"kid\":{kid}}}");
    forge
        .refused("alg twice", &forge.key.sign(&twice, &claims))
        .await;
    forge.seen(0);
}

/// P-19: the signature covers every octet, in one form.
#[tokio::test]
async fn a_changed_token_is_refused() {
    let forge = Forge::start().await;
    let (header, claims, signature) = jws::taken_apart(&forge.token);
    let (header_text, claims_text) = (header.to_string(), claims.to_string());
    let parts: Vec<&str> = forge.token.split('.').collect();
    let mut longer = claims.clone();
    longer["exp"] = (claims["exp"].as_i64().unwrap() + 3600).into();
    forge
        .refused(
            "another end",
            &jws::with_signature(&header_text, &longer.to_string(), &signature),
        )
        .await;
    forge
        .refused(
            "a signature of another form",
            &forge.key.sign_otherwise(&header_text, &claims_text),
        )
        .await;
    let zeros = jws::encode(&[0; 64]);
    forge
        .refused(
            "zero signature",
            &jws::with_signature(&header_text, &claims_text, &zeros),
        )
        .await;
    for token in [
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        format!(".{}.{}", parts[1], parts[2]),
        format!("{}.", forge.token),
        format!("{}.{}", forge.token, parts[2]),
        format!("{}=", forge.token),
        format!("{}==.{}.{}", parts[0], parts[1], parts[2]),
        format!("{}A", forge.token),
        forge.token[1..].to_owned(),
        forge.token[..forge.token.len() - 2].to_owned(),
        forge.token.to_uppercase(),
        forge.token.replace('.', ":"),
        "...".to_owned(),
        ".".repeat(4000),
        "e30.e30.e30".to_owned(),
    ] {
        forge.refused(&token.clone(), &token).await;
    }
    // One bit of the signature, here and there.
    for index in [0, 21, 43, 84] {
        let mut octets = parts[2].as_bytes().to_vec();
        octets[index] = if octets[index] == b'A' { b'B' } else { b'A' };
        let token = format!(
            "{}.{}.{}",
            parts[0],
            parts[1],
            String::from_utf8(octets).unwrap()
        );
        forge.refused("signature", &token).await;
    }
    forge.seen(0);
}

/// P-19 and B-26: a claim of the wrong type, there twice, or missing is not a claim that does not matter.
#[tokio::test]
async fn claims_are_read_strictly() {
    let forge = Forge::start().await;
    let now = forge.claims["iat"].as_i64().unwrap();
    let amy = forge.claims["client_id"].clone();
    for (name, value) in [
        ("exp", None),
        ("exp", Some(json!((now + 600).to_string()))),
        ("exp", Some(json!(now as f64 + 600.5))),
        ("exp", Some(json!(null))),
        ("exp", Some(json!([now + 600]))),
        ("exp", Some(json!(true))),
        ("exp", Some(json!(600))),
        ("exp", Some(json!(-1))),
        ("exp", Some(json!(1e300))),
        ("nbf", Some(json!(now + 31))),
        ("nbf", Some(json!("0"))),
        ("nbf", Some(json!(null))),
        ("iat", Some(json!(now + 31))),
        ("iat", Some(json!("0"))),
        ("iss", None),
        ("iss", Some(json!("another"))),
        ("iss", Some(json!(""))),
        ("iss", Some(json!([amy]))),
        ("client_id", None),
        ("client_id", Some(json!("another"))),
        ("client_id", Some(json!(null))),
        ("client_id", Some(json!([amy]))),
        ("sub", Some(json!("another"))),
        ("sub", Some(json!(null))),
        ("aud", Some(json!(null))),
        ("aud", Some(json!(["AEF0000"]))),
        ("aud", Some(json!([]))),
        ("aud", Some(json!([1]))),
        ("scope", None),
        ("scope", Some(json!(""))),
        ("scope", Some(json!("weather"))),
        ("scope", Some(json!(null))),
        ("scope", Some(json!(["3gpp#"]))),
        ("scope", Some(json!("3gpp#"))),
        ("scope", Some(json!("3gpp#:weather"))),
        ("gen", None),
        ("gen", Some(json!(0))),
        ("gen", Some(json!("1"))),
        ("gen", Some(json!(-1))),
        ("gen", Some(json!(null))),
    ] {
        let what = format!("{name}: {value:?}");
        forge.refused(&what, &forge.with_claim(name, value)).await;
    }
    let mut both = forge.claims.clone();
    both["iss"] = "INV0".into();
    both["client_id"] = "INV0".into();
    both["sub"] = "INV0".into();
    let header = forge.header.to_string();
    forge
        .refused(
            "an invoker that does not exist",
            &forge.key.sign(&header, &both.to_string()),
        )
        .await;

    let claims = forge.claims.to_string();
    let inner = claims.trim_start_matches('{');
    for payload in [
        format!("{{\"client_id\":\"another\",{inner}"),
        format!("{{\"scope\":\"3gpp#x:y\",{inner}"),
        format!("{{\"exp\":1,{inner}"),
        format!("{{\"\\u0065xp\":1,{inner}"),
        format!("{{\"foo\":1,\"foo\":2,{inner}"),
        format!("{claims} x"),
        format!("{claims}{claims}"),
        format!("\u{feff}{claims}"),
        "[]".to_owned(),
        "null".to_owned(),
        "\"\"".to_owned(),
        String::new(),
        format!("{{\"deep\":{}{},{inner}", "[".repeat(70), "]".repeat(70)),
    ] {
        forge
            .refused(&payload, &forge.key.sign(&header, &payload))
            .await;
    }
    forge.seen(0);
    // Claims that nobody decides on may be there; a blank after the semicolon is the form of TS 33.122 clause C.2.2.
    let own = forge.claims["scope"].as_str().unwrap();
    for token in [
        forge.with_claim("more", Some(json!({"a": 1}))),
        forge.with_claim("aud", None),
        forge.with_claim("nbf", Some(json!(now + 30))),
        forge.with_claim("scope", Some(json!(format!("{own}; AEF0:other")))),
    ] {
        assert_eq!(forge.site.by_token(&token).await.status, 200);
    }
    forge.seen(4);
}

/// Section 3.4 number 6: the scope names this AEF with the API of the route, both exactly.
#[tokio::test]
async fn the_scope_must_name_this_aef_and_this_api() {
    let forge = Forge::start().await;
    let aef = forge.site.gateway.aef_id().to_string();
    for scope in [
        format!("3gpp#{aef}:other"),
        format!("3gpp#{aef}:Weather"),
        format!("3gpp#{aef}:weather2"),
        format!("3gpp#{aef}:weathe"),
        "3gpp#AEF0:weather".to_owned(),
        format!("3gpp#{}:weather", aef.to_lowercase()),
        format!("3gpp#x{aef}:weather"),
        format!("3gpp#AEF0:weather;{aef}:other"),
    ] {
        let token = forge.with_claim("scope", Some(json!(scope)));
        let answer = forge.site.by_token(&token).await;
        assert_refused(&answer, StatusCode::FORBIDDEN, INSUFFICIENT);
    }
    forge.seen(0);
}

/// Section 3.4 number 6: a token that was issued for another AEF opens nothing here.
#[tokio::test]
async fn a_token_for_another_aef_is_refused() {
    let site = Site::start().await;
    let amy = site.invoker("amy", SecurityMethod::Oauth).await;
    let backend = Backend::start();
    let other = site
        .world
        .gateway("zeta", "weather", &backend.url(), &[SecurityMethod::Oauth])
        .await;
    let wish = Wish {
        aef_id: other.aef_id().clone(),
        api_id: None,
        preferred: vec![SecurityMethod::Oauth],
        profile: None,
    };
    amy.negotiate(&[wish]).await.unwrap();
    let scope = Scope {
        grants: vec![(other.aef_id().clone(), vec!["weather".to_owned()])],
    };
    let theirs = amy.token(&scope).await.unwrap();
    let answer = site.by_token(reveal(&theirs.access_token)).await;
    assert_refused(&answer, StatusCode::FORBIDDEN, INSUFFICIENT);
    let caller = Caller::new(&site.world, other.address(), None);
    let answer = caller
        .bearer(Method::GET, super::PATH, reveal(&theirs.access_token), None)
        .await;
    assert_eq!(answer.status, 200);
    assert!(site.backend.seen().is_empty());
}

/// RFC 8725 section 2.8: a credential for enrolment is not an access token, whatever it says.
#[tokio::test]
async fn an_enrolment_credential_is_no_access_token() {
    let forge = Forge::start().await;
    let enrolment = forge.site.world.invite(&["weather"]).await;
    let credential = reveal(&enrolment.credential).to_owned();
    forge.refused("onboarding credential", &credential).await;
    let bundle = forge.site.world.bundle("other").await;
    forge
        .refused("registration credential", reveal(&bundle.credential))
        .await;
    // Even the claims of an access token under the key of credentials.
    let key = Key::read(&forge.site.world.dir.path().join("keys/credential.key"));
    let (header, _, _) = jws::taken_apart(&credential);
    let claims = forge.claims.to_string();
    forge
        .refused("the other key", &key.sign(&header.to_string(), &claims))
        .await;
    forge
        .refused(
            "the other key under this name",
            &key.sign(&forge.header.to_string(), &claims),
        )
        .await;
    forge.seen(0);
}

/// R-C-05 and section 3.4 number 4: a token ends with its `exp`, within 30 seconds for clocks that differ.
#[tokio::test]
async fn a_token_ends_with_its_time() {
    let forge = Forge::start().await;
    let clock = &forge.site.world.clock;
    assert_eq!(forge.site.by_token(&forge.token).await.status, 200);
    let end = forge.claims["exp"].as_i64().unwrap();
    assert_eq!(end - forge.claims["iat"].as_i64().unwrap(), 600);
    let at = |seconds| time::OffsetDateTime::from_unix_timestamp(end + seconds).unwrap();
    for seconds in [-1, 0, 29] {
        clock.set(at(seconds));
        assert_eq!(
            forge.site.by_token(&forge.token).await.status,
            200,
            "{seconds}"
        );
    }
    for seconds in [30, 31, 3600] {
        clock.set(at(seconds));
        forge.refused("expired", &forge.token).await;
    }
    forge.seen(4);
}

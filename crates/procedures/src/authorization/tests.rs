mod binding;
mod overlap;

use super::*;
use crate::fixtures::*;

/// A request of `INV` that is good in every part.
fn request() -> TokenRequest<'static> {
    TokenRequest {
        security_id: "INV",
        grant_type: "client_credentials",
        client_id: "INV",
        secret: Some(digest(0x5e)),
        scope: None,
        certificate: certificate(1).fingerprint,
    }
}

/// `weather` by both AEFs with Method 3, `traffic` by one, `maps` with Method 2 only.
fn apis() -> Vec<ServiceApi> {
    vec![
        api(
            "A1",
            "weather",
            &[profile("AEF1", &[Oauth, Pki]), profile("AEF2", &[Oauth])],
        ),
        api("A2", "traffic", &[profile("AEF1", &[Oauth])]),
        api("A3", "maps", &[profile("AEF1", &[Pki])]),
    ]
}

fn both() -> SecurityContext {
    context(
        "INV",
        vec![entry_at("AEF2", Some(Oauth)), entry_at("AEF1", Some(Oauth))],
    )
}

fn granted_to(
    invoker: &Invoker,
    context: Option<&SecurityContext>,
    request: &TokenRequest<'_>,
) -> Result<AccessTokenClaims, TokenRefusal> {
    grant(
        request,
        invoker,
        context,
        apis().iter(),
        &policy(&[Psk, Pki, Oauth]),
        terms(600),
        &now(),
    )
}

fn terms(lifetime_seconds: i64) -> TokenTerms {
    TokenTerms {
        deployed_secret: None,
        jti: "token".to_owned(),
        lifetime_seconds,
        renewal: rotation_terms(),
    }
}

/// TS 33.122 clauses 6.5.2.3 and C.2.2, TS 29.222 clause 8.5.4.2.8: what a token says, claim by claim.
#[test]
fn claims_of_a_token() {
    let mut context = both();
    context.generation = 4;
    let issued = 1_769_860_800;
    assert_eq!(now().0.unix_timestamp(), issued);
    let claims = granted_to(&invoker("INV"), Some(&context), &request()).unwrap();
    assert_eq!(
        claims,
        AccessTokenClaims {
            iss: "INV".to_owned(),
            sub: Some("INV".to_owned()),
            aud: Some(vec!["AEF1".to_owned(), "AEF2".to_owned()]),
            client_id: Some("INV".to_owned()),
            scope: "3gpp#AEF1:weather,traffic;AEF2:weather".to_owned(),
            iat: Some(issued),
            nbf: Some(issued),
            exp: issued + 600,
            jti: Some("token".to_owned()),
            generation: Some(4),
            res_owner_id: None,
            cnf: None,
        }
    );
    let forever = grant(
        &request(),
        &invoker("INV"),
        Some(&context),
        apis().iter(),
        &policy(&[Oauth]),
        terms(i64::MAX),
        &now(),
    );
    let end = certificate(1).not_after.0.unix_timestamp();
    assert_eq!(
        forever.unwrap().exp,
        end,
        "without overflow, and not beyond the certificate"
    );
}

/// TS 29.222 clause 5.6.2.3: ids of path, form and certificate are one (D-14), and the Onboard_Secret is that invoker's (D-13).
/// Which of them failed is not told (RFC 6749 section 5.2).
#[test]
fn ids_and_secret_must_be_of_one_invoker() {
    let cases = [
        (
            "the path",
            TokenRequest {
                security_id: "INV2",
                ..request()
            },
        ),
        (
            "the form",
            TokenRequest {
                client_id: "INV2",
                ..request()
            },
        ),
        (
            "path and form",
            TokenRequest {
                security_id: "INV2",
                client_id: "INV2",
                ..request()
            },
        ),
        (
            "other letters",
            TokenRequest {
                client_id: "inv",
                ..request()
            },
        ),
        (
            "no id",
            TokenRequest {
                client_id: "",
                ..request()
            },
        ),
        (
            "no secret",
            TokenRequest {
                secret: None,
                ..request()
            },
        ),
        (
            "a wrong secret",
            TokenRequest {
                secret: Some(digest(0x5f)),
                ..request()
            },
        ),
        // Ids are looked at first, so that nothing else is learnt with somebody else's.
        (
            "also another grant",
            TokenRequest {
                client_id: "INV2",
                grant_type: "password",
                ..request()
            },
        ),
        (
            "also a bad scope",
            TokenRequest {
                secret: None,
                scope: Some("x"),
                ..request()
            },
        ),
    ];
    for (case, request) in cases {
        for context in [Some(both()), None] {
            let refusal = granted_to(&invoker("INV"), context.as_ref(), &request);
            assert_eq!(refusal, Err(TokenRefusal::InvalidClient), "{case}");
        }
    }
    let own = TokenRequest {
        security_id: "INV2",
        client_id: "INV2",
        ..request()
    };
    let other = Invoker {
        onboard_secret: Some(digest(0x22)),
        ..invoker("INV2")
    };
    assert_eq!(
        granted_to(&other, Some(&both()), &own),
        Err(TokenRefusal::InvalidClient),
        "the secret of another invoker"
    );
}

/// Where deployed clients are served, the word that they all send counts as the secret of an invoker that does not renew its own; no
/// other wrong one does, and no certificate of somebody else.
#[test]
fn the_word_of_deployed_clients_is_the_one_exception() {
    let word = digest(0xdd);
    let asked = |invoker: &Invoker, request: &TokenRequest<'_>| {
        let terms = TokenTerms {
            deployed_secret: Some(word.clone()),
            ..terms(600)
        };
        let policy = policy(&[Psk, Pki, Oauth]);
        grant(
            request,
            invoker,
            Some(&both()),
            apis().iter(),
            &policy,
            terms,
            &now(),
        )
    };
    let with = |secret: Option<Digest>| TokenRequest {
        secret,
        ..request()
    };
    let claims = asked(&invoker("INV"), &with(Some(word.clone()))).unwrap();
    assert_eq!(claims.aud, None);
    assert!(asked(&invoker("INV"), &request()).is_ok(), "its own secret");
    let mut renewing = invoker("INV");
    renewing.renewal.agreed = true;
    let elsewhere = TokenRequest {
        certificate: certificate(9).fingerprint,
        ..with(Some(word.clone()))
    };
    for (case, invoker, request) in [
        ("no secret", invoker("INV"), with(None)),
        ("another word", invoker("INV"), with(Some(digest(0x5f)))),
        ("who renews", renewing, with(Some(word.clone()))),
        ("another certificate", invoker("INV"), elsewhere),
    ] {
        let refusal = asked(&invoker, &request);
        assert_eq!(refusal, Err(TokenRefusal::InvalidClient), "{case}");
    }
    // Strictly it is a wrong secret like any other.
    assert_eq!(
        granted_to(&invoker("INV"), Some(&both()), &with(Some(word.clone()))),
        Err(TokenRefusal::InvalidClient)
    );
}

/// TS 33.122 clause C.3.2: the grant type is client_credentials, in these letters.
#[test]
fn other_grants_are_not_served() {
    for grant_type in [
        "authorization_code",
        "password",
        "refresh_token",
        "CLIENT_CREDENTIALS",
        "client_credentials ",
        "",
    ] {
        let request = TokenRequest {
            grant_type,
            ..request()
        };
        assert_eq!(
            granted_to(&invoker("INV"), Some(&both()), &request),
            Err(TokenRefusal::UnsupportedGrantType),
            "{grant_type}"
        );
    }
}

/// TS 33.122 clauses 6.1 step 6 and 6.3: Method 3 is for an invoker with an Onboard_Secret for which it was selected somewhere.
#[test]
fn invokers_that_may_not_use_method_3() {
    let without = Invoker {
        onboard_secret: None,
        ..invoker("INV")
    };
    let unselected = context(
        "INV",
        vec![entry_at("AEF1", None), entry_at("AEF2", Some(Pki))],
    );
    let withdrawn = context("INV", vec![entry_at("AEF9", Some(Oauth))]);
    let for_pki_only = context("INV", vec![entry_for("AEF1", "A3", Oauth)]);
    let elsewhere = invoker_within("INV", domain_only("DOM9"));
    let cases = [
        (
            "no Onboard_Secret",
            &without,
            Some(both()),
            "no Onboard_Secret",
        ),
        ("no context", &invoker("INV"), None, "PUT trustedInvokers"),
        (
            "an empty context",
            &invoker("INV"),
            Some(context("INV", vec![])),
            "negotiate",
        ),
        (
            "other methods",
            &invoker("INV"),
            Some(unselected),
            "negotiate",
        ),
        (
            "nothing there any more",
            &invoker("INV"),
            Some(withdrawn),
            "negotiate",
        ),
        (
            "an API without Method 3",
            &invoker("INV"),
            Some(for_pki_only),
            "negotiate",
        ),
        (
            "nothing within reach",
            &elsewhere,
            Some(both()),
            "negotiate",
        ),
    ];
    for (case, invoker, context, hint) in cases {
        for scope in [None, Some("3gpp#AEF1:weather")] {
            let request = TokenRequest { scope, ..request() };
            let refusal = granted_to(invoker, context.as_ref(), &request).unwrap_err();
            assert!(
                matches!(&refusal, TokenRefusal::UnauthorizedClient(reason) if reason.contains(hint)),
                "{case}: {refusal:?}"
            );
        }
    }
}

/// An invoker without Onboard_Secret is told so whatever secret it makes up: there is none to guess.
#[test]
fn no_secret_is_no_secret_to_match() {
    let without = Invoker {
        onboard_secret: None,
        ..invoker("INV")
    };
    for secret in [None, Some(digest(0)), Some(digest(0x5e))] {
        let request = TokenRequest {
            secret,
            ..request()
        };
        assert!(matches!(
            granted_to(&without, Some(&both()), &request),
            Err(TokenRefusal::UnauthorizedClient(_))
        ));
    }
}

/// TS 33.122 clause C.3.2, TS 29.222 clause 8.5.4.2.6: a scope may ask for part of what the invoker may call, and the token
/// is for that part alone; without a scope it is for all of it.
#[test]
fn a_scope_narrows_the_token() {
    let cases = [
        (
            None,
            "3gpp#AEF1:weather,traffic;AEF2:weather",
            vec!["AEF1", "AEF2"],
        ),
        (
            Some("3gpp#AEF1:weather,traffic;AEF2:weather"),
            "3gpp#AEF1:weather,traffic;AEF2:weather",
            vec!["AEF1", "AEF2"],
        ),
        (
            Some("3gpp#AEF2:weather;AEF1:traffic"),
            "3gpp#AEF2:weather;AEF1:traffic",
            vec!["AEF2", "AEF1"],
        ),
        (Some("3gpp#AEF1:traffic"), "3gpp#AEF1:traffic", vec!["AEF1"]),
        // The forms of TS 33.122 clause C.2.2: no prefix, a blank after the semicolon.
        (
            Some("AEF1:traffic; AEF2:weather"),
            "3gpp#AEF1:traffic;AEF2:weather",
            vec!["AEF1", "AEF2"],
        ),
        (
            Some("3gpp#AEF1:weather;AEF1:weather,traffic"),
            "3gpp#AEF1:weather,traffic",
            vec!["AEF1"],
        ),
    ];
    for (scope, granted, audience) in cases {
        let request = TokenRequest { scope, ..request() };
        let claims = granted_to(&invoker("INV"), Some(&both()), &request).unwrap();
        assert_eq!(claims.scope, granted);
        let audience = audience.into_iter().map(str::to_owned).collect();
        assert_eq!(claims.aud, Some(audience), "{scope:?}");
    }
}

/// RFC 6749 section 5.2: a scope that is malformed, unknown or beyond what was granted is refused whole, not cut down.
#[test]
fn scopes_that_are_refused() {
    let long = format!("3gpp#AEF1:{}", "x".repeat(10_000));
    let cases = [
        "",
        " ",
        "3gpp#",
        "3gpp#AEF1",
        "3gpp#AEF1:",
        "3gpp#:weather",
        "3gpp#AEF1:weather,",
        "3gpp#AEF1:weather;",
        "3gpp#AEF1:weather;;AEF2:weather",
        "3gpp#AEF1:wea\nther",
        long.as_str(),
        "3gpp#AEF9:weather",
        "3gpp#AEF1:news",
        "3gpp#AEF2:traffic",
        "3gpp#AEF1:maps",
        "3gpp#AEF1:weather,maps",
        "3gpp#AEF1:weather;AEF2:traffic",
        "3gpp#AEF1:Weather",
        "3gpp#aef1:weather",
        "3gpp#AEF1:weather openid",
        "3gpp#3gpp#AEF1:weather",
    ];
    for scope in cases {
        let request = TokenRequest {
            scope: Some(scope),
            ..request()
        };
        let refusal = granted_to(&invoker("INV"), Some(&both()), &request).unwrap_err();
        assert!(
            matches!(&refusal, TokenRefusal::InvalidScope(reason) if !reason.contains("news")),
            "{scope}: {refusal:?}"
        );
    }
}

/// TS 33.122 clauses 6.5.2.3 and 6.7: a token is for APIs that go by Method 3 at their AEF as things stand, within the invoker's
/// reach. One that takes Method 2 alone is in no token, though its AEF's entry selected Method 3 before it was published.
#[test]
fn a_token_is_for_what_goes_by_method_3_now() {
    let aef1 = || context("INV", vec![entry_at("AEF1", Some(Oauth))]);
    let weather = || profile("AEF1", &[Oauth]);
    type Case<'a> = (&'a str, Invoker, SecurityContext, Vec<ServiceApi>, &'a str);
    let cases: [Case<'_>; 5] = [
        (
            "as published",
            invoker("INV"),
            aef1(),
            apis(),
            "3gpp#AEF1:weather,traffic",
        ),
        (
            "one API withdrawn",
            invoker("INV"),
            aef1(),
            apis().split_off(1),
            "3gpp#AEF1:traffic",
        ),
        (
            "one API without the method now",
            invoker("INV"),
            aef1(),
            vec![
                api("A1", "weather", &[weather()]),
                api("A2", "traffic", &[profile("AEF1", &[Pki])]),
            ],
            "3gpp#AEF1:weather",
        ),
        (
            "one API out of reach",
            invoker_within("INV", names(&["traffic", "maps"])),
            aef1(),
            apis(),
            "3gpp#AEF1:traffic",
        ),
        (
            "one entry with another method",
            invoker("INV"),
            context(
                "INV",
                vec![
                    entry_for("AEF1", "A1", Pki),
                    entry_for("AEF1", "A2", Oauth),
                    entry_for("AEF2", "A1", Oauth),
                ],
            ),
            apis(),
            "3gpp#AEF1:traffic;AEF2:weather",
        ),
    ];
    for (case, invoker, context, apis, scope) in cases {
        let claims = grant(
            &request(),
            &invoker,
            Some(&context),
            apis.iter(),
            &policy(&[Oauth]),
            terms(600),
            &now(),
        );
        assert_eq!(claims.unwrap().scope, scope, "{case}");
    }
}

/// An API is in a token once, also when several entries grant it.
#[test]
fn an_api_is_in_a_token_once() {
    let twice = context(
        "INV",
        vec![
            entry_at("AEF1", Some(Oauth)),
            entry_for("AEF1", "A1", Oauth),
            entry_at("AEF1", Some(Oauth)),
        ],
    );
    let claims = granted_to(&invoker("INV"), Some(&twice), &request()).unwrap();
    assert_eq!(claims.scope, "3gpp#AEF1:weather,traffic");
}

/// Each refusal says what to do and repeats nothing of the request.
#[test]
fn refusals_speak() {
    let cases = [
        (
            TokenRefusal::InvalidRequest("one reason".to_owned()),
            "one reason",
        ),
        (TokenRefusal::InvalidClient, "one onboarded API invoker"),
        (
            TokenRefusal::UnauthorizedClient("two reasons".to_owned()),
            "two reasons",
        ),
        (TokenRefusal::UnsupportedGrantType, "client_credentials"),
        (
            TokenRefusal::InvalidScope("three reasons".to_owned()),
            "three reasons",
        ),
    ];
    for (refusal, text) in cases {
        assert!(refusal.to_string().contains(text), "{refusal}");
    }
}

//! Which tokens are bound to the invoker's certificate (D-29, RFC 8705 section 3).

use super::*;

/// `weather` on an interface that wants mutual TLS, `traffic` on one that does not, at two AEFs.
fn published() -> Vec<ServiceApi> {
    let mut wanting = profile_with("AEF1", &[Oauth], &[("a.example", &[])]);
    for interface in wanting.interface_descriptions.iter_mut().flatten() {
        interface.extra = vendor(serde_json::json!({ "oauthMutualTls": true }));
    }
    vec![
        api("A1", "weather", &[wanting]),
        api("A2", "traffic", &[profile("AEF2", &[Oauth])]),
    ]
}

fn confirmed(scope: Option<&str>, certificate_bound: bool) -> Option<String> {
    let request = TokenRequest { scope, ..request() };
    let policy = Policy {
        certificate_bound_tokens: certificate_bound,
        ..policy(&[Oauth])
    };
    let (inv, apis, context) = (invoker("INV"), published(), both());
    let claims = grant(
        &request,
        &inv,
        Some(&context),
        apis.iter(),
        &policy,
        terms(600),
        &now(),
    )
    .unwrap();
    claims.cnf.map(|confirmation| confirmation.x5t_s256)
}

/// A token is bound when some interface that it opens wants it so, or the operator wants all of them so; it names the SHA-256 of
/// the certificate in use.
#[test]
fn a_token_is_bound_where_somebody_wants_it() {
    let thumbprint = "gYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYE";
    assert_eq!(invoker("INV").certificate.fingerprint, digest(0x81));
    let cases = [
        (None, false, true),
        (Some("3gpp#AEF1:weather"), false, true),
        (Some("3gpp#AEF2:traffic"), false, false),
        (Some("3gpp#AEF2:traffic;AEF1:weather"), false, true),
        (None, true, true),
        (Some("3gpp#AEF2:traffic"), true, true),
    ];
    for (scope, by_policy, bound) in cases {
        assert_eq!(
            confirmed(scope, by_policy).as_deref(),
            bound.then_some(thumbprint),
            "{scope:?} {by_policy}"
        );
    }
}

/// Claims without a confirmation do not name the member at all.
#[test]
fn an_unbound_token_says_nothing_of_it() {
    let claims = granted_to(&invoker("INV"), Some(&both()), &request()).unwrap();
    let text = serde_json::to_value(claims).unwrap();
    assert_eq!(text.get("cnf"), None);
}

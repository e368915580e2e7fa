//! Negotiation of security methods and access tokens (TS 33.122 clauses 6.3 and 6.5.2.3).

use std::sync::Arc;

use capif_client::{Error, ErrorKind, Invoker, Wish};
use capif_spec::{
    common::{AefId, ServiceApiId},
    publish_service::SecurityMethod,
    security::Scope,
};
use serde_json::json;
use time::Duration;

use crate::world::{AEF, API_ID, INVOKER, SECRET, World, answer, problem, usual};

const CONTEXT: &str = "/capif-security/v1/trustedInvokers/invoker-1";
const UPDATE: &str = "/capif-security/v1/trustedInvokers/invoker-1/update";
const TOKEN: &str = "/capif-security/v1/securities/invoker-1/token";

fn wish(aef: &str, api: Option<&str>, preferred: &[SecurityMethod]) -> Wish {
    Wish {
        aef_id: AefId::from(aef),
        api_id: api.map(ServiceApiId::from),
        preferred: preferred.to_vec(),
        profile: None,
    }
}

fn scope(api: &str) -> Scope {
    Scope {
        grants: vec![(AefId::from(AEF), vec![api.to_owned()])],
    }
}

#[tokio::test]
async fn the_first_negotiation_makes_the_context_and_later_ones_update_it() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    assert_eq!(invoker.security_context(), None);
    world.ccf.forget();
    let agreed = invoker.negotiate(&[wish(AEF, None, &[])]).await.unwrap();
    assert_eq!(
        agreed.security_info[0].sel_security_method,
        Some(SecurityMethod::Oauth)
    );
    assert_eq!(invoker.security_context(), Some(agreed));
    let seen = &world.ccf.seen()[0];
    assert!(seen.is("PUT", CONTEXT));
    assert_eq!(seen.peer.as_deref(), Some(INVOKER));
    let sent = seen.json();
    // PKI before OAUTH before PSK, and no feature that is not needed.
    assert_eq!(
        sent["securityInfo"],
        json!([{ "aefId": AEF, "prefSecurityMethods": ["PKI", "OAUTH", "PSK"] }])
    );
    assert_eq!(sent.get("supportedFeatures"), None);
    assert_eq!(
        sent["notificationDestination"],
        "https://api-invoker.invalid/"
    );

    // Another AEF, one API there: the first wish is repeated, since a request replaces the context.
    invoker
        .negotiate(&[wish("aef-2", Some(API_ID), &[SecurityMethod::Pki])])
        .await
        .unwrap();
    let sent = world.ccf.seen()[1].json();
    assert!(world.ccf.seen()[1].is("POST", UPDATE));
    assert_eq!(
        sent["securityInfo"],
        json!([
            { "aefId": "aef-2", "apiId": API_ID, "prefSecurityMethods": ["PKI"] },
            { "aefId": AEF, "prefSecurityMethods": ["PKI", "OAUTH", "PSK"] },
        ])
    );
    assert_eq!(sent["supportedFeatures"], "4");

    // A later process knows all of it.
    let again = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
    assert_eq!(again.security_context().unwrap().security_info.len(), 2);
}

#[tokio::test]
async fn a_context_that_the_ccf_lost_is_made_again() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    invoker.negotiate(&[wish(AEF, None, &[])]).await.unwrap();
    world.facts.lock().unwrap().context = false;
    world.ccf.forget();
    invoker.negotiate(&[wish(AEF, None, &[])]).await.unwrap();
    let asked: Vec<_> = world
        .ccf
        .seen()
        .iter()
        .map(|seen| seen.path.clone())
        .collect();
    assert_eq!(asked, [UPDATE, CONTEXT]);
}

#[tokio::test]
async fn an_aef_of_former_times_does_not_stand_in_the_way() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    invoker
        .negotiate(&[wish("aef-gone", None, &[])])
        .await
        .unwrap();
    let facts = Arc::clone(&world.facts);
    world.unusual(move |seen| {
        Some(
            if String::from_utf8_lossy(&seen.body).contains("aef-gone") {
                problem(403, "no API of this invoker is exposed by AEF `aef-gone`")
            } else {
                usual(&facts, seen)
            },
        )
    });
    let agreed = invoker.negotiate(&[wish(AEF, None, &[])]).await.unwrap();
    assert_eq!(agreed.security_info.len(), 1);
    assert_eq!(agreed.security_info[0].aef_id, Some(AefId::from(AEF)));
    // A refusal of the wish itself is not hidden.
    let error = invoker
        .negotiate(&[wish("aef-gone", None, &[])])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
}

#[tokio::test]
async fn what_this_client_cannot_do_is_never_wished_for() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    world.ccf.forget();
    let wishes = [wish(
        AEF,
        None,
        &[SecurityMethod::Oauth, SecurityMethod::from("NEW")],
    )];
    let error = invoker.negotiate(&wishes).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    assert!(error.to_string().contains("NEW"), "{error}");
    assert_eq!(
        invoker.negotiate(&[]).await.unwrap_err().kind(),
        ErrorKind::Usage
    );
    assert!(world.ccf.seen().is_empty());
}

#[tokio::test]
async fn two_processes_do_not_undo_each_others_wishes() {
    let world = World::new().await;
    let one = world.onboarded().await;
    let other = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
    one.negotiate(&[wish("aef-1", None, &[])]).await.unwrap();
    other.negotiate(&[wish("aef-2", None, &[])]).await.unwrap();
    let third = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
    assert_eq!(third.security_context().unwrap().security_info.len(), 2);
}

#[tokio::test]
async fn a_token_is_fetched_over_mutual_tls_with_the_secret_and_kept() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    world.ccf.forget();
    let token = invoker.token(&scope("weather")).await.unwrap();
    assert_eq!(token.access_token.expose(), "token-1");
    let seen = &world.ccf.seen()[0];
    assert!(seen.is("POST", TOKEN));
    assert_eq!(seen.peer.as_deref(), Some(INVOKER));
    assert_eq!(
        seen.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    let form = seen.form();
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(form["client_id"], INVOKER);
    assert_eq!(form["client_secret"], SECRET);
    assert_eq!(form["scope"], "3gpp#aef-1:weather");
    assert_eq!(form.len(), 4);

    // Kept until 30 seconds before its end, per scope.
    world.clock.advance(Duration::seconds(569));
    let token = invoker.token(&scope("weather")).await.unwrap();
    assert_eq!(token.access_token.expose(), "token-1");
    let token = invoker.token(&scope("traffic")).await.unwrap();
    assert_eq!(token.access_token.expose(), "token-2");
    world.clock.advance(Duration::seconds(1));
    let token = invoker.token(&scope("weather")).await.unwrap();
    assert_eq!(token.access_token.expose(), "token-3");
    assert_eq!(world.ccf.count("POST", TOKEN), 3);
}

#[tokio::test]
async fn many_who_need_a_token_share_one() {
    let world = World::new().await;
    let invoker = Arc::new(world.onboarded().await);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let invoker = Arc::clone(&invoker);
            tokio::spawn(async move { invoker.token(&scope("weather")).await.map(drop) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(world.ccf.count("POST", TOKEN), 1);
}

#[tokio::test]
async fn negotiating_anew_drops_the_tokens() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    invoker.token(&scope("weather")).await.unwrap();
    invoker.negotiate(&[wish(AEF, None, &[])]).await.unwrap();
    let token = invoker.token(&scope("weather")).await.unwrap();
    assert_eq!(token.access_token.expose(), "token-2");
}

#[tokio::test]
async fn refusals_of_the_token_endpoint_keep_their_form() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    for (status, code, kind) in [
        (400, "invalid_scope", ErrorKind::Refused),
        (400, "invalid_request", ErrorKind::Refused),
        (401, "invalid_client", ErrorKind::Authentication),
        (400, "something_new\u{1b}[2J", ErrorKind::Refused),
    ] {
        world.unusual(move |_| {
            Some(answer(
                status,
                &json!({ "error": code, "error_description": "because" }),
            ))
        });
        let error = invoker.token(&scope("weather")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let Error::TokenRefused { error: refusal, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(refusal.error.to_string(), code);
        let text = error.to_string();
        assert!(text.contains("because"), "{text}");
        assert!(
            !text.contains(char::is_control) && !text.contains(SECRET),
            "{text:?}"
        );
    }
    // Anything else that goes wrong has the form of all other refusals.
    world.unusual(|_| Some(problem(429, "too many")));
    let error = invoker.token(&scope("weather")).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}

/// Who comes too soon, or at a busy time, comes again when it was told to; not if that is far off.
#[tokio::test]
async fn who_is_asked_to_come_again_soon_does() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    for status in [429, 503] {
        let mut turned_away = false;
        world.ccf.forget();
        world.unusual(move |_| {
            let again = std::mem::replace(&mut turned_away, true);
            (!again).then(|| problem(status, "later").with("retry-after", "1"))
        });
        let api = format!("api-{status}");
        invoker.token(&scope(&api)).await.unwrap();
        assert_eq!(world.ccf.count("POST", TOKEN), 2, "{status}");
    }
    for after in [
        "60",
        "18446744073709551615",
        "Fri, 01 Jan 2100 00:00:00 GMT",
        "-1",
    ] {
        world.ccf.forget();
        world.unusual(move |_| Some(problem(429, "later").with("retry-after", after)));
        let error = invoker.token(&scope("weather")).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert_eq!(world.ccf.count("POST", TOKEN), 1, "{after}");
    }
}

#[tokio::test]
async fn unusable_tokens_are_refused() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    for body in [
        json!({ "access_token": "a b", "token_type": "Bearer", "expires_in": 600 }),
        json!({ "access_token": "a\r\nb: c", "token_type": "Bearer", "expires_in": 600 }),
        json!({ "access_token": "", "token_type": "Bearer", "expires_in": 600 }),
        json!({ "access_token": "a", "token_type": "mac", "expires_in": 600 }),
        json!({ "access_token": "a", "token_type": "Bearer" }),
        json!({ "access_token": "a", "token_type": "Bearer", "expires_in": -1 }),
    ] {
        let text = body.to_string();
        world.unusual(move |_| Some(answer(200, &body)));
        let error = invoker.token(&scope("weather")).await.unwrap_err();
        assert!(matches!(error, Error::BadAnswer { .. }), "{text}: {error}");
    }
}

#[tokio::test]
async fn a_token_without_end_or_with_hardly_any_does_no_harm() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    for (life, fetched) in [(u64::MAX, 1), (30, 2), (0, 2)] {
        world.unusual(move |_| {
            Some(answer(
                200,
                &json!({ "access_token": "a", "token_type": "Bearer", "expires_in": life }),
            ))
        });
        world.ccf.forget();
        let api = format!("api-{life}");
        invoker.token(&scope(&api)).await.unwrap();
        invoker.token(&scope(&api)).await.unwrap();
        assert_eq!(world.ccf.count("POST", TOKEN), fetched, "{life}");
    }
}

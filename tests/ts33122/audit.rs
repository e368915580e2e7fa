//! The audit trail (P-13): what has a record and what has none, here; whether a trail that was touched is found out, in
//! [`tampering`].

mod tampering;

use std::time::Duration;

use capif_ccf::api::operations::{CallerKind, OPERATIONS, Operation};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    support::{
        World, eventually, keys,
        people::{INVOKERS, REGISTRATIONS, enrolment, function, registration},
        wire::Answer,
    },
    ts29222::scene::{Choice, Scene},
};

/// What writes and has no record: reports that are kept as what they are, and too many of them (docs/OPERATIONS.md).
const WITHOUT: [&str; 3] = [
    "CreateLogEntServAPIInv",
    "AskForAllowance",
    // It asks, though it is a POST.
    "IntrospectAccessToken",
];

/// What takes away what others need comes last, in this order; a token comes first, as long as it is to be had.
const LAST: [&str; 6] = [
    "DeleteIndEventSubsc",
    "DeleteAuthIndAPIInvForAPIs",
    "DeleteSecIndTrustedAPIInv",
    "DeleteIndAPFPubAPI",
    "DeleteIndOnboardedAPIInvoker",
    "DeleteIndApiProvDomainRegist",
];

/// The records of the trail, in order.
async fn trail(world: &World) -> Vec<Value> {
    let mut records = Vec::new();
    let mut after = 0;
    loop {
        let (status, page) = world
            .operator(Method::GET, &format!("/audit?after={after}"), None)
            .await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let Some(last) = page.as_array().unwrap().last() else {
            return records;
        };
        after = last["sequence"].as_u64().unwrap();
        records.extend(
            page.as_array()
                .unwrap()
                .iter()
                .map(|one| one["record"].clone()),
        );
    }
}

/// The records since there were this many, but for those of the core function's own tasks.
async fn since(world: &World, before: usize) -> Vec<Value> {
    let mut records = trail(world).await.split_off(before);
    records.retain(|record| record["actor"] != "core function");
    records
}

/// What secrets are in an answer, and in the request before it.
fn secrets(answer: &Value, found: &mut Vec<String>) {
    match answer {
        Value::Object(members) => {
            for (name, value) in members {
                let secret = [
                    "onboardingSecret",
                    "access_token",
                    "credential",
                    "token",
                    "regSec",
                ];
                match value.as_str() {
                    Some(text) if secret.contains(&name.as_str()) => found.push(text.to_owned()),
                    _ => secrets(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| secrets(value, found)),
        _ => {}
    }
}

/// P-13, R-U-08: each operation that changes something has exactly one record by the time of its answer, which names who, what, whom and
/// the request; one that reads has none. No record holds anything secret that went over the wire.
#[tokio::test]
async fn every_change_has_one_record_before_its_answer() {
    let world = World::start().await;
    let scene = Scene::new(&world, ["one", "two"]).await;
    let everybody = scene.everybody();
    let mut operations: Vec<&Operation> = OPERATIONS.iter().collect();
    operations.sort_by_key(|one| {
        let last = LAST.iter().position(|last| *last == one.id);
        (last.map_or(0, |at| at + 1), one.id != "GetOAuthIndAPIInv")
    });
    let mut wire = Vec::new();
    let mut recorded = 0;
    for operation in operations {
        let id = operation.id;
        if id == "DeleteSecIndTrustedAPIInv" {
            // What was taken before comes back, so that there is something to take.
            let aef = &scene.domains[0].aef.id;
            scene.invokers[0].negotiate(aef, &["OAUTH"]).await;
        }
        let credential = match operation.callers {
            [CallerKind::OnboardingCredential] => world.credential(&[]).await,
            [CallerKind::RegistrationCredential] => world.registration_credential("third").await,
            _ => String::new(),
        };
        let before = trail(&world).await.len();
        let (actor, answer): (String, Answer) = match operation.callers {
            [CallerKind::OnboardingCredential] => {
                let body = enrolment(&keys::request(&keys::p256()));
                (
                    "anonymous".to_owned(),
                    world.onboard(&credential, &body).await,
                )
            }
            [CallerKind::RegistrationCredential] => {
                let functions = [function("AMF", &keys::request(&keys::p256()))];
                let answer = world.register(&credential, &functions).await;
                ("anonymous".to_owned(), answer)
            }
            kinds => {
                let who = everybody
                    .iter()
                    .find(|who| who.kind.is_some_and(|kind| kinds.contains(&kind)))
                    .unwrap_or(&everybody[0]);
                let mut request = scene.request(operation, who, Choice::Own);
                if id == "UpdateIndOnboardedAPIInvoker" {
                    // What leaves everything as it was has no record.
                    let mut body: Value = serde_json::from_slice(request.body()).unwrap();
                    body["apiInvokerInformation"] = json!("other");
                    body["supportedFeatures"] = json!("C");
                    *request.body_mut() = body.to_string().into_bytes();
                }
                if let Ok(body) = serde_json::from_slice(request.body()) {
                    secrets(&body, &mut wire);
                }
                let role = match who.kind {
                    Some(CallerKind::Aef) => "AEF",
                    Some(CallerKind::Apf) => "APF",
                    Some(CallerKind::Amf) => "AMF",
                    _ => "API_INVOKER",
                };
                (
                    format!("{role} {}", who.id),
                    who.send(&world, operation, request).await,
                )
            }
        };
        wire.push(credential);
        secrets(&answer.json(), &mut wire);
        let new = since(&world, before).await;
        // Nobody asked for a WebSocket.
        let open = answer.status.is_success() || id == "OpenWebSocket";
        assert!(open, "{id}: {:?}", answer.json());
        if operation.method == Method::GET || WITHOUT.contains(&id) {
            assert_eq!(new, Vec::<Value>::new(), "{id}");
            continue;
        }
        assert_eq!(new.len(), 1, "{id}: {new:?}");
        let record = &new[0];
        assert_eq!(record["operation"], id);
        assert_eq!(record["actor"], actor.as_str());
        assert_eq!(record["outcome"], "done");
        let request_id = answer.headers["x-request-id"].to_str().unwrap();
        assert_eq!(record["requestId"], request_id, "{id}");
        let subject = record["subject"].as_str().unwrap_or_default();
        assert!(subject.len() > 30, "{id}: {record}");
        recorded += 1;
    }
    assert!(recorded >= 19, "{recorded}");
    wire.extend(
        scene
            .invokers
            .iter()
            .filter_map(|invoker| invoker.secret.clone()),
    );
    wire.retain(|secret| !secret.is_empty());
    assert!(wire.len() > 6, "{wire:?}");
    let text = Value::from(trail(&world).await).to_string();
    for secret in wire {
        assert!(!text.contains(&secret), "{secret} stands in the trail");
    }
}

/// The operator's acts have a record each, also those that only hand something out.
#[tokio::test]
async fn every_act_of_the_operator_has_one_record() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let api = domain.publish("weather", &["OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
    let tomorrow = time::OffsetDateTime::from_unix_timestamp(world.now() + 86_400).unwrap();
    let tomorrow = capif_spec::common::DateTime(tomorrow).to_string();
    let policy = json!({ "api": { "id": api } });
    let id = invoker.id.as_str();
    let verdict = json!({ "invoker": id, "api": { "name": "weather" } });
    let token = "a token that the provider made up";
    let acts = [
        (
            Method::POST,
            "/providers".to_owned(),
            Some(json!({ "name": "other" })),
            "AddProvider",
            "other",
        ),
        (
            Method::POST,
            "/invites".to_owned(),
            Some(json!({ "apis": ["weather"] })),
            "Invite",
            "",
        ),
        (
            Method::POST,
            "/credentials".to_owned(),
            Some(json!({ "token": token, "expires": tomorrow })),
            "HandOverCredential",
            "",
        ),
        (
            Method::POST,
            "/policies".to_owned(),
            Some(json!({ "api": { "id": api }, "total": 5 })),
            "SetPolicy",
            &api,
        ),
        (
            Method::POST,
            "/policies/remove".to_owned(),
            Some(policy),
            "RemovePolicy",
            &api,
        ),
        (
            Method::POST,
            "/retentions".to_owned(),
            Some(json!({ "api": { "id": api }, "hours": 5 })),
            "SetLogRetention",
            &api,
        ),
        (
            Method::POST,
            "/retentions/remove".to_owned(),
            Some(json!({ "api": { "id": api } })),
            "RemoveLogRetention",
            &api,
        ),
        (
            Method::POST,
            "/operators".to_owned(),
            Some(json!({ "name": "amy", "days": 5 })),
            "AddOperator",
            "amy",
        ),
        (
            Method::DELETE,
            "/operators/amy".to_owned(),
            None,
            "RemoveOperator",
            "amy",
        ),
        (
            Method::POST,
            "/revocations".to_owned(),
            Some(verdict.clone()),
            "Revoke",
            id,
        ),
        (
            Method::POST,
            "/permissions".to_owned(),
            Some(verdict),
            "Permit",
            id,
        ),
        (
            Method::DELETE,
            format!("/invokers/{id}"),
            None,
            "Offboard",
            id,
        ),
        (
            Method::DELETE,
            format!("/providers/{}", domain.id),
            None,
            "RemoveProvider",
            domain.id.as_str(),
        ),
    ];
    let mut wire = vec![token.to_owned()];
    for (method, path, body, operation, subject) in acts {
        let before = trail(&world).await.len();
        let (status, answer) = world.operator(method, &path, body).await;
        assert!(status.is_success(), "{path}: {answer}");
        secrets(&answer, &mut wire);
        let new = since(&world, before).await;
        assert_eq!(new.len(), 1, "{path}: {new:?}");
        assert_eq!(new[0]["operation"], operation);
        assert_eq!(new[0]["actor"], "operator");
        assert_eq!(new[0]["subject"].as_str().unwrap_or_default(), subject);
        assert!(
            new[0]["requestId"]
                .as_str()
                .is_some_and(|id| id.len() == 32)
        );
    }
    let before = trail(&world).await.len();
    for list in [
        "invokers",
        "providers",
        "apis",
        "contexts",
        "events",
        "policies",
        "alarms",
        "audit",
    ] {
        world.list(list).await;
    }
    assert_eq!(since(&world, before).await, Vec::<Value>::new());
    let text = Value::from(trail(&world).await).to_string();
    assert!(wire.len() > 2);
    for secret in wire {
        assert!(!text.contains(&secret), "{secret} stands in the trail");
    }
}

/// Who tries what is not theirs, or cannot prove who they are, is recorded; mistakes of form are not.
#[tokio::test]
async fn refusals_that_matter_have_a_record() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let gone = world.raw_invoker(&[]).await;
    invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
    let (status, _) = world
        .operator(Method::DELETE, &format!("/invokers/{}", gone.id), None)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let used = world.credential(&[]).await;
    world.raw_invoker_by(&used, &[]).await;
    let body = || enrolment(&keys::request(&keys::p256()));
    let before = trail(&world).await.len();

    let mut expected = Vec::new();
    world.onboard("no.such.credential", &body()).await;
    expected.push((
        "anonymous",
        "CreateOnboardedAPIInvoker",
        "",
        "credential refused",
    ));
    world.onboard(&used, &body()).await;
    expected.push((
        "anonymous",
        "CreateOnboardedAPIInvoker",
        "",
        "credential used before",
    ));
    world
        .register(&used, &[function("AMF", &keys::request(&keys::p256()))])
        .await;
    expected.push(("anonymous", "CreateApiProvRegist", "", "credential refused"));
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &invoker.id),
        ("client_secret", "a guess"),
    ];
    let answer = invoker.caller.form(&invoker.token_path(), &form).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let me = format!("API_INVOKER {}", invoker.id);
    expected.push((
        &me,
        "GetOAuthIndAPIInv",
        &invoker.id,
        "client secret or id wrong",
    ));
    let theirs = world.with_certificate(&gone.pems);
    theirs
        .json(Method::DELETE, &format!("{INVOKERS}/{}", gone.id), None)
        .await;
    expected.push((
        "unknown",
        "DeleteIndOnboardedAPIInvoker",
        &gone.id,
        "certificate of nobody known",
    ));
    invoker.delete(&domain.path()).await;
    expected.push((
        &me,
        "DeleteIndApiProvDomainRegist",
        &domain.id,
        "role not allowed",
    ));
    invoker
        .delete(&format!("{INVOKERS}/{}", domain.aef.id))
        .await;
    expected.push((
        &me,
        "DeleteIndOnboardedAPIInvoker",
        &domain.aef.id,
        "id not the caller's",
    ));

    let new = since(&world, before).await;
    let told: Vec<_> = new
        .iter()
        .map(|record| {
            assert_eq!(record["outcome"], "refused");
            let text = |name: &str| record[name].as_str().unwrap_or_default();
            let what = text("detail").split(';').next().unwrap();
            assert!(text("detail").contains("from 127.0.0.1:"), "{record}");
            (text("actor"), text("operation"), text("subject"), what)
        })
        .collect();
    assert_eq!(told, expected);
    assert!(
        new[4]["detail"]
            .as_str()
            .unwrap()
            .ends_with(&format!("certificate of {}", gone.id))
    );
    let text = Value::from(trail(&world).await).to_string();
    for secret in ["no.such.credential", &used, "a guess"] {
        assert!(!text.contains(secret));
    }

    let before = trail(&world).await.len();
    let nothing = json!({});
    world
        .anonymous()
        .json(Method::POST, INVOKERS, Some(&nothing))
        .await;
    world
        .anonymous()
        .json(Method::POST, REGISTRATIONS, Some(&registration("", &[])))
        .await;
    domain.apf.post(&domain.apis(), &nothing).await;
    domain.apf.get(&format!("{}/API0", domain.apis())).await;
    world.anonymous().json(Method::GET, "/nothing", None).await;
    assert_eq!(since(&world, before).await, Vec::<Value>::new());
}

/// A flood of refusals fills neither the trail nor the time of others: twenty in a second have a record, the rest is counted in
/// one, and nobody waits for that.
#[tokio::test]
async fn a_flood_of_refusals_is_counted() {
    let world = World::start().await;
    let invoker = world.raw_invoker(&[]).await;
    let before = trail(&world).await.len();
    let begun = std::time::Instant::now();
    for _ in 0..60 {
        let answer = invoker.delete(&format!("{INVOKERS}/INV0")).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(
        since(&world, before).await.len(),
        20,
        "the clock stands still"
    );
    let counted = || async {
        let mut records = trail(&world).await;
        records.retain(|record| record["operation"] == "SuppressRefusals");
        let number = |record: &Value| {
            let detail = record["detail"].as_str().unwrap();
            detail.split(' ').next().unwrap().parse::<u32>().unwrap()
        };
        records.iter().map(number).sum::<u32>() == 40
    };
    eventually("the rest is counted", counted).await;
    world.clock.advance(time::Duration::seconds(1));
    invoker.delete(&format!("{INVOKERS}/INV0")).await;
    assert_eq!(since(&world, before).await.len(), 21);
}

/// Tokens are left out where the operator wants it so; everything else is not.
#[tokio::test]
async fn tokens_can_be_left_out() {
    let world = World::with(|config| config.audit.tokens = false).await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let before = trail(&world).await.len();
    invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
    assert_eq!(invoker.token(None).await.status, StatusCode::OK);
    let new = since(&world, before).await;
    assert_eq!(new.len(), 1);
    assert_eq!(new[0]["operation"], "CreateSecIndTrustedAPIInv");
}

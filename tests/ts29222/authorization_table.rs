//! Every operation × every kind of caller × whose id it names (P-20, P-21, P-22; TS 29.222 clause 10.2; R-4-10). What is expected
//! comes from the table that the router is made of; a second list, written by hand, holds the table itself.

use std::collections::BTreeMap;

use capif_ccf::api::operations::{CallerKind, OPERATIONS, Operation, PathOwner};
use capif_transport::Clock;
use http::StatusCode;
use rcgen::CertificateParams;
use serde_json::Value;

use super::scene::{Choice, Scene, Who};
use crate::support::{
    World,
    certificates::{forged, issuing},
    people::Party,
    wire::Answer,
};

/// Who may call what, word for word: a change of the table is a change here, on purpose.
const CALLERS: &str = "
    CreateOnboardedAPIInvoker    POST   onboarding credential
    UpdateIndOnboardedAPIInvoker PUT    invoker itself
    ModifyIndOnboardedAPIInvoker PATCH  invoker itself
    DeleteIndOnboardedAPIInvoker DELETE invoker itself
    CreateApiProvRegist          POST   registration credential
    UpdateIndApiProvDomainRegist PUT    AMF
    ModifyIndApiProvDomainRegist PATCH  AMF
    DeleteIndApiProvDomainRegist DELETE AMF
    CreateAPFPubAPIs             POST   APF itself
    GetAPFPubAPIs                GET    APF itself
    GetIndAPFPubAPI              GET    APF itself
    UpdateIndAPFPubAPI           PUT    APF itself
    ModifyIndAPFPubAPI           PATCH  APF itself
    DeleteIndAPFPubAPI           DELETE APF itself
    GetPubServAPIs               GET    invoker
    GetServAPIs                  GET    anyone
    CreateEventSubsc             POST   invoker AEF APF AMF itself
    UpdateIndEventSubsc          PUT    invoker AEF APF AMF itself
    ModifyIndEventSubsc          PATCH  invoker AEF APF AMF itself
    DeleteIndEventSubsc          DELETE invoker AEF APF AMF itself
    CreateSecIndTrustedAPIInv    PUT    invoker itself
    UpdateSecContIndAPIInv       POST   invoker itself
    GetSecIndTrustedAPIInv       GET    AEF
    DeleteSecIndTrustedAPIInv    DELETE AEF
    DeleteAuthIndAPIInvForAPIs   POST   AEF
    GetOAuthIndAPIInv            POST   invoker
    GetAccContPolList            GET    AEF
    CreateLogEntServAPIInv       POST   AEF itself
    GetAPIInvLogs                GET    AMF
    GetAPIRouteInfo              GET    AEF
    AccessTokenKeys              GET    anyone
    IntrospectAccessToken        POST   AEF
    AuthorizationServerMetadata  GET    anyone
    HandOverOnboardingCredential POST   AMF
    AskForAllowance              POST   AEF
    GetRenewalStatus             GET    invoker AEF APF AMF itself
    OpenWebSocket                GET    invoker AEF APF AMF itself
";

fn word(kind: CallerKind) -> &'static str {
    match kind {
        CallerKind::Anyone => "anyone",
        CallerKind::OnboardingCredential => "onboarding credential",
        CallerKind::RegistrationCredential => "registration credential",
        CallerKind::Invoker => "invoker",
        CallerKind::Aef => "AEF",
        CallerKind::Apf => "APF",
        CallerKind::Amf => "AMF",
    }
}

/// P-21: the table is the one that was agreed on: 30 operations of TS 29.222 and five of our own.
#[test]
fn the_table_is_the_one_agreed_on() {
    let table: Vec<String> = OPERATIONS
        .iter()
        .map(|operation| {
            let mut words: Vec<&str> = operation.callers.iter().map(|kind| word(*kind)).collect();
            if operation.owner == PathOwner::Caller {
                words.push("itself");
            }
            format!("{} {} {}", operation.id, operation.method, words.join(" "))
        })
        .collect();
    let agreed: Vec<String> = CALLERS
        .trim()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(table, agreed);
    assert_eq!(OPERATIONS.len(), 37);
}

/// What a cell of the table answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Served,
    Refused(StatusCode),
}

fn expected(operation: &Operation, who: &Who, choice: Choice) -> Expected {
    let refused = |status: StatusCode| Expected::Refused(status);
    let callers = operation.callers;
    if callers.contains(&CallerKind::Anyone) {
        return Expected::Served;
    }
    let Some(kind) = who.kind else {
        return refused(StatusCode::UNAUTHORIZED);
    };
    if callers.contains(&CallerKind::OnboardingCredential)
        || callers.contains(&CallerKind::RegistrationCredential)
    {
        // A certificate, whosever, is no credential.
        return refused(StatusCode::UNAUTHORIZED);
    }
    if !callers.contains(&kind) {
        return refused(StatusCode::FORBIDDEN);
    }
    if choice == Choice::Own {
        return Expected::Served;
    }
    if operation.owner == PathOwner::Caller {
        return refused(StatusCode::FORBIDDEN);
    }
    // Where the operation itself judges the id.
    match operation.id {
        "UpdateIndApiProvDomainRegist"
        | "ModifyIndApiProvDomainRegist"
        | "DeleteIndApiProvDomainRegist"
        | "HandOverOnboardingCredential"
        | "GetPubServAPIs" => refused(StatusCode::FORBIDDEN),
        // An invoker that has nothing to do with this AEF is not there for it.
        "GetSecIndTrustedAPIInv" | "DeleteSecIndTrustedAPIInv" | "DeleteAuthIndAPIInvForAPIs" => {
            refused(StatusCode::NOT_FOUND)
        }
        // Nor is an API that this AEF does not expose.
        "GetAccContPolList" | "AskForAllowance" => refused(StatusCode::NOT_FOUND),
        // Nor one that this AEF does not hide.
        "GetAPIRouteInfo" => refused(StatusCode::NOT_FOUND),
        "GetOAuthIndAPIInv" => refused(StatusCode::UNAUTHORIZED),
        "GetAPIInvLogs" => Expected::Served,
        other => panic!("{other} names an id that nobody judges"),
    }
}

fn choices(operation: &Operation) -> &'static [Choice] {
    if operation.path.contains('{') || operation.id == "GetPubServAPIs" {
        &[Choice::Own, Choice::Others, Choice::Unknown]
    } else {
        &[Choice::Own]
    }
}

/// Callers whose certificate does not count, or who have none.
async fn strangers(world: &World) -> Vec<Who> {
    let domain = world.domain("gone").await;
    let invoker = world.raw_invoker(&[]).await;
    assert_eq!(
        domain.amf.delete(&domain.path()).await.status,
        StatusCode::NO_CONTENT
    );
    let path = format!("/invokers/{}", invoker.id);
    assert_eq!(
        world.operator(http::Method::DELETE, &path, None).await.0,
        StatusCode::NO_CONTENT
    );
    let stranger = |name, party: Option<&Party>| Who {
        name,
        kind: None,
        id: party.map_or("nobody", |party| &party.id).to_owned(),
        domain: domain.id.clone(),
        secret: invoker.secret.clone().unwrap(),
        pems: party.map(|party| party.pems.clone()),
        caller: party.map_or_else(
            || world.anonymous(),
            |party| world.with_certificate(&party.pems),
        ),
    };
    vec![
        stranger("no certificate", None),
        stranger("offboarded invoker", Some(&invoker.party)),
        stranger("deregistered AEF", Some(&domain.aef)),
        stranger("deregistered APF", Some(&domain.apf)),
        stranger("deregistered AMF", Some(&domain.amf)),
    ]
}

async fn everything(world: &World) -> Vec<Vec<Value>> {
    let mut lists = Vec::new();
    for list in [
        "invokers",
        "providers",
        "apis",
        "contexts",
        "events",
        "logs",
        "policies",
    ] {
        lists.push(world.list(list).await);
    }
    lists
}

/// The words of a refusal, without what differs each time.
fn words(answer: &Answer) -> Value {
    let mut body = answer.json();
    if body.get("error").is_some() {
        return body;
    }
    answer.cause();
    body.as_object_mut().unwrap().remove("requestId");
    body
}

/// What to do, in one of these words.
const ADVICE: [&str; 6] = [
    "send it as",
    "ask the API provider or the operator",
    "connect with the certificate",
    "use the one that was issued last, or enrol again",
    "use that of the right one",
    "use the id",
];

/// Who is not let in is told for whom the operation is, what it showed, and what to do.
fn tells(operation: &Operation, who: &Who, answer: &Answer, cell: &str) {
    let body = answer.json();
    let of_token = body["error_description"].as_str();
    let text = body["detail"].as_str().or(of_token).unwrap();
    for kind in operation.callers {
        assert!(text.contains(kind.as_str()), "{cell}: {text}");
    }
    let by_credential = [
        CallerKind::OnboardingCredential,
        CallerKind::RegistrationCredential,
    ];
    let enrols = operation
        .callers
        .iter()
        .any(|kind| by_credential.contains(kind));
    let presented = match &who.pems {
        _ if enrols => "credential".to_owned(),
        None => "presented: no certificate".to_owned(),
        Some(_) => format!(" {})", who.id),
    };
    assert!(text.contains(&presented), "{cell}: {text}");
    if let Some(kind) = who.kind.filter(|_| !enrols) {
        let role = match kind {
            CallerKind::Invoker => "API_INVOKER",
            other => word(other),
        };
        let presented = format!("presented: the certificate of {role} {}", who.id);
        assert!(text.contains(&presented), "{cell}: {text}");
    }
    let advised = ADVICE.iter().any(|advice| text.contains(advice));
    assert!(advised || of_token.is_some(), "{cell}: {text}");
}

/// P-20: each cell that the table does not open is refused with the status it says, changes nothing, and tells nobody whether what
/// it names exists.
#[tokio::test]
async fn every_closed_cell_refuses() {
    let world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let mut callers = scene.everybody();
    callers.extend(strangers(&world).await);
    assert_eq!(callers.len(), 13);
    let before = everything(&world).await;
    let mut cells = 0;
    for operation in OPERATIONS {
        for who in &callers {
            let mut refusals: BTreeMap<u16, Value> = BTreeMap::new();
            for choice in choices(operation) {
                let Expected::Refused(status) = expected(operation, who, *choice) else {
                    continue;
                };
                let cell = format!("{} × {} × {choice:?}", operation.id, who.name);
                let request = scene.request(operation, who, *choice);
                let answer = who.send(&world, operation, request).await;
                assert_eq!(answer.status, status, "{cell}: {}", answer.json());
                if status != StatusCode::NOT_FOUND {
                    tells(operation, who, &answer, &cell);
                }
                let words = words(&answer);
                let same = refusals
                    .entry(status.as_u16())
                    .or_insert_with(|| words.clone());
                assert_eq!(*same, words, "{cell}");
                cells += 1;
            }
        }
    }
    assert_eq!(everything(&world).await, before);
    assert!(cells > 700, "{cells}");
}

/// The other half: each cell that the table opens is served; the right callers are not locked out.
#[tokio::test]
async fn every_open_cell_serves() {
    let world = World::start().await;
    let mut scene: Option<Scene> = None;
    let mut cells = 0;
    for (round, operation) in OPERATIONS.iter().enumerate() {
        let names = [format!("acme-{round}"), format!("umbrella-{round}")];
        let present = match scene.take() {
            Some(scene) => scene,
            None => Scene::new(&world, [&names[0], &names[1]]).await,
        };
        for who in present.everybody() {
            for choice in choices(operation) {
                if expected(operation, &who, *choice) != Expected::Served {
                    continue;
                }
                let cell = format!("{} × {} × {choice:?}", operation.id, who.name);
                let answer = who
                    .caller
                    .send(present.request(operation, &who, *choice))
                    .await;
                if operation.id == "OpenWebSocket" {
                    // Nobody here has asked for one: what opens is shown beside the delivery.
                    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{cell}");
                } else {
                    assert!(
                        answer.status.is_success(),
                        "{cell}: {} {}",
                        answer.status,
                        answer.json()
                    );
                }
                cells += 1;
            }
        }
        // What takes something away leaves nothing for the next operation.
        let takes = operation.method == http::Method::DELETE
            || operation.id == "DeleteAuthIndAPIInvForAPIs";
        scene = (!takes).then_some(present);
    }
    assert!(cells > 80, "{cells}");
    let anonymous = world.anonymous();
    let answer = anonymous
        .json(http::Method::GET, "/.well-known/jwks.json", None)
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}

/// TS 29.222 clause 10.2: a bearer credential, good as it may be, opens nothing but enrolment.
#[tokio::test]
async fn a_credential_is_no_certificate() {
    let world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let credentials = [
        world.credential(&[]).await,
        world.registration_credential("other").await,
        scene.invokers[0].token(None).await.json()["access_token"]
            .as_str()
            .unwrap()
            .to_owned(),
        String::new(),
    ];
    let before = everything(&world).await;
    for operation in OPERATIONS {
        let by_credential = [
            CallerKind::OnboardingCredential,
            CallerKind::RegistrationCredential,
            CallerKind::Anyone,
        ];
        if operation
            .callers
            .iter()
            .any(|kind| by_credential.contains(kind))
        {
            continue;
        }
        for who in scene.everybody().iter().take(4) {
            for credential in &credentials {
                let mut request = scene.request(operation, who, Choice::Own);
                let value = format!("Bearer {credential}").parse().unwrap();
                request.headers_mut().insert("authorization", value);
                let answer = world.anonymous().send(request).await;
                assert_eq!(
                    answer.status,
                    StatusCode::UNAUTHORIZED,
                    "{} {credential}",
                    operation.id
                );
                words(&answer);
            }
        }
    }
    assert_eq!(everything(&world).await, before);
}

/// B-21, P-25: a certificate that no anchor vouches for, that has expired, or that is not the one of the profile, opens nothing, at
/// any operation: there is no answer at all, or 401.
#[tokio::test]
async fn certificates_that_do_not_count_open_nothing() {
    let world = World::start().await;
    let other = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let (real, theirs) = (issuing(&world), issuing(&other));
    let before = everything(&world).await;
    let mut answered = 0;
    for who in scene.everybody().iter().take(4) {
        let name = (
            who.id.as_str(),
            who.name
                .strip_prefix("in")
                .map_or(who.name, |_| "API_INVOKER"),
        );
        let expired = |params: &mut CertificateParams| {
            params.not_before = world.clock.now() - time::Duration::days(2);
            params.not_after = world.clock.now() - time::Duration::seconds(1);
        };
        let callers = [
            (
                "another authority",
                forged(&world, Some(&theirs), name, |_| {}),
            ),
            ("self-signed", forged(&world, None, name, |_| {})),
            ("expired", forged(&world, Some(&real), name, expired)),
            ("another key", forged(&world, Some(&real), name, |_| {})),
        ]
        .map(|(what, pems)| (what, world.with_certificate(&pems), pems));
        for operation in OPERATIONS {
            if operation.is_public() {
                continue;
            }
            for (what, caller, pems) in &callers {
                let request = scene.request(operation, who, Choice::Own);
                // The session of enrolment ends with its answer.
                let enrols = operation.owner == PathOwner::None && !operation.path.contains('{');
                let own = enrols.then(|| world.with_certificate(pems));
                if let Some(answer) = own.as_ref().unwrap_or(caller).try_send(request).await {
                    let cell = format!("{} × {what} of {}", operation.id, who.name);
                    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{cell}");
                    assert_eq!(*what, "another key", "{cell}: a handshake that must fail");
                    answered += 1;
                }
            }
        }
    }
    assert!(answered > 100, "{answered}");
    assert_eq!(everything(&world).await, before);
}

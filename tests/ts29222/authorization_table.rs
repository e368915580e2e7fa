//! Who may call what: every operation × every kind of caller × the own id, another party's and one that nobody has (TS 29.222
//! clause 10.2, P-20 to P-22).

use capif_ccf::api::operations::{BodyKind, CallerKind, OPERATIONS, Operation, PathOwner};
use http::{Method, Request, StatusCode};

use crate::support::{
    World,
    people::{Domain, RawInvoker},
    wire::{Answer, Caller, request},
};

const NOBODY: &str = "INV00000000000000000000000000000000";

/// A caller with the ids by which it is known.
struct Actor {
    name: &'static str,
    kind: Option<CallerKind>,
    /// Whether its certificate still counts.
    known: bool,
    id: String,
    /// The domain of a provider function.
    domain: Option<String>,
    caller: Caller,
}

async fn actors(world: &World) -> (Vec<Actor>, RawInvoker, Domain, Domain, String) {
    let acme = world.domain("acme").await;
    let other = world.domain("other").await;
    let gone = world.domain("gone").await;
    let api = acme.publish("weather", &["PKI", "OAUTH"]).await;
    other.publish("traffic", &["PKI"]).await;
    assert_eq!(
        gone.amf.delete(&gone.path()).await.status,
        StatusCode::NO_CONTENT
    );
    let amy = world.raw_invoker(&[]).await;
    let ben = world.raw_invoker(&[]).await;
    let left = world.raw_invoker(&[]).await;
    let path = format!("/api-invoker-management/v1/onboardedInvokers/{}", left.id);
    assert_eq!(left.delete(&path).await.status, StatusCode::NO_CONTENT);

    let mut actors = vec![Actor {
        name: "no certificate",
        kind: None,
        known: true,
        id: String::new(),
        domain: None,
        caller: world.anonymous(),
    }];
    for (name, invoker, known) in [
        ("invoker", &amy, true),
        ("other invoker", &ben, true),
        ("offboarded invoker", &left, false),
    ] {
        actors.push(Actor {
            name,
            kind: Some(CallerKind::Invoker),
            known,
            id: invoker.id.clone(),
            domain: None,
            caller: world.with_certificate(&invoker.pems),
        });
    }
    for (domain, known) in [(&acme, true), (&other, true), (&gone, false)] {
        for (name, kind, party) in [
            ("AMF", CallerKind::Amf, &domain.amf),
            ("APF", CallerKind::Apf, &domain.apf),
            ("AEF", CallerKind::Aef, &domain.aef),
        ] {
            actors.push(Actor {
                name,
                kind: Some(kind),
                known,
                id: party.id.clone(),
                domain: Some(domain.id.clone()),
                caller: world.with_certificate(&party.pems),
            });
        }
    }
    (actors, amy, acme, other, api)
}

/// Sends an operation with ids in its path. The body is an empty object: whoever is let through is told what is missing.
async fn send(caller: &Caller, operation: &Operation, ids: &[&str]) -> Answer {
    let mut ids = ids.iter();
    let path: Vec<String> = operation
        .path
        .split('/')
        .map(|segment| {
            if segment.starts_with('{') {
                (*ids.next().unwrap()).to_owned()
            } else {
                segment.to_owned()
            }
        })
        .collect();
    let mut path = path.join("/");
    if operation.id == "GetPubServAPIs" {
        path = format!("{path}?api-invoker-id={}", ids.next().unwrap());
    }
    let body = serde_json::json!({});
    let request = match operation.body {
        BodyKind::None => request(operation.method.clone(), &path, None, None),
        BodyKind::Form => Request::post(&path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(b"grant_type=client_credentials".to_vec())
            .unwrap(),
        BodyKind::Json | BodyKind::MergePatch => {
            request(operation.method.clone(), &path, None, Some(&body))
        }
    };
    caller.send(request).await
}

/// Without the name that each answer has of its own.
fn comparable(answer: &Answer) -> (StatusCode, serde_json::Value) {
    let mut body = answer.json();
    if let Some(members) = body.as_object_mut() {
        members.remove("requestId");
    }
    (answer.status, body)
}

/// P-20: who may not call is refused, with 401 when it proved nothing that counts and with 403 otherwise, and what it names
/// makes no difference. Who may call is not refused for its role.
#[tokio::test]
async fn every_operation_for_every_caller() {
    let world = World::start().await;
    let (actors, amy, acme, _, api) = actors(&world).await;
    let mut cells = 0;
    for operation in OPERATIONS {
        if operation
            .callers
            .contains(&CallerKind::OnboardingCredential)
            || operation
                .callers
                .contains(&CallerKind::RegistrationCredential)
        {
            // Judged by credential, whatever the certificate: without one, each is refused alike.
            for actor in &actors {
                let answer = send(&actor.caller, operation, &[]).await;
                assert_eq!(
                    answer.status,
                    StatusCode::UNAUTHORIZED,
                    "{} as {}",
                    operation.id,
                    actor.name
                );
                cells += 1;
            }
            continue;
        }
        let anyone = operation.callers.contains(&CallerKind::Anyone);
        for actor in &actors {
            let allowed = anyone
                || (actor.known
                    && actor
                        .kind
                        .is_some_and(|kind| operation.callers.contains(&kind)));
            // The ids: one that exists and is not the caller's, and one that nobody has.
            let mut refusals = Vec::new();
            for first in [
                amy.id.as_str(),
                acme.id.as_str(),
                acme.apf.id.as_str(),
                NOBODY,
            ] {
                let own = first == actor.id || actor.domain.as_deref() == Some(first);
                if allowed && own && operation.method == Method::DELETE {
                    // It would be carried out; the clauses of the procedures have their own tests.
                    continue;
                }
                let answer = send(&actor.caller, operation, &[first, &api]).await;
                let cell = format!("{} as {} ({first})", operation.id, actor.name);
                cells += 1;
                assert!(
                    !answer.status.is_server_error()
                        || answer.status == StatusCode::NOT_IMPLEMENTED,
                    "{cell}: {}",
                    answer.status
                );
                if allowed {
                    if !own && operation.owner == PathOwner::Caller {
                        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{cell}");
                        refusals.push(comparable(&answer));
                    }
                    continue;
                }
                let expected = if actor.kind.is_some() && actor.known {
                    StatusCode::FORBIDDEN
                } else {
                    StatusCode::UNAUTHORIZED
                };
                assert_eq!(answer.status, expected, "{cell}");
                assert!(!answer.cause().is_empty(), "{cell}");
                refusals.push(comparable(&answer));
            }
            refusals.dedup();
            assert!(
                refusals.len() <= 1,
                "{} as {}: {refusals:?}",
                operation.id,
                actor.name
            );
        }
    }
    assert!(cells > 1000, "{cells} cells");
    // Nothing of all this changed anything.
    assert_eq!(world.list("invokers").await.len(), 2);
    assert_eq!(world.list("providers").await.len(), 2);
    assert_eq!(world.list("apis").await.len(), 2);
    assert!(world.list("contexts").await.is_empty());
}

/// The table is what the standard has: operations cannot be lost, and callers cannot be added, unnoticed.
#[test]
fn the_table_is_complete() {
    let callers = |id: &str| {
        OPERATIONS
            .iter()
            .find(|operation| operation.id == id)
            .unwrap_or_else(|| panic!("{id} is missing"))
            .callers
    };
    // 30 operations of TS 29.222 on the core function, and two of ours.
    assert_eq!(OPERATIONS.len(), 32);
    use CallerKind::{
        Aef, Amf, Anyone, Apf, Invoker, OnboardingCredential, RegistrationCredential,
    };
    let anyone: Vec<&str> = OPERATIONS
        .iter()
        .filter(|operation| operation.callers.contains(&Anyone))
        .map(|operation| operation.id)
        .collect();
    assert_eq!(anyone, ["GetServAPIs", "AccessTokenKeys"]);
    for (id, expected) in [
        ("CreateOnboardedAPIInvoker", &[OnboardingCredential][..]),
        ("DeleteIndOnboardedAPIInvoker", &[Invoker]),
        ("CreateApiProvRegist", &[RegistrationCredential]),
        ("UpdateIndApiProvDomainRegist", &[Amf]),
        ("DeleteIndApiProvDomainRegist", &[Amf]),
        ("CreateAPFPubAPIs", &[Apf]),
        ("DeleteIndAPFPubAPI", &[Apf]),
        ("GetPubServAPIs", &[Invoker]),
        ("CreateSecIndTrustedAPIInv", &[Invoker]),
        ("UpdateSecContIndAPIInv", &[Invoker]),
        ("GetSecIndTrustedAPIInv", &[Aef]),
        ("DeleteSecIndTrustedAPIInv", &[Aef]),
        ("DeleteAuthIndAPIInvForAPIs", &[Aef]),
        ("GetOAuthIndAPIInv", &[Invoker]),
        ("CreateLogEntServAPIInv", &[Aef]),
        ("GetAPIInvLogs", &[Amf]),
        ("HandOverOnboardingCredential", &[Amf]),
    ] {
        assert_eq!(callers(id), expected, "{id}");
    }
}

/// P-22: the functions of a domain act on its own objects only; another domain's are answered as those that nobody has.
#[tokio::test]
async fn another_domains_objects_are_answered_like_unknown_ones() {
    let world = World::start().await;
    let (_, amy, acme, other, api) = actors(&world).await;
    // An APF names another domain's API under its own id.
    for method in [Method::GET, Method::DELETE] {
        let theirs = other
            .apf
            .caller
            .json(method.clone(), &format!("{}/{api}", other.apis()), None)
            .await;
        let nobodys = other
            .apf
            .caller
            .json(method, &format!("{}/API0", other.apis()), None)
            .await;
        assert_eq!(theirs.status, StatusCode::NOT_FOUND);
        assert_eq!(comparable(&theirs), comparable(&nobodys));
    }
    // An AEF asks for an invoker that has to do with another AEF alone.
    assert_eq!(
        amy.negotiate(&acme.aef.id, &["PKI"]).await.status,
        StatusCode::CREATED
    );
    for path in ["", "?authenticationInfo=true&authorizationInfo=true"] {
        let theirs = other.aef.get(&format!("{}{path}", amy.context())).await;
        let nobodys = other
            .aef
            .get(&format!(
                "/capif-security/v1/trustedInvokers/{NOBODY}{path}"
            ))
            .await;
        assert_eq!(theirs.status, StatusCode::NOT_FOUND);
        assert_eq!(comparable(&theirs), comparable(&nobodys));
    }
    // And it revokes nothing there.
    let theirs = other.aef.delete(&amy.context()).await;
    let nobodys = other
        .aef
        .delete(&format!("/capif-security/v1/trustedInvokers/{NOBODY}"))
        .await;
    assert_eq!(theirs.status, StatusCode::NOT_FOUND);
    assert_eq!(comparable(&theirs), comparable(&nobodys));
    assert_eq!(world.list("contexts").await.len(), 1);
    // An AMF names another domain.
    let theirs = other.amf.delete(&acme.path()).await;
    let nobodys = other
        .amf
        .delete("/api-provider-management/v1/registrations/DOM0")
        .await;
    assert_eq!(theirs.status, StatusCode::FORBIDDEN);
    assert_eq!(comparable(&theirs), comparable(&nobodys));
}

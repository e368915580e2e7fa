//! What is answered when somebody has had enough (429), or wants more than there may be (403).

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{bodies, record::Record};
use crate::support::{
    World, eventually, keys,
    people::{INVOKERS, enrolment, function},
    wire::Answer,
};

pub(super) async fn every_limit(record: &Record) {
    let mut world = World::with(|config| config.limits.log_entries_max = 1).await;
    functions(&world, record).await;
    provider_certificates(&world, record).await;
    invoker_certificates(&world, record).await;
    log_entries(&mut world, record).await;
}

fn exhausted(record: &Record, id: &str, answer: &Answer) -> bool {
    record.answered(id, "without end", answer);
    let over = answer.status == StatusCode::TOO_MANY_REQUESTS;
    if over {
        assert!(answer.headers.contains_key("retry-after"), "{id}");
    }
    over
}

/// More functions than a domain may have, and one that claims an id.
async fn functions(world: &World, record: &Record) {
    let credential = world.registration_credential("many").await;
    let one = |role| function(role, &keys::request(&keys::p256()));
    let mut many: Vec<Value> = (0..64).map(|_| one("AEF")).collect();
    many.push(one("AMF"));
    let answer = world.register(&credential, &many).await;
    record.answered("CreateApiProvRegist", "too many functions", &answer);
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.json());
    let mut claimed = one("AEF");
    claimed["apiProvFuncId"] = json!("AEFsomebody");
    let answer = world.register(&credential, &[one("AMF"), claimed]).await;
    record.answered("CreateApiProvRegist", "an id of its own", &answer);
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.json());
}

/// Certificates for the functions of a domain.
async fn provider_certificates(world: &World, record: &Record) {
    let domain = world.domain("renewing").await;
    let mut details = domain.details.clone();
    for _ in 0..100 {
        let functions = details["apiProvFuncs"].as_array_mut().unwrap();
        functions.truncate(3);
        functions.extend((0..50).map(|_| function("AEF", &keys::request(&keys::p256()))));
        let body = json!({ "apiProvFuncs": functions });
        let answer = domain.amf.patch(&domain.path(), &body).await;
        if exhausted(record, "ModifyIndApiProvDomainRegist", &answer) {
            break;
        }
    }
    let answer = domain.amf.put(&domain.path(), &details).await;
    assert!(exhausted(record, "UpdateIndApiProvDomainRegist", &answer));
}

/// Certificates for an invoker.
async fn invoker_certificates(world: &World, record: &Record) {
    let key = keys::p256();
    let mut body = enrolment(&keys::request(&key));
    body["supportedFeatures"] = json!("C");
    body["vendorSpecific-capif"] = json!({ "features": ["renewal"] });
    let answer = world.onboard(&world.credential(&[]).await, &body).await;
    let invoker = world.invoker_of(&answer, &key);
    let path = format!("{INVOKERS}/{}", invoker.id);
    let renewal = |round: usize| {
        json!({
            "apiInvokerPublicKey": keys::request(&keys::p256()),
            "vendorSpecific-capif": { "renewal": format!("r{round}") },
        })
    };
    for round in 0..100 {
        let body = json!({ "onboardingInformation": renewal(round) });
        let answer = invoker.patch(&path, &body).await;
        if exhausted(record, "ModifyIndOnboardedAPIInvoker", &answer) {
            break;
        }
    }
    let mut details = invoker.details.clone();
    details.as_object_mut().unwrap().remove("apiList");
    details["onboardingInformation"] = renewal(200);
    let answer = invoker.put(&path, &details).await;
    assert!(
        exhausted(record, "UpdateIndOnboardedAPIInvoker", &answer),
        "{}",
        answer.json()
    );
}

/// Entries of a log: those that are there are counted when the core function starts.
async fn log_entries(world: &mut World, record: &Record) {
    let domain = world.domain("talking").await;
    let api = domain.publish("weather", &["PKI"]).await;
    let path = format!("/api-invocation-logs/v1/{}/logs", domain.aef.id);
    let report = bodies::log(&domain.aef.id, "INV1", &api);
    let answer = domain.aef.post(&path, &report).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    world.stop().await;
    world.resume().await;
    eventually("they are counted", || async {
        let providers = world.list("providers").await;
        let of = providers.iter().find(|row| row["name"] == "talking");
        of.unwrap()["logEntries"] == 1
    })
    .await;
    let answer = domain
        .aef
        .caller
        .json(Method::POST, &path, Some(&report))
        .await;
    assert!(exhausted(record, "CreateLogEntServAPIInv", &answer));
}

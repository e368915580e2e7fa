//! What the holder of an account enrolled, also once the account is gone: it is listed, and it can be removed.

use capif_ccf::config::Approval;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Site;
use crate::{
    support::{
        World, keys,
        people::{enrolment, function},
    },
    ts33122::s0::renewable::{VENDOR, counts, renewed},
};

/// A credential of the account's holder.
async fn fetched(site: &Site, name: &str) -> String {
    let given = site.getauth(name, "correct horse").await;
    given["access_token"].as_str().unwrap().to_owned()
}

async fn purge(world: &World, body: Value) -> (StatusCode, Value) {
    let asked = world.operator(Method::POST, "/accounts/purge", Some(body));
    asked.await
}

/// What the holder of an account enrolled is told and removed by the account's name, also once the account is gone; what others
/// enrolled stays.
#[tokio::test]
async fn leftovers_of_an_account_are_shown_and_removed() {
    let site = Site::start().await;
    let world = &site.world;
    let mut left = Vec::new();
    for name in ["ada", "eve"] {
        site.make(name, "correct horse").await;
        let token = site.getauth(name, "correct horse").await;
        let token = token["access_token"].as_str().unwrap().to_owned();
        let request = keys::request(&keys::p256());
        let onboarded = world.onboard(&token, &enrolment(&request)).await;
        let id = onboarded.json()["apiInvokerId"].clone();
        let token = site.getauth(name, "correct horse").await;
        let token = token["access_token"].as_str().unwrap().to_owned();
        let functions =
            ["AMF", "APF", "AEF"].map(|role| function(role, &keys::request(&keys::p256())));
        let registered = world.register(&token, &functions).await;
        left.push((id, registered.json()["apiProvDomId"].clone()));
    }
    let [(ada, of_ada), (eve, of_eve)] = left.try_into().unwrap();
    let by = |rows: &[Value]| {
        let mut by: Vec<Value> = rows.iter().map(|row| row["issuer"].clone()).collect();
        by.sort_by_key(Value::to_string);
        by
    };
    for what in ["invokers", "providers"] {
        let rows = world.list(what).await;
        let by = by(&rows);
        let of = |by: &Value, name: &str| {
            by.as_str()
                .unwrap()
                .starts_with(&format!("account {name} ("))
        };
        assert!(
            by.len() == 2 && of(&by[0], "ada") && of(&by[1], "eve"),
            "{what}: {by:?}"
        );
    }
    let shown = async |name: &str| {
        let path = format!("/accounts/enrolled?name={name}");
        world.operator(Method::GET, &path, None).await
    };
    let (status, rows) = shown("ada").await;
    assert_eq!(status, StatusCode::OK);
    let rows = rows.as_array().unwrap();
    let said = rows.iter().map(|row| (&row["what"], &row["id"]));
    let said: Vec<_> = said.collect();
    assert_eq!(
        said,
        [(&json!("invoker"), &ada), (&json!("provider"), &of_ada)]
    );
    let everyones = world.list("accounts/enrolled").await;
    assert_eq!(everyones.len(), 4);
    let of_eve_too = everyones.iter().filter(|row| row["account"] == "eve");
    assert_eq!(of_eve_too.count(), 2);
    assert_eq!(shown("nobody").await.0, StatusCode::NOT_FOUND);
    assert_eq!(shown("admin").await.1, json!([]));

    let name = json!({ "name": "ada" });
    let ask = async |path: &str| {
        let asked = world.operator(Method::POST, path, Some(name.clone()));
        asked.await
    };
    // Also when the account is gone already.
    assert_eq!(ask("/accounts/remove").await.0, StatusCode::OK);
    let (status, gone) = ask("/accounts/purge").await;
    assert_eq!(status, StatusCode::OK, "{gone}");
    assert_eq!(gone, json!(rows));
    assert_eq!(ask("/accounts/purge").await.0, StatusCode::NOT_FOUND);
    let invokers = world.list("invokers").await;
    let providers = world.list("providers").await;
    assert_eq!((invokers.len(), providers.len()), (1, 1));
    assert_eq!(invokers[0]["apiInvokerId"], eve);
    assert_eq!(providers[0]["apiProvDomId"], of_eve);
    let records = world.list("audit").await;
    let purged = records.iter().filter(|row| {
        let detail = row["record"]["detail"].as_str();
        detail.is_some_and(|detail| detail.starts_with("all of account ada ("))
    });
    let purged: Vec<_> = purged
        .map(|row| row["record"]["operation"].clone())
        .collect();
    assert_eq!(purged, ["Offboard", "RemoveProvider"]);
}

/// Another account of the same name inherits nothing: neither what the first one enrolled, nor its sessions. Which one's leftovers
/// are to go is asked where it is not clear.
#[tokio::test]
async fn a_name_is_not_an_account() {
    let site = Site::start().await;
    let world = &site.world;
    let mut invokers = Vec::new();
    let remove = json!({ "name": "ada" });
    for round in 0..2 {
        assert_eq!(site.make("ada", "correct horse").await.status, 201);
        let token = site.getauth("ada", "correct horse").await;
        let token = token["access_token"].as_str().unwrap();
        let body = enrolment(&keys::request(&keys::p256()));
        let onboarded = world.onboard(token, &body).await;
        invokers.push(onboarded.json()["apiInvokerId"].clone());
        if round == 0 {
            let removed = world.operator(Method::POST, "/accounts/remove", Some(remove.clone()));
            assert_eq!(removed.await.0, StatusCode::OK);
        }
    }
    let rows = world.list("accounts/enrolled?name=ada").await;
    let row_of = |id: &Value| rows.iter().find(|row| row["id"] == *id).unwrap().clone();
    let ids: Vec<Value> = invokers
        .iter()
        .map(|id| row_of(id)["accountId"].clone())
        .collect();
    assert_ne!(ids[0], ids[1]);
    let accounts = world.list("accounts").await;
    let now = accounts
        .iter()
        .find(|row| row["username"] == "ada")
        .unwrap();
    assert_eq!(now["uuid"], ids[1]);

    let (status, said) = purge(world, remove.clone()).await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
    let detail = said["detail"].as_str().unwrap();
    assert!(
        ids.iter().all(|id| detail.contains(id.as_str().unwrap())),
        "{detail}"
    );
    assert_eq!(world.list("invokers").await.len(), 2);
    let (status, gone) = purge(world, json!({ "name": "ada", "id": ids[0] })).await;
    assert_eq!(status, StatusCode::OK, "{gone}");
    assert_eq!(gone, json!([row_of(&invokers[0])]));
    let left = world.list("invokers").await;
    assert_eq!((left.len(), &left[0]["apiInvokerId"]), (1, &invokers[1]));
    // Now it is clear whose are meant.
    assert_eq!(purge(world, remove).await.1, json!([row_of(&invokers[1])]));
}

/// A purge takes along an invoker that is about to renew: neither its old certificate nor its new one is good for anything afterwards.
#[tokio::test]
async fn who_renews_is_purged_with_all_it_holds() {
    let site = Site::start().await;
    let world = &site.world;
    site.make("ada", "correct horse").await;
    let key = keys::p256();
    let mut body = enrolment(&keys::request(&key));
    body[VENDOR] = json!({ "features": ["renewal"] });
    body["supportedFeatures"] = json!("C");
    let answer = world.onboard(&fetched(&site, "ada").await, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let old = world.invoker_of(&answer, &key);
    let new = renewed(world, &old, "first").await;
    assert_ne!(new.pems.chain, old.pems.chain);

    let (status, gone) = purge(world, json!({ "name": "ada" })).await;
    assert_eq!(
        (status, gone.as_array().unwrap().len()),
        (StatusCode::OK, 1)
    );
    for party in [&old, &new] {
        assert_eq!(counts(world, party).await, StatusCode::UNAUTHORIZED);
        let asked = world.with_certificate(&party.pems);
        let path = party.token_path();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &party.id),
        ];
        let refused = asked.form(&path, &form).await.status;
        assert_eq!(refused, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.list("invokers").await.len(), 0);
    assert_eq!(world.list("renewals").await.len(), 0);
}

/// Onboardings that wait for the operator are rejected by a purge: nobody approves them later, and whoever asks again is told. Those
/// of other accounts wait on.
#[tokio::test]
async fn what_waits_for_the_operator_is_purged() {
    let site = Site::with_config(|config| config.onboarding.approval = Approval::Operator).await;
    let world = &site.world;
    for name in ["ada", "eve"] {
        assert_eq!(site.make(name, "correct horse").await.status, 201);
    }
    let mut asked = Vec::new();
    for name in ["ada", "ada", "eve"] {
        let credential = fetched(&site, name).await;
        let mut body = enrolment(&keys::request(&keys::p256()));
        body[VENDOR] = json!({ "attempt": "attempt-1" });
        let answer = world.onboard(&credential, &body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        asked.push((credential, body));
        // So that they are listed in this order.
        world.clock.advance(time::Duration::SECOND);
    }
    let rows = world.list("accounts/enrolled?name=ada").await;
    let whats: Vec<&Value> = rows.iter().map(|row| &row["what"]).collect();
    assert_eq!(whats, ["pending", "pending"]);
    let approved = json!({ "id": rows[0]["id"] });
    let approved = world
        .operator(Method::POST, "/approvals", Some(approved))
        .await;
    assert_eq!(approved.0, StatusCode::OK, "{}", approved.1);

    let (status, gone) = purge(world, json!({ "name": "ada" })).await;
    assert_eq!(status, StatusCode::OK, "{gone}");
    let whats: Vec<&Value> = gone
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["what"])
        .collect();
    assert_eq!(whats, ["invoker", "pending"]);
    assert_eq!(world.list("invokers").await.len(), 0);
    assert_eq!(world.list("accounts/enrolled?name=ada").await.len(), 0);
    let left = world.list("accounts/enrolled").await;
    assert_eq!((left.len(), &left[0]["account"]), (1, &json!("eve")));

    let late = json!({ "id": rows[1]["id"] });
    let late = world.operator(Method::POST, "/approvals", Some(late)).await;
    assert_eq!(late.0, StatusCode::NOT_FOUND, "{}", late.1);
    let (credential, body) = &asked[1];
    let told = world.onboard(credential, body).await;
    assert_eq!(told.status, StatusCode::FORBIDDEN, "{told:?}");
    // That of the one that was approved is used up, and opens nothing more.
    let (credential, body) = &asked[0];
    let again = world.onboard(credential, body).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED, "{again:?}");
    assert_eq!(world.list("invokers").await.len(), 0);
}

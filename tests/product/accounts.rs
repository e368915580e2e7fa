//! The account service: administrators make accounts, users fetch credentials with them, strangers get nothing.

mod leftovers;

use std::net::SocketAddr;

use base64::{Engine, prelude::BASE64_STANDARD};
use capif_ccf::config::Config;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    World, holds, keys,
    people::{enrolment, function},
    plain,
    process::Machine,
    reveal,
    wire::{Answer, Caller, request},
};

/// A core function with its account service.
struct Site {
    world: World,
    password: String,
}

impl Site {
    async fn start() -> Self {
        Self::with(false, None).await
    }

    async fn with(registration: bool, plaintext: Option<SocketAddr>) -> Self {
        Self::with_config(|config| {
            let section = &mut config.account_service;
            section.registration = registration;
            section.insecure_plaintext_listen = plaintext;
        })
        .await
    }

    async fn with_config(change: impl FnOnce(&mut Config)) -> Self {
        let world = World::with(|config| {
            let section = &mut config.account_service;
            section.enabled = true;
            section.listen = "127.0.0.1:0".parse().unwrap();
            change(config);
        })
        .await;
        let password = reveal(world.first_password.as_ref().unwrap()).to_owned();
        Self { world, password }
    }

    fn caller(&self) -> Caller {
        let (secure, _) = self.world.ccf().account_addrs().unwrap();
        Caller::new(&self.world, &secure.to_string(), None)
    }

    async fn ask(&self, method: &str, path: &str, by: Option<&str>, body: Option<Value>) -> Answer {
        let mut request = request(method.parse().unwrap(), path, None, body.as_ref());
        if let Some(by) = by {
            request
                .headers_mut()
                .insert("authorization", by.parse().unwrap());
        }
        self.caller().send(request).await
    }

    /// An access token of the administrator.
    async fn signed_in(&self) -> String {
        let by = basic("admin", &self.password);
        let said = self.ask("POST", "/login", Some(&by), None).await;
        assert_eq!(said.status, StatusCode::OK, "{said:?}");
        format!("Bearer {}", said.json()["access_token"].as_str().unwrap())
    }

    async fn make(&self, name: &str, password: &str) -> Answer {
        let by = self.signed_in().await;
        let user = user(name, password);
        self.ask("POST", "/createUser", Some(&by), Some(user)).await
    }

    /// What a user is given to enrol with.
    async fn getauth(&self, name: &str, password: &str) -> Value {
        let by = basic(name, password);
        let said = self.ask("GET", "/getauth", Some(&by), None).await;
        assert_eq!(said.status, StatusCode::OK, "{said:?}");
        said.json()
    }
}

fn basic(name: &str, password: &str) -> String {
    let text = BASE64_STANDARD.encode(format!("{name}:{password}"));
    format!("Basic {text}")
}

fn user(name: &str, password: &str) -> Value {
    json!({
        "username": name,
        "password": password,
        "enterprise": "acme",
        "country": "DE",
        "email": "ada@example.com",
        "purpose": "weather",
    })
}

/// The first start makes an administrator with a password that nothing keeps in the clear; later starts make none.
#[tokio::test]
async fn the_first_start_makes_an_administrator() {
    let mut site = Site::start().await;
    assert!(!holds(site.world.dir.path(), site.password.as_bytes()));
    site.signed_in().await;
    site.world.stop().await;
    site.world.resume().await;
    assert!(site.world.first_password.is_none());
    site.signed_in().await;
    // Unless it is enabled there is none.
    let without = World::start().await;
    assert!(without.ccf().account_addrs().is_none());
}

/// Generation C: an administrator makes a user, who enrols an invoker and a provider domain; each credential serves once.
#[tokio::test]
async fn users_enrol_with_what_they_fetch() {
    let site = Site::start().await;
    let world = &site.world;
    let made = site.make("ada", "correct horse").await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let uuid = made.json()["uuid"].as_str().unwrap().to_owned();
    let again = site.make("ada", "another horse").await;
    assert_eq!(again.status, StatusCode::CONFLICT);

    let given = site.getauth("ada", "correct horse").await;
    assert_eq!(given["ca_root"].as_str().unwrap(), world.root_pem());
    assert_eq!(
        given["ccf_publish_url"],
        "published-apis/v1/<apfId>/service-apis"
    );
    assert_eq!(
        given["ccf_discover_url"],
        "service-apis/v1/allServiceAPIs?api-invoker-id="
    );
    let token = given["access_token"].as_str().unwrap();
    let body = enrolment(&keys::request(&keys::p256()));
    let onboarded = world.onboard(token, &body).await;
    assert_eq!(onboarded.status, StatusCode::CREATED, "{onboarded:?}");
    assert_eq!(world.onboard(token, &body).await.status, 401, "used");
    let functions = ["AMF", "APF", "AEF"].map(|role| function(role, &keys::request(&keys::p256())));
    assert_eq!(world.register(token, &functions).await.status, 401, "used");

    let given = site.getauth("ada", "correct horse").await;
    let token = given["access_token"].as_str().unwrap();
    let registered = world.register(token, &functions).await;
    assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
    assert_eq!(world.list("providers").await[0]["name"], "ada");

    // What is told of users is never their password.
    let by = site.signed_in().await;
    let said = site.ask("GET", "/getUsers", Some(&by), None).await;
    let text = String::from_utf8(said.body.clone()).unwrap();
    assert!(!text.contains("argon2") && !text.contains("correct horse"));
    let users = said.json();
    let ada = users["users"].as_array().unwrap().iter();
    let ada = ada
        .into_iter()
        .find(|user| user["username"] == "ada")
        .unwrap();
    assert_eq!(
        (&ada["uuid"], &ada["purpose"]),
        (&json!(uuid), &json!("weather"))
    );

    let given = site.getauth("ada", "correct horse").await;
    let left = given["access_token"].as_str().unwrap();
    let path = format!("/deleteUser/{uuid}");
    assert_eq!(site.ask("DELETE", &path, Some(&by), None).await.status, 204);
    // What it was given goes with the account, and does not come back with another one of the name, not even in the same second.
    let body = enrolment(&keys::request(&keys::p256()));
    assert_eq!(world.onboard(left, &body).await.status, 401);
    assert_eq!(site.make("ada", "another horse").await.status, 201);
    assert_eq!(world.onboard(left, &body).await.status, 401);
    assert_eq!(world.register(left, &functions).await.status, 401);
    let again = site.ask("GET", "/getUsers", Some(&by), None).await.json();
    let again = again["users"].as_array().unwrap().iter();
    let uuid = again
        .into_iter()
        .find_map(|user| (user["username"] == "ada").then(|| user["uuid"].as_str().unwrap()))
        .unwrap();
    let path = format!("/deleteUser/{uuid}");
    assert_eq!(site.ask("DELETE", &path, Some(&by), None).await.status, 204);
    assert_eq!(site.ask("DELETE", &path, Some(&by), None).await.status, 404);
    let by = basic("ada", "correct horse");
    assert_eq!(
        site.ask("GET", "/getauth", Some(&by), None).await.status,
        401
    );
}

/// An administrator's tokens end with its account, and are not those of the next one of the name.
#[tokio::test]
async fn tokens_end_with_their_account() {
    let mut site = Site::start().await;
    let by = basic("admin", &site.password);
    let said = site.ask("POST", "/login", Some(&by), None).await.json();
    let token = |member: &str| format!("Bearer {}", said[member].as_str().unwrap());
    let (access, refresh) = (token("access_token"), token("refresh_token"));
    let gone = async |site: &Site| {
        let users = site.ask("GET", "/getUsers", Some(&access), None).await;
        let next = site.ask("POST", "/refresh", Some(&refresh), None).await;
        // It is no password either.
        let auth = site.ask("GET", "/getauth", Some(&access), None).await;
        let statuses = [users.status, next.status, auth.status].map(|status| status.as_u16());
        assert_eq!(statuses, [401; 3]);
    };
    let name = json!({ "name": "admin" });
    let removed = site
        .world
        .operator(http::Method::POST, "/accounts/remove", Some(name));
    assert_eq!(removed.await.0, StatusCode::OK);
    gone(&site).await;
    site.world.stop().await;
    site.world.resume().await;
    assert!(site.world.first_password.is_some(), "there is another one");
    gone(&site).await;
}

/// Of many who ask for one name at once, one has it.
#[tokio::test]
async fn a_name_is_taken_once() {
    let site = Site::start().await;
    let by = site.signed_in().await;
    let asked = (0..6).map(|_| {
        let user = Some(user("ada", "correct horse"));
        site.ask("POST", "/createUser", Some(&by), user)
    });
    let answers = futures_util::future::join_all(asked).await;
    let mut statuses: Vec<u16> = answers.iter().map(|said| said.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
    let made = answers.iter().find(|said| said.status == 201).unwrap();
    let accounts = site.world.list("accounts").await;
    let ada = accounts.iter().filter(|row| row["username"] == "ada");
    let uuids: Vec<&Value> = ada.map(|row| &row["uuid"]).collect();
    assert_eq!(uuids, [&made.json()["uuid"]]);
}

/// Names that no account can have are names of nobody, however long or odd; and no answer shows what a password is kept as.
#[tokio::test]
async fn odd_names_are_nobodys_and_hashes_stay_inside() {
    let site = Site::start().await;
    let by = site.signed_in().await;
    site.make("ada", "correct horse").await;
    let long = "a".repeat(65);
    let longer = "a".repeat(9000);
    for name in [
        "",
        "ada\0",
        "ada/../eve",
        "ada ",
        " ada",
        "ada\n",
        "\u{e9}",
        "*",
        "ADA",
        &long,
        &longer,
    ] {
        let said = site
            .ask("GET", "/getauth", Some(&basic(name, "correct horse")), None)
            .await;
        // Each of them counts as a guess from one address.
        site.world.clock.advance(time::Duration::minutes(1));
        assert_eq!(said.status, StatusCode::UNAUTHORIZED, "{name:?}: {said:?}");
        let body = json!({ "username": name, "password": "correct horse" });
        let said = site.ask("POST", "/getauth", None, Some(body)).await;
        assert_eq!(said.status, StatusCode::UNAUTHORIZED, "{name:?}: {said:?}");
        if name == "ADA" {
            continue;
        }
        let said = site
            .ask(
                "POST",
                "/createUser",
                Some(&by),
                Some(user(name, "correct horse")),
            )
            .await;
        assert!(
            [400, 401].contains(&said.status.as_u16()),
            "{name:?}: {said:?}"
        );
        let path = format!(
            "/accounts/{}",
            if name.is_empty() { "remove" } else { "purge" }
        );
        let body = Some(json!({ "name": name }));
        let said = site.world.operator(http::Method::POST, &path, body).await;
        assert_eq!(said.0, StatusCode::NOT_FOUND, "{name:?}: {}", said.1);
    }
    let by = site.signed_in().await;
    let mut shown = Vec::new();
    for path in ["/getUsers", "/getauth", "/deleteUser/x", "/nothing"] {
        for method in ["GET", "DELETE", "POST"] {
            let said = site.ask(method, path, Some(&by), None).await;
            shown.push(String::from_utf8(said.body).unwrap());
        }
    }
    for list in ["accounts", "accounts/enrolled", "audit"] {
        shown.push(json!(site.world.list(list).await).to_string());
    }
    for text in shown {
        let has = ["argon2", "correct horse", "m=19456"]
            .iter()
            .any(|hash| text.contains(hash));
        assert!(!has, "{text}");
    }
}

/// Nobody is anybody without proof, and no operation is another's.
#[tokio::test]
async fn only_those_who_may_do_what_they_ask() {
    let site = Site::start().await;
    site.make("ada", "correct horse").await;
    let ada = basic("ada", "correct horse");
    let admin = basic("admin", &site.password);
    let nobody = "Bearer nothing";
    let body = || Some(user("eve", "correct horse"));
    for (method, path, by, body, status) in [
        ("POST", "/login", None, None, 401),
        ("POST", "/login", Some(ada.as_str()), None, 403),
        ("POST", "/createUser", None, body(), 401),
        ("POST", "/createUser", Some(&admin), body(), 401),
        ("POST", "/createUser", Some(nobody), body(), 401),
        ("GET", "/getUsers", Some(&ada), None, 401),
        ("GET", "/getauth", Some(&admin), None, 403),
        ("GET", "/getauth", Some("Basic !"), None, 401),
        ("POST", "/refresh", Some(nobody), None, 401),
        ("POST", "/register", None, body(), 403),
        ("DELETE", "/remove", None, body(), 403),
        ("PUT", "/login", Some(&admin), None, 405),
        ("GET", "/nothing", None, None, 404),
    ] {
        let said = site.ask(method, path, by, body).await;
        assert_eq!(
            said.status.as_u16(),
            status,
            "{method} {path} {by:?}: {said:?}"
        );
        assert_eq!(said.headers["content-type"], "application/problem+json");
    }
    let by = site.signed_in().await;
    for (body, what) in [
        (json!({ "username": "eve" }), "password"),
        (
            json!({ "username": "eve", "password": "long enough" }),
            "enterprise",
        ),
        (user("eve eve", "long enough"), "username"),
        (user("eve", "short"), "password"),
        (json!([]), ""),
    ] {
        let said = site.ask("POST", "/createUser", Some(&by), Some(body)).await;
        assert_eq!(said.status, StatusCode::BAD_REQUEST, "{what}: {said:?}");
        assert!(said.json()["detail"].as_str().unwrap().contains(what));
    }
    assert_eq!(site.world.list("accounts").await.len(), 2);
}

/// Tokens end: refreshed by the refresh token, gone with another password.
#[tokio::test]
async fn who_signed_in_is_signed_out_again() {
    let site = Site::start().await;
    let by = basic("admin", &site.password);
    let said = site.ask("POST", "/login", Some(&by), None).await.json();
    let refresh = format!("Bearer {}", said["refresh_token"].as_str().unwrap());
    let access = format!("Bearer {}", said["access_token"].as_str().unwrap());
    site.world.clock.advance(time::Duration::minutes(11));
    let users = async |by: &str| site.ask("GET", "/getUsers", Some(by), None).await.status;
    assert_eq!(users(&access).await, 401);
    assert_eq!(users(&refresh).await, 401);
    let said = site.ask("POST", "/refresh", Some(&refresh), None).await;
    let access = format!("Bearer {}", said.json()["access_token"].as_str().unwrap());
    assert_eq!(users(&access).await, 200);

    let name = json!({ "name": "admin" });
    let changed = site
        .world
        .operator(http::Method::POST, "/accounts/password", Some(name))
        .await;
    let password = changed.1["password"].as_str().unwrap();
    assert_eq!(users(&access).await, 401);
    let old = site.ask("POST", "/login", Some(&by), None).await;
    assert_eq!(old.status, 401);
    let by = basic("admin", password);
    assert_eq!(
        site.ask("POST", "/login", Some(&by), None).await.status,
        200
    );
}

/// Who guesses passwords waits.
#[tokio::test]
async fn guesses_are_held_back() {
    let site = Site::start().await;
    site.make("ada", "correct horse").await;
    let wrong = basic("ada", "wrong horse");
    for _ in 0..5 {
        let said = site.ask("GET", "/getauth", Some(&wrong), None).await;
        assert_eq!(said.status, StatusCode::UNAUTHORIZED);
    }
    let right = basic("ada", "correct horse");
    let said = site.ask("GET", "/getauth", Some(&right), None).await;
    assert_eq!(said.status, StatusCode::TOO_MANY_REQUESTS, "{said:?}");
    assert!(said.headers.contains_key("retry-after"));
    site.world.clock.advance(time::Duration::minutes(16));
    let said = site.ask("GET", "/getauth", Some(&right), None).await;
    assert_eq!(said.status, StatusCode::OK);

    // Not even all at once are more looked at; two have their turn at a time.
    let guesses = (0..20).map(|_| site.ask("GET", "/getauth", Some(&wrong), None));
    let answers = futures_util::future::join_all(guesses).await;
    let looked_at = answers.iter().filter(|said| said.status == 401).count();
    assert!((5..=6).contains(&looked_at), "{looked_at}");
}

/// The name that a start gives to the administrator is nobody else's, also while there is none.
#[tokio::test]
async fn nobody_takes_the_administrators_name() {
    let mut site = Site::with(true, None).await;
    let name = json!({ "name": "admin" });
    site.world
        .operator(http::Method::POST, "/accounts/remove", Some(name))
        .await;
    let body = Some(user("admin", "correct horse"));
    let said = site.ask("POST", "/register", None, body).await;
    assert_eq!(said.status, StatusCode::CONFLICT, "{said:?}");
    site.world.stop().await;
    site.world.resume().await;
    assert!(site.world.first_password.is_some());
}

/// Generations A and B: users register themselves, over plain HTTP only where that was switched on.
#[tokio::test]
async fn users_register_themselves_where_they_may() {
    let plaintext = "127.0.0.1:0".parse().unwrap();
    let site = Site::with(true, Some(plaintext)).await;
    let (_, plaintext) = site.world.ccf().account_addrs().unwrap();
    let plaintext = plaintext.unwrap().to_string();
    let post = async |method: &str, path: &str, body: Value| {
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {plaintext}\r\nContent-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        plain::ask(&plaintext, &head, &body).await
    };
    let register = |role: &str| json!({ "username": role, "password": "correct horse", "role": role, "description": "x", "cn": role });
    let said = post("POST", "/register", register("invoker")).await;
    assert_eq!(said.status, 201, "{}", said.body);
    assert!(said.json()["ccf_onboarding_url"].is_string());
    assert!(said.json()["id"].is_string());
    assert_eq!(
        post("POST", "/register", register("invoker")).await.status,
        409
    );
    let said = post("POST", "/register", register("provider")).await;
    assert!(said.json()["ccf_publish_url"].is_string(), "{}", said.body);

    let sign_in = json!({ "username": "invoker", "password": "correct horse", "role": "invoker" });
    let said = post("POST", "/getauth", sign_in.clone()).await;
    assert_eq!(said.status, 200, "{}", said.body);
    let token = said.json()["access_token"].as_str().unwrap().to_owned();
    let body = enrolment(&keys::request(&keys::p256()));
    assert_eq!(site.world.onboard(&token, &body).await.status, 201);
    let root = plain::ask(
        &plaintext,
        &format!("GET /ca-root HTTP/1.1\r\nHost: {plaintext}"),
        "",
    )
    .await;
    assert_eq!(root.json()["certificate"], site.world.root_pem());

    // Administrators do not sign in where everyone can listen.
    let by = basic("admin", &site.password);
    let head = format!(
        "POST /login HTTP/1.1\r\nHost: {plaintext}\r\nAuthorization: {by}\r\nContent-Length: 0"
    );
    assert_eq!(plain::ask(&plaintext, &head, "").await.status, 403);

    assert_eq!(post("DELETE", "/remove", sign_in.clone()).await.status, 204);
    assert_eq!(post("POST", "/getauth", sign_in).await.status, 401);
}

/// `capif account show` and `purge` on a core function that has nothing of an account, and for a name that nobody has.
#[tokio::test]
async fn the_command_shows_and_purges() {
    let mut machine = Machine::new();
    machine.set("CAPIF_ACCOUNT_SERVICE__ENABLED", "true");
    machine.set("CAPIF_ACCOUNT_SERVICE__LISTEN", "127.0.0.1:0");
    machine.capif(&["init"]).await.done();
    let _ccf = machine.core_function().await;
    let shown = machine.capif(&["account", "show", "admin"]).await.done();
    assert_eq!(
        shown.stdout,
        "ACCOUNT  UUID  WHAT  ID  SINCE  INFORMATION\n"
    );
    let shown = ["account", "show", "admin", "--output", "json"];
    assert_eq!(machine.capif(&shown).await.done().json(), json!([]));
    let purged = machine.capif(&["account", "purge", "admin"]).await.done();
    assert!(purged.stderr.contains("removed 0 of the account admin"));
    for command in ["show", "purge"] {
        let outcome = machine.capif(&["account", command, "no&body=x"]).await;
        outcome.failed(3, "account");
    }
}

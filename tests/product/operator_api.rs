//! P-37 and the operator's side: its API over the network has credentials of its own, none to begin with; every command works from
//! another machine; and what an operator has to know at night is listed.

use capif_transport::Anchors;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use time::Duration;

use crate::support::{
    World,
    process::Machine,
    wire::{Answer, Caller, request},
};

/// A core function whose operator's API is on the network.
async fn world() -> World {
    World::with(|config| config.operator.listen = Some("127.0.0.1:0".parse().unwrap())).await
}

fn address(world: &World) -> String {
    world.ccf().operator_addr().unwrap().to_string()
}

fn caller(world: &World) -> Caller {
    Caller::new(world, &address(world), None)
}

/// Makes a credential at the socket in the folder.
async fn token(world: &World, name: &str, read_only: bool) -> String {
    let wanted = json!({ "name": name, "readOnly": read_only, "days": 30 });
    let (status, made) = world
        .operator(Method::POST, "/operators", Some(wanted))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made["token"].as_str().unwrap().to_owned()
}

/// Every operation of the API: method and path, with something in the place of each parameter.
async fn operations(world: &World) -> Vec<(Method, String)> {
    let (status, description) = world.operator(Method::GET, "/openapi.json", None).await;
    assert_eq!(status, StatusCode::OK);
    let paths = description["paths"].as_object().unwrap();
    let mut operations = Vec::new();
    for (path, methods) in paths {
        let path: Vec<&str> = path
            .split('/')
            .map(|segment| {
                if segment.starts_with('{') {
                    "none"
                } else {
                    segment
                }
            })
            .collect();
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase().parse().unwrap();
            operations.push((method, path.join("/")));
        }
    }
    assert!(operations.len() > 25, "{operations:?}");
    operations
}

async fn records(world: &World) -> Vec<Value> {
    let (status, records) = world.operator(Method::GET, "/audit", None).await;
    assert_eq!(status, StatusCode::OK);
    let records = records.as_array().unwrap().iter();
    records.map(|chained| chained["record"].clone()).collect()
}

/// P-37: nothing is answered to who holds no credential, whatever else it holds; and there is none until the owner of the folder
/// makes one.
#[tokio::test]
async fn nobody_operates_without_a_credential() {
    let world = world().await;
    let invoker = world.raw_invoker(&[]).await;
    let domain = world.domain("acme").await;
    let certified = |pems| Caller::new(&world, &address(&world), Some(pems));
    let strangers = [
        caller(&world),
        certified(invoker.pems.identity()),
        certified(domain.amf.pems.identity()),
    ];
    let code = world.credential(&[]).await;
    for (method, path) in operations(&world).await {
        for stranger in &strangers {
            let answer = stranger.json(method.clone(), &path, None).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            answer.cause();
        }
        for wrong in ["", "admin", "capif-operator-", code.as_str()] {
            let request = request(method.clone(), &path, Some(wrong), None);
            let answer = strangers[0].send(request).await;
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS];
            assert!(refused.contains(&answer.status), "{method} {path} {wrong}");
        }
    }
    assert_eq!(world.list("invokers").await.len(), 1);
    assert!(world.list("operators").await.is_empty());
    // Nothing else is there, either.
    for path in ["/", "/livez", "/capif-security/v1/keys", "/none"] {
        let answer = strangers[0].json(Method::GET, path, None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

/// Who may look may not act, and nobody makes or removes operators from afar; each act carries the name of who did it, and what was
/// tried in vain is recorded.
#[tokio::test]
async fn rights_are_kept_and_names_recorded() {
    let world = world().await;
    let (amy, bob) = (
        token(&world, "amy", false).await,
        token(&world, "bob", true).await,
    );
    let caller = caller(&world);
    for (method, path) in operations(&world).await {
        let answer = caller.bearer(method.clone(), &path, &bob, None).await;
        if method == Method::GET {
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.json());
        } else {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        }
        if path.starts_with("/operators") && method != Method::GET {
            let answer = caller.bearer(method.clone(), &path, &amy, None).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        }
    }
    let invoker = world.raw_invoker(&[]).await;
    let path = format!("/invokers/{}", invoker.id);
    let refused = caller.bearer(Method::DELETE, &path, &bob, None).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let done = caller.bearer(Method::DELETE, &path, &amy, None).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    assert!(world.list("invokers").await.is_empty());
    // Refusals have a bounded rate of records.
    world.clock.advance(Duration::seconds(1));
    let guess = caller
        .bearer(Method::GET, "/invokers", "capif-operator-guess", None)
        .await;
    assert_eq!(guess.status, StatusCode::UNAUTHORIZED);

    let records = records(&world).await;
    let find = |actor: &str, operation: &str, outcome: &str| {
        let found = records.iter().find(|record| {
            record["actor"] == actor
                && record["operation"] == operation
                && record["outcome"] == outcome
        });
        found.unwrap_or_else(|| panic!("{actor} {operation} {outcome}: {records:?}"))
    };
    let offboarded = find("operator amy", "Offboard", "done");
    assert_eq!(offboarded["subject"], invoker.id.as_str());
    assert_eq!(
        offboarded["requestId"],
        done.headers["x-request-id"].to_str().unwrap()
    );
    find("operator bob", "Operate", "refused");
    let guessed = find("anonymous", "Operate", "refused");
    let detail = guessed["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("credential refused; from 127.0.0.1:"),
        "{detail}"
    );
    let added = find("operator", "AddOperator", "done");
    assert_eq!(added["subject"], "amy");
}

/// A credential ends with its time or its removal, on connections that are open too; it survives a restart; and its token is kept
/// nowhere.
#[tokio::test]
async fn credentials_end_and_tokens_are_kept_nowhere() {
    let mut world = world().await;
    let (amy, bob) = (
        token(&world, "amy", false).await,
        token(&world, "bob", false).await,
    );
    let again = json!({ "name": "amy", "days": 30 });
    let (status, _) = world
        .operator(Method::POST, "/operators", Some(again))
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "the name is taken");
    world.stop().await;
    assert!(!world.store_holds(amy.as_bytes()));
    assert!(!world.store_holds(amy.trim_start_matches("capif-operator-").as_bytes()));
    world.resume().await;
    let caller = caller(&world);
    let status = async |token: &str| {
        let answer = caller.bearer(Method::GET, "/operators", token, None).await;
        answer.status
    };
    assert_eq!(status(&amy).await, StatusCode::OK);
    assert_eq!(status(&bob).await, StatusCode::OK);
    let (removed, _) = world.operator(Method::DELETE, "/operators/bob", None).await;
    assert_eq!(removed, StatusCode::NO_CONTENT);
    assert_eq!(status(&bob).await, StatusCode::UNAUTHORIZED);
    world
        .clock
        .advance(Duration::days(30) - Duration::seconds(1));
    assert_eq!(status(&amy).await, StatusCode::OK);
    world.clock.advance(Duration::seconds(1));
    assert_eq!(status(&amy).await, StatusCode::UNAUTHORIZED);
    // The name is free again, and another token counts.
    let amy = token(&world, "amy", false).await;
    assert_eq!(status(&amy).await, StatusCode::OK);
}

/// Guesses are slowed down where they come from, and lock nobody out.
#[tokio::test]
async fn guesses_are_slowed_down() {
    let world = world().await;
    let amy = token(&world, "amy", true).await;
    let caller = caller(&world);
    let ask = async |token: &str| caller.bearer(Method::GET, "/invokers", token, None).await;
    for number in 0..10 {
        let answer = ask(&format!("capif-operator-{number}")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    let answer = ask("capif-operator-10").await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers["retry-after"], "61");
    assert_eq!(ask(&amy).await.status, StatusCode::OK);
    world.clock.advance(Duration::seconds(60));
    let answer = ask("capif-operator-11").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

/// A page in a browser gets nothing, whatever name brought it here, and no answer lets a page read or show it.
#[tokio::test]
async fn no_web_page_reaches_it() {
    let world = world().await;
    let amy = token(&world, "amy", false).await;
    let caller = caller(&world);
    let ask = async |method: Method, path: &str, headers: &[(&str, &str)], body: &str| {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {amy}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        caller
            .send(request.body(body.as_bytes().to_vec()).unwrap())
            .await
    };
    let guarded = |answer: &Answer| {
        let headers = &answer.headers;
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert!(
            headers["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("frame-ancestors 'none'")
        );
        assert!(
            !headers
                .keys()
                .any(|name| name.as_str().starts_with("access-control"))
        );
    };
    let good = ask(Method::GET, "/invokers", &[], "").await;
    assert_eq!(good.status, StatusCode::OK);
    guarded(&good);
    for origin in ["https://evil.example", "null", "https://localhost"] {
        let answer = ask(Method::GET, "/invokers", &[("origin", origin)], "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{origin}");
        guarded(&answer);
        let preflight = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
        ];
        let answer = ask(Method::OPTIONS, "/invites", &preflight, "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        guarded(&answer);
    }
    for host in ["evil.example", "localhost.evil.example:443"] {
        let answer = ask(Method::GET, "/invokers", &[("host", host)], "").await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        guarded(&answer);
    }
    for media in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=b",
    ] {
        let answer = ask(Method::POST, "/invites", &[("content-type", media)], "{}").await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{media}");
    }
    assert_eq!(
        ask(Method::POST, "/invites", &[], "{}").await.status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    let json = [("content-type", "application/json; charset=utf-8")];
    let answer = ask(Method::POST, "/invites", &json, "{}").await;
    assert_eq!(answer.status, StatusCode::CREATED);
    guarded(&answer);
    // What is not known is said so, and breaks nothing.
    for (method, path, status) in [
        (Method::GET, "/none", StatusCode::NOT_FOUND),
        (Method::GET, "/invokers?limit=1", StatusCode::BAD_REQUEST),
        (Method::GET, "/invokers/../audit", StatusCode::BAD_REQUEST),
        (Method::PATCH, "/invokers", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/logs?from=noon", StatusCode::BAD_REQUEST),
        (Method::GET, "/audit?after=x", StatusCode::BAD_REQUEST),
    ] {
        let answer = ask(method.clone(), path, &[], "").await;
        assert_eq!(answer.status, status, "{method} {path}");
        answer.cause();
    }
    let large = format!("{{\"apis\":[\"{}\"]}}", "x".repeat(70_000));
    let answer = ask(Method::POST, "/invites", &json, &large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// There is TLS and nothing else, with the certificate of the core function; and no listener if none is wanted.
#[tokio::test]
async fn it_speaks_tls_alone_and_can_be_off() {
    let world = world().await;
    let address = address(&world);
    let other = World::start().await;
    assert!(other.ccf().operator_addr().is_none());
    let anchors = Anchors::from_pem(&other.root_pem()).unwrap();
    let fooled = Caller::believing(&world, &address, anchors, None);
    let ask = request(Method::GET, "/invokers", Some("token"), None);
    assert!(fooled.try_send(ask).await.is_none());
    let head = format!("GET /invokers HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let mut answer = Vec::new();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let _broken = stream.write_all(head.as_bytes()).await;
    let _broken = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

/// Every operator's command works from another machine as it does in the folder.
#[tokio::test]
async fn every_command_works_from_another_machine() {
    let mut machine = Machine::new();
    machine.set("CAPIF_OPERATOR__LISTEN", "127.0.0.1:0");
    machine.capif(&["init"]).await.done();
    let ccf = machine.core_function().await;
    let url = format!(
        "https://{}",
        ccf.word_after("operator's API at https://")
            .trim_end_matches([',', ';'])
    );
    let amy = machine.capif(&["operator", "add", "amy"]).await.done();
    assert_eq!(amy.stdout.lines().count(), 1, "{amy:?}");
    assert!(!amy.stderr.contains(amy.stdout.trim()), "{amy:?}");
    let bob = machine
        .capif(&["operator", "add", "bob", "--read-only", "--days", "1"])
        .await
        .done();
    machine
        .capif(&["operator", "add", "amy"])
        .await
        .failed(7, "there is an operator amy");
    let work = machine.work();
    let put = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let file = work.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        file.display().to_string()
    };
    let (amy, bob) = (put("amy", &amy.stdout), put("bob", &bob.stdout));
    let root = machine.ccf_folder().join("ca/root.pem");
    let ca = put("root.pem", &std::fs::read_to_string(root).unwrap());
    // A folder without a core function: nothing is done there.
    let far = |command: &[&str], token: &str| -> Vec<String> {
        let options = [
            "--dir",
            "elsewhere",
            "--operator-url",
            &url,
            "--operator-token-file",
            token,
            "--operator-ca",
            &ca,
        ];
        let words = command.iter().chain(options.iter());
        words.map(|word| (*word).to_owned()).collect()
    };
    let run = async |command: &[&str], token: &str| {
        let words = far(command, token);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        machine.capif(&words).await
    };
    run(&["provider", "add", "acme"], &amy).await.done();
    let invite = run(&["invite"], &amy).await.done();
    assert_eq!(invite.stdout.lines().count(), 1);
    for command in [
        &["list", "invokers"][..],
        &["list", "subscriptions"],
        &["list", "notifications"],
        &["list", "alarms"],
        &[
            "list",
            "logs",
            "--api",
            "weather",
            "--from",
            "2026-01-31T08:00:00Z",
        ],
        &["provider", "list"],
        &["policy", "list"],
        &["policy", "logs", "list"],
        &["operator", "list"],
        &["audit", "list"],
        &["audit", "verify"],
        &["ca", "status"],
        &["keys", "list"],
    ] {
        let here = machine.capif(command).await.done();
        let there = run(command, &bob).await.done();
        assert_eq!(there.stdout, here.stdout, "{command:?}");
    }
    let listed = machine.capif(&["operator", "list"]).await.done().stdout;
    assert!(
        listed.contains("amy   operate") && listed.contains("bob   look"),
        "{listed}"
    );
    run(&["invite"], &bob).await.failed(4, "looking only");
    run(&["offboard", "INV0"], &amy)
        .await
        .failed(3, "API invoker");
    run(&["keys", "rotate", "--compromise"], &amy).await.done();
    let rotated = machine.capif(&["audit", "list"]).await.done().stdout;
    assert!(rotated.contains("operator amy"), "{rotated}");

    // From the environment, unless a folder is named.
    machine.set("CAPIF_OPERATOR_URL", &url);
    machine.set("CAPIF_OPERATOR_TOKEN_FILE", &bob);
    machine.set("CAPIF_OPERATOR_CA", &ca);
    machine.capif(&["invite"]).await.failed(4, "looking only");
    machine
        .capif(&["invite", "--dir", "elsewhere"])
        .await
        .failed(5, "elsewhere");
    let own = machine.ccf_folder().display().to_string();
    machine.capif(&["operator", "remove", "bob"]).await.done();
    machine
        .capif(&["list", "apis"])
        .await
        .failed(4, "credential");
    machine.capif(&["list", "apis", "--dir", &own]).await.done();

    // What is missing or wrong is said.
    let apis = ["list", "apis", "--operator-url"];
    let with = async |options: &[&str]| {
        let words: Vec<&str> = apis.iter().chain(options).copied().collect();
        machine.capif(&words).await
    };
    with(&["http://127.0.0.1:1"]).await.failed(1, "https://");
    with(&["https://127.0.0.1:1"])
        .await
        .failed(5, "operator.listen");
    let stranger = put("stranger.pem", &stranger());
    let believing = [
        url.as_str(),
        "--operator-ca",
        &stranger,
        "--operator-token-file",
        &amy,
    ];
    with(&believing).await.failed(4, "--operator-ca");
}

/// The root certificate of somebody else.
fn stranger() -> String {
    let folder = tempfile::tempdir().unwrap();
    let clock = capif_transport::SystemClock;
    capif_ccf::init::init(&folder.path().join("ccf"), &clock).unwrap();
    std::fs::read_to_string(folder.path().join("ccf/ca/root.pem")).unwrap()
}

//! Renewal from the command line: by hand, by itself, on demand, and what is shown of it.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{
    backend::Backend,
    process::{Machine, Service},
};

const TODAY: &str = "/weather/v1/today";

/// A core function, a gateway, and an invoker that has called once.
struct Setting {
    machine: Machine,
    ccf: Option<Service>,
    _gateway: Service,
    _api: Backend,
}

impl Setting {
    async fn start() -> Self {
        let mut machine = Machine::new();
        let api = Backend::start();
        machine.capif(&["init"]).await.done();
        let ccf = machine.core_function().await;
        machine.capif(&["provider", "add", "acme"]).await.done();
        let url = api.url();
        let gateway = [
            "gateway",
            "--bundle",
            "acme.bundle",
            "--api",
            "weather",
            "--upstream",
            &url,
            "--listen",
            "127.0.0.1:0",
        ];
        let gateway = machine.serve(&gateway, "capif invite").await;
        let code = machine.capif(&["invite", "--api", "weather"]).await.done();
        let code = code.stdout.trim().to_owned();
        machine
            .capif(&["call", "--code", &code, "GET", TODAY])
            .await
            .done();
        Self {
            machine,
            ccf: Some(ccf),
            _gateway: gateway,
            _api: api,
        }
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        self.machine.capif(&arguments).await.done().json()
    }

    async fn status(&self) -> Value {
        self.json(&["invoker", "status"]).await
    }

    async fn call(&self) -> String {
        let call = self.machine.capif(&["call", "GET", TODAY]).await.done();
        assert!(call.stdout.contains(TODAY), "{call:?}");
        call.stderr
    }

    async fn folder(&self) -> PathBuf {
        self.status().await["folder"].as_str().unwrap().into()
    }

    /// Makes the folder believe that it asked the core function long ago.
    async fn long_ago(&self) {
        let path = self.folder().await.join("capif-invoker.json");
        let mut state: Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let record = &mut state["onboarded"]["renewal"];
        assert!(record["looked"].is_string(), "{record}");
        record["looked"] = json!("2020-01-01T00:00:00Z");
        std::fs::write(&path, state.to_string()).unwrap();
    }
}

/// R-U-01: by hand, with a new key and with the same; the invoker stays who it is.
#[tokio::test]
async fn by_hand() {
    let setting = Setting::start().await;
    let before = setting.status().await;
    assert_eq!(before["renewable"], true);
    assert_eq!(before["accepted"], true);
    assert_eq!(before["demand"], Value::Null);
    for member in ["certificateEnds", "secretEnds", "renewAfter", "asked"] {
        assert!(before[member].is_string(), "{member}: {before}");
    }
    assert!(before["ccf"].as_str().unwrap().starts_with("127.0.0.1:"));

    let key = || async {
        let folder = setting.folder().await;
        let mut keys = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "key"));
        let key = keys.next().unwrap();
        assert!(keys.next().is_none(), "one key, and no other");
        std::fs::read_to_string(key).unwrap()
    };
    let first = key().await;
    let renewed = setting.json(&["invoker", "renew"]).await;
    assert_eq!(renewed["apiInvokerId"], before["apiInvokerId"]);
    assert_eq!(renewed["confirmed"], true);
    let second = key().await;
    assert_ne!(first, second);
    setting.call().await;
    let same = setting.machine.capif(&["invoker", "renew", "--same-key"]);
    let same = same.await.done();
    assert!(same.stdout.contains("certificate ends"), "{same:?}");
    assert_eq!(key().await, second);
    setting.call().await;
    let after = setting.status().await;
    assert_eq!(after["apiInvokerId"], before["apiInvokerId"]);
    assert_eq!(after["renewalPending"], false);
    assert_eq!(
        setting
            .json(&["list", "invokers"])
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let ends = setting
        .json(&["invoker", "renew", "--expires", "2090-01-31T12:00:00Z"])
        .await;
    assert_eq!(ends["enrolmentEnds"], "2090-01-31T12:00:00Z");
    assert_eq!(
        setting.status().await["enrolmentEnds"],
        "2090-01-31T12:00:00Z"
    );
    let wrong = setting
        .machine
        .capif(&["invoker", "renew", "--expires", "soon"])
        .await;
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(wrong.stderr.contains("RFC 3339"), "{wrong:?}");
}

/// R-U-02: the operator asks, and the next call follows; what it prints is the answer of the API and nothing else.
#[tokio::test]
async fn a_call_follows_a_demand() {
    let setting = Setting::start().await;
    let id = setting.status().await["apiInvokerId"]
        .as_str()
        .unwrap()
        .to_owned();
    setting.machine.capif(&["renew", &id]).await.done();
    assert_eq!(setting.status().await["demand"]["reason"], "OPERATOR");
    setting.long_ago().await;
    let notes = setting.call().await;
    assert!(notes.contains("renewed"), "{notes}");
    assert!(!setting.call().await.contains("renewed"));
    assert_eq!(setting.status().await["demand"], Value::Null);

    setting.machine.capif(&["renew", &id]).await.done();
    let status = setting.status().await;
    assert_eq!(status["demand"]["reason"], "OPERATOR", "{status}");
    let table = setting.machine.capif(&["invoker", "status"]).await.done();
    assert!(table.stdout.contains("OPERATOR until"), "{table:?}");
    setting.machine.capif(&["invoker", "renew"]).await.done();
    assert_eq!(setting.status().await["demand"], Value::Null);
}

/// In a compromise the call itself goes on, after the renewal that it needs.
#[tokio::test]
async fn a_call_follows_a_compromise() {
    let setting = Setting::start().await;
    let id = setting.status().await["apiInvokerId"]
        .as_str()
        .unwrap()
        .to_owned();
    setting
        .machine
        .capif(&["renew", &id, "--compromise"])
        .await
        .done();
    let begun = std::time::Instant::now();
    loop {
        let call = setting.machine.capif(&["call", "GET", TODAY]).await;
        if call.code == 0 {
            break;
        }
        // The gateway may not have heard yet that the invoker has renewed.
        assert!(begun.elapsed() < crate::support::SOON, "{call:?}");
    }
}

/// Without the core function the status is what the folder holds, and says so.
#[tokio::test]
async fn the_status_without_the_core_function() {
    let mut setting = Setting::start().await;
    let before = setting.status().await;
    drop(setting.ccf.take());
    let shown = setting
        .machine
        .capif(&["invoker", "status", "--output", "json"]);
    let shown = shown.await.done();
    assert!(shown.stderr.contains("could not be asked"), "{shown:?}");
    let status = shown.json();
    assert_eq!(status["accepted"], Value::Null);
    for member in [
        "apiInvokerId",
        "certificateEnds",
        "secretEnds",
        "renewAfter",
        "methods",
    ] {
        assert_eq!(status[member], before[member], "{member}");
    }
    let failed = setting.machine.capif(&["invoker", "renew"]).await;
    assert_eq!(failed.code, 5, "{failed:?}");
    assert!(failed.stderr.contains("check the address"), "{failed:?}");
    // It was begun, and is repeated as soon as there is somebody to ask.
    let shown = setting.machine.capif(&["invoker", "status"]).await.done();
    assert!(shown.stderr.contains("not finished"), "{shown:?}");
}

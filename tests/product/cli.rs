//! The command line as a contract: the quickstart as it is typed, exit codes, data on standard output alone, and the demo.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
};

use capif_client::EnrolmentCode;
use serde_json::Value;

use crate::support::{
    SOON,
    backend::Backend,
    eventually,
    process::{Machine, Service},
};

/// An HTTP server of the user's own: Python's where there is Python, otherwise one of this process.
enum Api {
    Python(Child, u16),
    Own(Backend),
}

impl Api {
    async fn start(machine: &Machine) -> Self {
        let folder = machine.work().join("api");
        std::fs::create_dir_all(folder.join("weather/v1")).unwrap();
        std::fs::write(folder.join("weather/v1/today"), "sunny\n").unwrap();
        let log = machine.work().join("api.log");
        let python = Command::new("python3")
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut python) = python else {
            println!(
                "python3 is not there: an HTTP server of the test's own stands in for `python3 -m http.server`"
            );
            return Self::Own(Backend::start());
        };
        // "Serving HTTP on 127.0.0.1 port 41187 (http://127.0.0.1:41187/) ..."
        let port = || {
            let text = std::fs::read_to_string(&log).unwrap();
            text.split_once(" port ")?
                .1
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        };
        let begun = std::time::Instant::now();
        while port().is_none() && begun.elapsed() < SOON && python.try_wait().unwrap().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        match port() {
            Some(port) => Self::Python(python, port),
            None => {
                println!(
                    "python3 does not serve: an HTTP server of the test's own stands in for it"
                );
                let _gone = python.kill();
                Self::Own(Backend::start())
            }
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Python(_, port) => format!("http://127.0.0.1:{port}"),
            Self::Own(backend) => backend.url(),
        }
    }

    /// What a call prints.
    fn content(&self) -> &'static str {
        match self {
            Self::Python(..) => "sunny\n",
            Self::Own(_) => "GET /weather/v1/today",
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Self::Python(python, _) = self {
            let _gone = python.kill();
            let _gone = python.wait();
        }
    }
}

const TODAY: &str = "/weather/v1/today";

/// A machine on which the first five commands of the quickstart have been typed.
struct Quickstart {
    machine: Machine,
    api: Api,
    ccf: Service,
    gateway: Service,
    code: String,
}

impl Quickstart {
    async fn start() -> Self {
        let mut machine = Machine::new();
        let api = Api::start(&machine).await;
        let init = machine.capif(&["init"]).await.done();
        assert_eq!(init.stdout, "");
        assert!(init.stderr.contains("capif serve"), "{init:?}");
        let ccf = machine.core_function().await;
        assert!(
            ccf.stderr().contains("capif provider add"),
            "{}",
            ccf.stderr()
        );
        let added = machine.capif(&["provider", "add", "acme"]).await.done();
        assert!(machine.work().join("acme.bundle").is_file());
        assert!(added.stderr.contains("capif gateway"), "{added:?}");
        let upstream = api.url();
        let gateway = [
            "gateway",
            "--bundle",
            "acme.bundle",
            "--api",
            "weather",
            "--upstream",
            &upstream,
            "--listen",
            "127.0.0.1:0",
        ];
        let gateway = machine.serve(&gateway, "capif invite").await;
        let invite = machine.capif(&["invite", "--api", "weather"]).await.done();
        // One code, and nothing else.
        assert_eq!(invite.stdout.lines().count(), 1, "{invite:?}");
        let code = invite.stdout.trim().to_owned();
        Self {
            machine,
            api,
            ccf,
            gateway,
            code,
        }
    }

    /// The same with an invoker who has called once.
    async fn called() -> Self {
        let quickstart = Self::start().await;
        let call = quickstart
            .machine
            .capif(&["call", "--code", &quickstart.code, "GET", TODAY])
            .await
            .done();
        assert_eq!(call.stdout, quickstart.api.content());
        quickstart
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        self.machine.capif(&arguments).await.done().json()
    }
}

/// DESIGN section 4: the six commands as they are typed, on a fresh machine, in front of any HTTP server.
#[tokio::test]
async fn the_six_commands() {
    let quickstart = Quickstart::called().await;
    let machine = &quickstart.machine;
    // Later calls need no code, and one that is given is not used up.
    let again = machine.capif(&["call", "GET", TODAY]).await.done();
    assert_eq!(again.stdout, quickstart.api.content());
    assert!(again.stderr.contains("200"), "{again:?}");
    let next = machine.capif(&["invite"]).await.done();
    let again = machine
        .capif(&["call", "--code", next.stdout.trim(), "GET", TODAY])
        .await
        .done();
    assert!(again.stderr.contains("not used"), "{again:?}");

    // What the operator sees.
    let invokers = quickstart.json(&["list", "invokers"]).await;
    assert_eq!(invokers.as_array().unwrap().len(), 1);
    let id = invokers[0]["apiInvokerId"].as_str().unwrap();
    assert_eq!(
        quickstart.json(&["list", "apis"]).await[0]["apiName"],
        "weather"
    );
    assert_eq!(
        quickstart.json(&["list", "contexts"]).await[0]["apiInvokerId"],
        id
    );
    assert_eq!(quickstart.json(&["list", "events"]).await[0]["waiting"], 0);
    assert_eq!(
        quickstart.json(&["provider", "list"]).await[0]["name"],
        "acme"
    );
    eventually("the calls are logged", || async {
        quickstart
            .json(&["list", "logs"])
            .await
            .as_array()
            .unwrap()
            .len()
            == 3
    })
    .await;
    for what in ["invokers", "apis", "contexts", "events", "logs"] {
        let table = machine.capif(&["list", what]).await.done();
        assert!(
            table.stdout.lines().count() >= 2 && table.stderr.is_empty(),
            "{table:?}"
        );
    }
    let status = quickstart.json(&["invoker", "status"]).await;
    assert!(status.to_string().contains(id), "{status}");

    // And the end: of the invoker, then of the services.
    let left = machine.capif(&["invoker", "offboard"]).await.done();
    assert_eq!(left.stdout, "");
    assert_eq!(
        quickstart.json(&["list", "invokers"]).await,
        Value::Array(Vec::new())
    );
    machine
        .capif(&["call", "GET", TODAY])
        .await
        .failed(3, "code");
    let Quickstart {
        mut ccf,
        mut gateway,
        ..
    } = quickstart;
    assert_eq!(gateway.terminate().await.0, Some(0));
    assert_eq!(ccf.terminate().await.0, Some(0));
}

/// Mistakes end with the documented exit code, one line that says what to do, and nothing on standard output.
#[tokio::test]
async fn exit_codes() {
    let mut machine = Machine::new();
    machine.capif(&["serve"]).await.failed(3, "capif init");
    machine.capif(&["invite"]).await.failed(5, "capif init");
    machine
        .capif(&["call", "GET", TODAY])
        .await
        .failed(3, "code");
    machine.capif(&["init"]).await.done();
    machine.capif(&["invite"]).await.failed(5, "capif serve");
    machine.capif(&["init"]).await.failed(7, "capif-data");
    for arguments in [
        &["call"][..],
        &["call", "GET"],
        &["call", "GET", "weather"],
        &["call", "GET", "https://elsewhere.example/weather"],
        &["call", "CONNECT", TODAY],
        &["call", "--code", "capif1.nonsense", "GET", TODAY],
        &["call", "--code", "nonsense", "GET", TODAY],
        &["call", "--code", "", "GET", TODAY],
        &[
            "gateway",
            "--api",
            "weather",
            "--upstream",
            "http://127.0.0.1:1",
        ],
        &["invite", "--minutes", "0"],
        &["provider", "add", "a/b"],
        &["list", "nothing"],
        &["nonsense"],
    ] {
        let outcome = machine.capif(arguments).await;
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (1, ""),
            "{arguments:?}: {outcome:?}"
        );
        assert!(
            outcome.stderr.contains("error"),
            "{arguments:?}: {outcome:?}"
        );
    }
    let bundle = [
        "gateway",
        "--bundle",
        "nothing.bundle",
        "--api",
        "weather",
        "--upstream",
        "http://127.0.0.1:1",
    ];
    machine.capif(&bundle).await.failed(3, "nothing.bundle");
    let basic = [
        "gateway",
        "--bundle",
        "x",
        "--api",
        "a",
        "--upstream",
        "http://127.0.0.1:1",
        "--methods",
        "BASIC",
    ];
    machine.capif(&basic).await.failed(1, "use PSK, PKI, OAUTH");

    let ccf = machine.core_function().await;
    let second = machine.capif(&["serve"]).await;
    assert_eq!(second.code, 7, "{second:?}");
    let code: EnrolmentCode = machine
        .capif(&["invite"])
        .await
        .done()
        .stdout
        .trim()
        .parse()
        .unwrap();
    // Another fingerprint: somebody else answers at this address, and nothing is sent there.
    let wrong = EnrolmentCode {
        ca_sha256: [7; 32],
        ..code.clone()
    };
    machine
        .capif(&["call", "--code", &wrong.to_string(), "GET", TODAY])
        .await
        .failed(4, "do not trust");
    // Nobody answers.
    let nobody = EnrolmentCode {
        address: "127.0.0.1:1".to_owned(),
        ..code.clone()
    };
    machine
        .capif(&["call", "--code", &nobody.to_string(), "GET", TODAY])
        .await
        .failed(5, "127.0.0.1:1");
    // An API that is not there; the enrolment was good.
    machine
        .capif(&["call", "--code", &code.to_string(), "GET", TODAY])
        .await
        .failed(3, "weather");
    // The code is used up.
    let again = [
        "call",
        "--dir",
        "elsewhere",
        "--code",
        &code.to_string(),
        "GET",
        TODAY,
    ];
    machine.capif(&again).await.failed(4, "code");
    machine
        .capif(&["offboard", "INV0"])
        .await
        .failed(3, "invoker");
    machine
        .capif(&["offboard", "../INV0"])
        .await
        .failed(1, "ID");
    machine.capif(&["provider", "add", "acme"]).await.done();
    machine
        .capif(&["provider", "add", "acme"])
        .await
        .failed(7, "acme.bundle");
    drop(ccf);
    machine.capif(&["call", "GET", TODAY]).await.failed(5, "");
}

/// What the API answers shows in the exit code; the answer itself goes to standard output.
#[tokio::test]
async fn answers_of_the_api_have_their_exit_codes() {
    let quickstart = Quickstart::called().await;
    let machine = &quickstart.machine;
    let missing = machine.capif(&["call", "GET", "/weather/v2/today"]).await;
    assert_eq!(missing.code, 3, "{missing:?}");
    machine
        .capif(&["call", "GET", "/other/v1/today"])
        .await
        .failed(3, "other");
    let invokers = quickstart.json(&["list", "invokers"]).await;
    let id = invokers[0]["apiInvokerId"].as_str().unwrap();
    machine.capif(&["offboard", id]).await.done();
    machine.capif(&["offboard", id]).await.failed(3, "invoker");
    let gone = machine.capif(&["call", "GET", TODAY]).await;
    assert_eq!(gone.code, 4, "{gone:?}");
    assert!(
        gone.stderr.contains("capif ") || gone.stderr.contains("code"),
        "{gone:?}"
    );
    machine.capif(&["invoker", "offboard"]).await.done();
}

/// What was agreed on is chosen and shown, keys by their names alone; a revocation says whom to ask.
#[tokio::test]
async fn methods_and_keys() {
    let quickstart = Quickstart::called().await;
    let machine = &quickstart.machine;
    let negotiate = ["invoker", "negotiate", "--methods", "PSK"];
    let table = machine.capif(&negotiate).await.done().stdout;
    let literal = [&negotiate[..], &["--psk-profile", "a1-tls12"]].concat();
    let agreed = quickstart.json(&literal).await;
    let entry = &agreed["securityInfo"][0];
    assert_eq!(entry["selSecurityMethod"], "PSK");
    let call = machine.capif(&["call", "GET", TODAY]).await.done();
    assert_eq!(call.stdout, quickstart.api.content());

    let status = quickstart.json(&["invoker", "status"]).await;
    let id = status["apiInvokerId"].as_str().unwrap().to_owned();
    let method = &status["methods"][0];
    assert_eq!(method["selSecurityMethod"], "PSK");
    assert_eq!(method["pskProfile"], "a1-tls12");
    assert_eq!(method["pskId"], format!("3GPP-CAPIF.{id}.2"));
    let text = machine.capif(&["invoker", "status"]).await.done().stdout;
    for (shown, number) in [(&table, 1), (&text, 2)] {
        assert!(shown.contains("PSK"), "{shown}");
        assert!(
            shown.contains(&format!("3GPP-CAPIF.{id}.{number}")),
            "{shown}"
        );
    }
    assert!(text.contains(method["pskEnds"].as_str().unwrap()), "{text}");
    let folder = std::path::Path::new(status["folder"].as_str().unwrap());
    let state = std::fs::read(folder.join("capif-invoker.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    let key = state["onboarded"]["keys"][0]["key"].as_str().unwrap();
    for shown in [&table, &text, &agreed.to_string(), &status.to_string()] {
        assert!(!shown.contains(key), "{shown}");
    }
    let wrong = ["invoker", "negotiate", "--psk-profile", "a2"];
    machine.capif(&wrong).await.failed(1, "a1-exporter");

    machine.capif(&["revoke", &id]).await.done();
    eventually("the gateway hears of it", || async {
        machine.capif(&["call", "GET", TODAY]).await.code != 0
    })
    .await;
    let refused = machine.capif(&["call", "GET", TODAY]).await;
    refused.failed(2, "capif permit");
    let none = machine.capif(&["invoker", "negotiate"]).await.done();
    assert!(none.stdout.contains("none"), "{none:?}");
    machine.capif(&["permit", &id]).await.done();
    let call = machine.capif(&["call", "GET", TODAY]).await.done();
    assert_eq!(call.stdout, quickstart.api.content());
}

/// The three parts of TS 33.122 clause 6.1 step 1 as JSON, for those who hand them over separately.
#[tokio::test]
async fn an_invitation_in_three_parts() {
    let quickstart = Quickstart::start().await;
    let parts = quickstart.json(&["invite", "--api", "weather"]).await;
    let names: Vec<&String> = parts.as_object().unwrap().keys().collect();
    for name in ["address", "caPem", "credential", "expires"] {
        assert!(names.iter().any(|known| *known == name), "{names:?}");
    }
    assert!(
        parts["caPem"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    assert_eq!(parts["credential"].as_str().unwrap().split('.').count(), 3);
}

/// A code in a file or on standard input does not show in the list of processes.
#[tokio::test]
async fn a_code_in_a_file() {
    let quickstart = Quickstart::start().await;
    std::fs::write(quickstart.machine.work().join("code"), &quickstart.code).unwrap();
    let call = quickstart
        .machine
        .capif(&["call", "--code", "code", "GET", TODAY])
        .await
        .done();
    assert_eq!(call.stdout, quickstart.api.content());
}

/// `capif demo` plays everything, offline, and every step holds.
#[tokio::test]
async fn the_demo_holds() {
    let machine = Machine::new();
    let demo = machine.capif(&["demo", "--output", "ndjson"]).await.done();
    let mut steps = BTreeMap::new();
    for line in demo.stdout.lines() {
        let step: Value = serde_json::from_str(line).unwrap();
        assert_eq!(step["ok"], true, "{line}");
        for member in ["step", "clause", "detail"] {
            assert!(
                step[member].as_str().is_some_and(|text| !text.is_empty()),
                "{line}"
            );
        }
        assert!(step["ms"].is_u64(), "{line}");
        steps.insert(
            step["step"].as_str().unwrap().to_owned(),
            step["clause"].as_str().unwrap().to_owned(),
        );
    }
    assert!(steps.len() >= 20, "{steps:#?}");
    for clause in ["6.1", "6.3", "6.5", "6.8"] {
        assert!(
            steps.values().any(|cited| cited.contains(clause)),
            "{clause}: {steps:#?}"
        );
    }
    let text = machine.capif(&["demo"]).await.done();
    assert!(text.stdout.lines().count() > steps.len());
    // Nothing stays behind, and nothing is written where it was run.
    assert_eq!(std::fs::read_dir(machine.work()).unwrap().count(), 0);
}

//! Notifications without TLS, as whoever runs a core function sees them: warned at start, told when asked, and in the log why nothing
//! is sent.

use crate::support::{plain, process::Machine};

/// What the management listener says of one that is ready.
async fn standing(management: &str) -> String {
    let head = format!("GET /readyz?verbose HTTP/1.1\r\nHost: {management}");
    plain::ask(management, &head, "").await.body
}

/// Off by default; switched on it is said by `capif config check`, at the start, and by `/readyz?verbose`.
#[tokio::test]
async fn what_goes_without_tls_is_said_loudly() {
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let mut ccf = machine.core_function().await;
    let management = |ccf: &crate::support::process::Service| {
        let url = ccf.word_after("health at http://");
        url.split('/').next().unwrap().to_owned()
    };
    let said = standing(&management(&ccf)).await;
    assert!(said.contains("\ninsecure_http: none\n"), "{said}");
    assert!(!ccf.stderr().contains("INSECURE"), "{}", ccf.stderr());
    ccf.terminate().await;

    let key = "CAPIF_CALLBACKS__INSECURE_HTTP";
    machine.set(key, "[\"127.0.0.1\"]");
    let refused = machine.capif(&["config", "check"]).await;
    refused.failed(1, "give host and port");
    machine.set(key, "[\"127.0.0.1:8080\", \"*.example.org:80\"]");
    let checked = machine.capif(&["config", "check"]).await.done();
    let ccf = machine.core_function().await;
    for said in [checked.stderr, ccf.stderr()] {
        let line = said.lines().find(|line| line.contains("INSECURE"));
        let line = line.unwrap();
        assert!(line.contains("127.0.0.1:8080, *.example.org:80"), "{line}");
    }
    let said = standing(&management(&ccf)).await;
    let line = "\ninsecure_http: 127.0.0.1:8080 *.example.org:80\n";
    assert!(said.contains(line), "{said}");
}

/// An enrolment's outcome is not sent without TLS, even where notifications are; the log says so once.
#[tokio::test]
async fn the_log_says_why_an_outcome_is_not_sent() {
    let mut machine = Machine::new();
    machine.set("CAPIF_CALLBACKS__INSECURE_HTTP", "[\"127.0.0.1:9\"]");
    machine.capif(&["init"]).await.done();
    let ccf = machine.core_function().await;
    for name in ["amy", "bob"] {
        let invited = machine.capif(&["invite", "--approval"]).await.done();
        let code = invited.stdout.trim();
        let folder = machine.folder(name).display().to_string();
        let (there, dir) = ("http://127.0.0.1:9/outcome", folder.as_str());
        let told = ["--notification-destination", there, "--dir", dir];
        let onboard = ["invoker", "onboard", "--code", code, "--no-wait"];
        let onboard = [&onboard[..], &told[..]].concat();
        machine.capif(&onboard).await.failed(2, "run the same");
        let list = ["list", "pending", "--output", "json"];
        let pending = machine.capif(&list).await.done().json();
        machine
            .capif(&["approve", pending[0]["id"].as_str().unwrap()])
            .await
            .done();
        // It has it by asking again.
        machine.capif(&onboard).await.done();
    }
    let log = ccf.stderr();
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("http://127.0.0.1:9"))
        .collect();
    assert_eq!(said.len(), 1, "{log}");
    assert!(said[0].contains("never travels without TLS"), "{log}");
}

//! Enrolments that wait for the operator, as they are typed: `capif invite --approval`, `capif list pending`, `capif approve` and
//! `capif reject`, and what whoever enrols sees of it.

use serde_json::Value;

use crate::support::{eventually, process::Machine};

async fn pending(machine: &Machine) -> Vec<Value> {
    let list = ["list", "pending", "--output", "json"];
    let rows = machine.capif(&list).await.done().json();
    rows.as_array().unwrap().clone()
}

async fn invited(machine: &Machine) -> String {
    let invited = machine.capif(&["invite", "--approval"]).await.done();
    invited.stdout.trim().to_owned()
}

/// One command waits and is let in; another does not wait, and the same command finds out later.
#[tokio::test]
async fn an_operator_approves_and_rejects() {
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let _ccf = machine.core_function().await;
    let folder = |name: &str| machine.folder(name).display().to_string();

    let code = invited(&machine).await;
    let amy = folder("amy");
    let waits = [
        "invoker", "onboard", "--code", &code, "--dir", &amy, "--wait", "1m",
    ];
    let decides = async {
        eventually("it waits", || async { !pending(&machine).await.is_empty() }).await;
        let row = pending(&machine).await.remove(0);
        assert_eq!(row["what"], "onboarding");
        let id = row["id"].as_str().unwrap().to_owned();
        let table = machine.capif(&["list", "pending"]).await.done();
        assert!(
            table.stdout.starts_with("ID ") && table.stdout.contains(&id),
            "{table:?}"
        );
        let approved = machine.capif(&["approve", &id]).await.done();
        assert!(approved.stderr.contains("is approved"), "{approved:?}");
        id
    };
    let (onboarded, id) = tokio::join!(machine.capif(&waits), decides);
    let onboarded = onboarded.done();
    assert!(onboarded.stderr.contains("capif approve"), "{onboarded:?}");
    assert_eq!(onboarded.stdout.trim(), id);
    assert!(pending(&machine).await.is_empty());
    machine
        .capif(&["approve", &id])
        .await
        .failed(3, "no such request");

    let code = invited(&machine).await;
    let bob = folder("bob");
    let asks = [
        "invoker",
        "onboard",
        "--code",
        &code,
        "--dir",
        &bob,
        "--no-wait",
    ];
    for _ in 0..2 {
        let waits = machine.capif(&asks).await;
        waits.failed(2, "run the same command again");
    }
    let row = pending(&machine).await.remove(0);
    let id = row["id"].as_str().unwrap();
    let reject = ["reject", id, "--reason", "we do not know you"];
    machine.capif(&reject).await.done();
    let refused = machine.capif(&asks).await;
    refused.failed(2, "we do not know you");
    let row = pending(&machine).await.remove(0);
    assert_eq!(row["reason"], "we do not know you");
}

//! `docs/MIGRATING.md` is true: its commands, in their order, in an empty folder.

use std::{path::Path, process::Command};

use crate::support::process::Machine;

/// The command blocks of a page.
fn commands(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap());
    blocks.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_commands_of_the_page_lead_to_a_user_who_enrols() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("did not run: there is no curl here");
        return;
    }
    let page = include_str!("../../docs/MIGRATING.md");
    let mut machine = Machine::new();
    // The page speaks of the default ports, which may be taken.
    let free = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (core, accounts, plain) = (free(), free(), free());
    machine.set("CAPIF_CCF__LISTEN", &format!("127.0.0.1:{core}"));
    machine.set(
        "CAPIF_ACCOUNT_SERVICE__LISTEN",
        &format!("127.0.0.1:{accounts}"),
    );
    let script = commands(page)
        .replace("capifcore:8443", &format!("capifcore:{core}"))
        .replace("localhost:8084", &format!("localhost:{accounts}"))
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{plain}"));
    assert!(script.contains("capif serve") && script.contains("createUser"));
    assert!(!script.contains(":8443") && !script.contains(":8084"));
    let file = machine.work().join("migrating.sh");
    // A command that fails leaves no core function behind.
    let around = "set -euo pipefail\nset -m\ntrap 'kill %1 2>/dev/null || true' EXIT\n";
    std::fs::write(&file, format!("{around}{script}")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_capif")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command
        .arg(&file)
        .current_dir(machine.work())
        .env("HOME", machine.folder("home"))
        .env("PATH", path)
        .envs(machine.environment().iter().cloned());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let log = std::fs::read_to_string(machine.work().join("serve.log")).unwrap_or_default();
    assert!(output.status.success(), "{said}\n{complaint}\n{log}");
    assert!(said.contains("\"uuid\""), "{said}");
    assert!(said.contains("ada") && said.contains("admin"), "{said}");
    let read = |name: &str| std::fs::read_to_string(machine.work().join(name)).unwrap();
    assert!(read("auth.json").contains("\"ca_root\""));
    assert!(said.contains("\"ccf_publish_url\""), "{said}");
    assert!(read("nef.json").contains("\"access_token\""));
    assert!(read("root.json").contains("BEGIN CERTIFICATE"));
    assert!(read("metadata.json").contains("introspection_endpoint"));
    assert!(log.contains("compat: opencapif"), "{log}");
}

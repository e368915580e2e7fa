//! The examples of the library do what they say. They are built by `cargo test` for the whole workspace; where they are not there, the
//! test says that it did not run.

use std::{path::PathBuf, process::Command};

use crate::support::{backend::Backend, process::Machine};

fn example(name: &str) -> Option<PathBuf> {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_capif"));
    let path = program.with_file_name("examples").join(name);
    if !path.exists() {
        eprintln!("did not run: {} is not built", path.display());
        return None;
    }
    Some(path)
}

async fn run(path: PathBuf, machine: &Machine, arguments: &[&str]) -> String {
    let mut command = Command::new(path);
    command.args(arguments).current_dir(machine.work());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaint}");
    said
}

#[tokio::test]
async fn an_invoker_calls_and_a_provider_publishes() {
    let (Some(invoker), Some(provider)) = (example("invoker"), example("provider")) else {
        return;
    };
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let _ccf = machine.core_function().await;
    machine.capif(&["provider", "add", "acme"]).await.done();
    let backend = Backend::start();
    let url = backend.url();
    let first = ["gateway", "--bundle", "acme.bundle", "--api", "weather"];
    let more = ["--upstream", &url, "--listen", "127.0.0.1:0"];
    let all = [&first[..], &more].concat();
    let _gateway = machine.serve(&all, "capif invite").await;
    let invite = machine.capif(&["invite"]).await.done();
    let code = invite.stdout.trim();
    for _ in 0..2 {
        let arguments = ["app", code, "weather", "/weather/v1/today"];
        let said = run(invoker.clone(), &machine, &arguments).await;
        assert!(said.contains("called weather: 200 OK"), "{said}");
        assert!(said.contains("GET /weather/v1/today"), "{said}");
    }
    assert_eq!(backend.seen().len(), 2);

    machine.capif(&["provider", "add", "other"]).await.done();
    let arguments = ["own", "other.bundle", "forecast", "8445"];
    let first = run(provider.clone(), &machine, &arguments).await;
    let again = [&arguments[..], &["INV0"]].concat();
    let second = run(provider, &machine, &again).await;
    assert!(second.starts_with(&first), "{first}{second}");
    assert!(second.contains("this caller may not call here"), "{second}");
    let apis = machine.capif(&["list", "apis", "--output", "json"]).await;
    let apis = apis.done().json();
    let names: Vec<&str> = apis
        .as_array()
        .unwrap()
        .iter()
        .map(|api| api["apiName"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

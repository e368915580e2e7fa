//! Private keys that do not lie open: sealed files, and a PKCS#11 token.

use std::{fs, path::Path, process::Command};

use capif_ccf::{
    ccf::Ccf,
    config::{Compat, Config, CustodySection},
    init::{Options, init_with},
};

use super::secret;
use crate::support::{World, compat, holds, process::Machine};

const PASSPHRASE: &str = "correct horse battery staple";

fn sealed(folder: &Path) -> Options {
    Options {
        custody: CustodySection {
            passphrase_file: secret(folder, "passphrase", PASSPHRASE),
            ..CustodySection::default()
        },
        authority: None,
    }
}

/// P-10: a core function whose keys are sealed works as any other, over a restart and another authority; nothing in its folder
/// holds an open key or the passphrase.
#[tokio::test]
async fn a_core_function_works_with_sealed_keys() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::made(&sealed(folder.path()), |_| {}).await;
    let amy = world.raw_invoker(&[]).await;
    let body = serde_json::json!({ "root": true, "overlapSeconds": 3600 });
    let (status, answer) = world
        .operator(http::Method::POST, "/authority/roll", Some(body))
        .await;
    assert_eq!(status, http::StatusCode::OK, "{answer}");
    world.stop().await;
    world.resume().await;
    let path = format!("/capif-renewal/v1/{}", amy.id);
    assert_eq!(amy.get(&path).await.status, http::StatusCode::OK);
    world.raw_invoker(&[]).await;
    world.stop().await;
    for folder in ["ca", "keys"] {
        let folder = world.dir.path().join(folder);
        assert!(!holds(&folder, b"-----BEGIN PRIVATE KEY-----"));
        assert!(holds(&folder, b"-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    }
    assert!(!holds(world.dir.path(), PASSPHRASE.as_bytes()));
}

/// P-10: without the passphrase, or with a wrong one, it does not start, and says which file does not open and what to do.
#[tokio::test]
async fn without_the_passphrase_it_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("ccf");
    let options = sealed(folder.path());
    init_with(&dir, &options, &capif_transport::SystemClock).unwrap();
    let start = async |custody: CustodySection| {
        let mut config = Config::parse("").unwrap();
        config.ccf.listen.set_port(0);
        config.management.listen.set_port(0);
        config.revocation.listen.set_port(0);
        config.operator.listen = None;
        config.custody = custody;
        let clock = std::sync::Arc::new(capif_transport::SystemClock);
        match Ccf::start(&dir, config, clock).await {
            Ok(_) => panic!("it started"),
            Err(error) => error.to_string(),
        }
    };
    let said = start(CustodySection::default()).await;
    assert!(
        said.contains("is sealed") && said.contains("passphrase_file"),
        "{said}"
    );
    let wrong = secret(folder.path(), "wrong", "another passphrase");
    let said = start(CustodySection {
        passphrase_file: wrong.clone(),
        ..CustodySection::default()
    })
    .await;
    assert!(said.contains("does not open"), "{said}");
    fs::remove_file(&wrong).unwrap();
    let said = start(CustodySection {
        passphrase_file: wrong.clone(),
        ..CustodySection::default()
    })
    .await;
    assert!(said.contains("wrong"), "{said}");
    // An open key among the sealed ones was put there by somebody.
    let open = dir.join("keys/credential.key");
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    secret(&dir.join("keys"), "credential.key", &key);
    let said = start(options.custody).await;
    assert!(
        said.contains("is not sealed") && said.contains(&open.display().to_string()),
        "{said}"
    );
}

/// P-10: `capif ca seal` seals a folder that is there already, which then starts with the passphrase alone: from a file, or as
/// systemd hands it over.
#[tokio::test]
async fn an_existing_folder_is_sealed() {
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let file = secret(&machine.work(), "passphrase", PASSPHRASE);
    let seal = ["ca", "seal", "--passphrase-file", "passphrase"];
    {
        let _running = machine.core_function().await;
        machine.capif(&seal).await.failed(1, "stop it first");
    }
    let said = machine.capif(&seal).await.done();
    // One more where the key of the server certificate is kept.
    let files = 5 + usize::from(compat() == Compat::Opencapif);
    let sealed = format!("sealed {files} key files");
    assert!(said.stderr.contains(&sealed), "{said:?}");
    assert!(said.stderr.contains("passphrase_file"), "{said:?}");
    assert!(!said.stderr.contains(PASSPHRASE), "{said:?}");
    let said = machine.capif(&seal).await.done();
    assert!(said.stderr.contains("already"), "{said:?}");
    machine.capif(&["serve"]).await.failed(1, "is sealed");

    machine.set(
        "CAPIF_CUSTODY__PASSPHRASE_FILE",
        &file.display().to_string(),
    );
    drop(machine.core_function().await);
    machine.set("CAPIF_CUSTODY__PASSPHRASE_FILE", "");
    let credentials = tempfile::tempdir().unwrap();
    fs::copy(&file, credentials.path().join("capif-passphrase")).unwrap();
    machine.set(
        "CREDENTIALS_DIRECTORY",
        &credentials.path().display().to_string(),
    );
    let service = machine.core_function().await;
    assert!(!service.stderr().contains(PASSPHRASE));
}

/// R-T-04, P-10: the issuing key is made in a PKCS#11 token and used there, for certificates, revocation lists and the authority that
/// follows; the folder holds no key of an issuing authority at all.
#[tokio::test]
async fn the_issuing_key_lies_in_a_token() {
    const MODULES: [&str; 3] = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    ];
    let mut machine = Machine::new();
    let tokens = machine.work().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let settings = machine.work().join("softhsm2.conf");
    fs::write(
        &settings,
        format!("directories.tokendir = {}\n", tokens.display()),
    )
    .unwrap();
    let made = Command::new("softhsm2-util")
        .args([
            "--init-token",
            "--free",
            "--label",
            "capif",
            "--pin",
            "123456",
            "--so-pin",
            "654321",
        ])
        .env("SOFTHSM2_CONF", &settings)
        .output();
    let module = MODULES.into_iter().find(|path| Path::new(path).exists());
    let (Ok(made), Some(module)) = (made, module) else {
        return println!("did not run: there is no SoftHSM here");
    };
    assert!(made.status.success(), "{made:?}");
    machine.set("SOFTHSM2_CONF", &settings.display().to_string());
    let pin = secret(&machine.work(), "pin", "123456\n");
    let init = ["init", "--pkcs11-module", module, "--pkcs11-token"];
    let init = |label| [init.as_slice(), &[label, "--pkcs11-pin-file", "pin"]].concat();
    machine
        .capif(&init("another"))
        .await
        .failed(1, "no PKCS#11 token with the label `another`");
    machine.capif(&init("capif")).await.done();
    let folder = machine.ccf_folder().join("ca");
    let key = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert!(
        key("issuing.key").starts_with("pkcs11:"),
        "{}",
        key("issuing.key")
    );
    assert!(key("root.key").contains("PRIVATE KEY"));

    let service = machine.core_function().await;
    onboard(&machine).await;
    machine.capif(&["ca", "roll"]).await.done();
    assert!(
        key("issuing-2.key").starts_with("pkcs11:"),
        "{}",
        key("issuing-2.key")
    );
    onboard(&machine).await;
    drop(service);
    secret(&machine.work(), "pin", "000000");
    machine.capif(&["serve"]).await.failed(1, "refuses the PIN");
    fs::remove_file(&pin).unwrap();
    machine.capif(&["serve"]).await.failed(1, "PIN");
}

async fn onboard(machine: &Machine) {
    let enrolment = machine.invite().await;
    let folder = tempfile::tempdir().unwrap();
    capif_client::Invoker::onboard(
        capif_client::Keystore::open(folder.path().join("amy")).unwrap(),
        &enrolment,
        capif_client::OnboardingRequest::default(),
        crate::support::process::system_clock(),
    )
    .await
    .unwrap();
}

//! An authority of somebody else: brought along, or asked for each certificate.

use std::{fs, path::Path};

use capif_ccf::{
    config::AuthoritySection,
    init::{BroughtAuthority, Options},
};
use http::{Method, StatusCode};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};

use super::{NO_OPENSSL, Openssl, secret};
use crate::support::{World, keys, people::enrolment};

/// Root and issuing authority of somebody else, in a folder.
fn outside(folder: &Path) -> (String, String) {
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let now = OffsetDateTime::from(std::time::UNIX_EPOCH) + Duration::days(365 * 55);
        params.not_before = now;
        params.not_after = now + Duration::days(365 * 20);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    };
    let (root, root_key) = (params("Outside Root"), keys::p256());
    let (issuing, issuing_key) = (params("Outside Issuing"), KeyPair::generate().unwrap());
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let issuer = Issuer::from_params(&root, &root_key);
    let issuing_pem = issuing.signed_by(&issuing_key, &issuer).unwrap().pem();
    fs::write(folder.join("root.pem"), &root_pem).unwrap();
    fs::write(folder.join("issuing.pem"), &issuing_pem).unwrap();
    secret(folder, "issuing.key", &issuing_key.serialize_pem());
    (root_pem, issuing_pem)
}

/// R-T-04: an issuing authority that was made elsewhere certifies and revokes, and its root is what everybody is told to believe.
#[tokio::test(flavor = "multi_thread")]
async fn a_brought_authority_certifies_and_revokes() {
    let folder = tempfile::tempdir().unwrap();
    let (root, issuing) = outside(folder.path());
    let path = |name: &str| folder.path().join(name);
    let options = Options {
        authority: Some(BroughtAuthority {
            certificates: path("issuing.pem"),
            key: path("issuing.key"),
            root: Some(path("root.pem")),
        }),
        ..Options::default()
    };
    let world = World::made(&options, |_| {}).await;
    let ders = |pem: &str| -> Vec<Vec<u8>> {
        let blocks = pem::parse_many(pem).unwrap().into_iter();
        blocks.map(pem::Pem::into_contents).collect()
    };
    assert_eq!(ders(&world.invite(&[]).await.anchors_pem), ders(&root));
    let amy = world.raw_invoker(&[]).await;
    assert_eq!(ders(&amy.pems.chain)[1..], ders(&issuing));
    let body = serde_json::json!({ "overlapSeconds": 60 });
    let (status, answer) = world
        .operator(Method::POST, "/authority/roll", Some(body))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "the root is not here");
    assert!(
        answer["detail"].as_str().unwrap().contains("root.key"),
        "{answer}"
    );
    let Some(openssl) = Openssl::find() else {
        return println!("{NO_OPENSSL}");
    };
    assert_eq!(openssl.ocsp(&world, &amy).await, "good");
    let gone = format!("/api-invoker-management/v1/onboardedInvokers/{}", amy.id);
    assert_eq!(amy.delete(&gone).await.status, StatusCode::NO_CONTENT);
    assert_eq!(openssl.ocsp(&world, &amy).await, "revoked");
    assert!(!openssl.passes(&world, &amy).await);
}

/// A hook as an operator may write one: it has OpenSSL's program sign, and refuses as long as a file says so.
const HOOK: &str = r#"
import json, os, subprocess, sys, tempfile
folder = sys.argv[1]
order = json.load(sys.stdin)
if os.path.exists(os.path.join(folder, "closed")):
    sys.exit("the vault is closed")
server = ",serverAuth" if order["role"] in ("AEF", "CCF") else ""
kind = lambda host: "IP:" if host.replace(".", "").isdigit() or ":" in host else "DNS:"
names = ["URI:" + order["uri"]] + [kind(host) + host for host in order["hosts"]]
with tempfile.TemporaryDirectory() as work:
    place = lambda name: os.path.join(work, name)
    with open(place("key.pem"), "w") as file:
        file.write(order["publicKeyPem"])
    with open(place("extensions"), "w") as file:
        file.write("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n")
        file.write("extendedKeyUsage=clientAuth" + server + "\nsubjectAltName=" + ",".join(names) + "\n")
    subprocess.run(["openssl", "x509", "-new", "-force_pubkey", place("key.pem"), "-days", "30",
        "-subj", "/OU=" + order["role"] + "/CN=" + order["id"], "-extfile", place("extensions"),
        "-CA", os.path.join(folder, "issuing.pem"), "-CAkey", os.path.join(folder, "issuing.key"),
        "-out", place("leaf.pem")], check=True, stderr=subprocess.DEVNULL)
    sys.stdout.write(open(place("leaf.pem")).read() + open(os.path.join(folder, "issuing.pem")).read())
"#;

/// R-T-04: with a signing hook every certificate, the core function's own too, comes from the outside authority, and its root is what
/// counts; when it does not sign, nobody is onboarded, and whoever asked may ask again with the same credential.
#[tokio::test(flavor = "multi_thread")]
async fn a_hook_has_each_certificate_signed() {
    let python = std::process::Command::new("python3")
        .arg("--version")
        .output();
    if Openssl::find().is_none() || python.is_err() {
        return println!("did not run: there is no openssl or no python3 here");
    }
    let folder = tempfile::tempdir().unwrap();
    let (root, issuing) = outside(folder.path());
    let path = |name: &str| folder.path().join(name);
    fs::write(path("hook.py"), HOOK).unwrap();
    let argument = |name: &str| path(name).display().to_string();
    let section = AuthoritySection {
        hook: vec![
            "/usr/bin/env".to_owned(),
            "python3".to_owned(),
            argument("hook.py"),
            folder.path().display().to_string(),
        ],
        hook_seconds: 30,
        hook_ca_file: path("root.pem"),
    };
    let mut world = World::with(|config| config.authority = section).await;
    // The program goes by the time of the machine, and its certificates are to count at once.
    world.clock.advance(Duration::minutes(1));
    fs::write(world.dir.path().join("ca/root.pem"), &root).unwrap();
    let anchors = world.invite(&[]).await.anchors_pem;
    assert_eq!(anchors, root);
    let amy = world.raw_invoker(&[]).await;
    let chain = pem::parse_many(&amy.pems.chain).unwrap();
    let above = pem::parse(&issuing).unwrap();
    assert_eq!(chain.len(), 2);
    assert_eq!(chain[1].contents(), above.contents());
    let domain = world.domain("acme").await;
    for party in [&amy.party, &domain.aef, &domain.amf] {
        let status = format!("/capif-renewal/v1/{}", party.id);
        let answer = party.get(&status).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        assert!(answer.json()["ocspResponse"].is_null());
        assert!(answer.json()["demand"].is_null(), "{}", answer.json());
    }

    fs::write(path("closed"), "").unwrap();
    let before = world.list("invokers").await.len();
    let credential = world.credential(&[]).await;
    let body = enrolment(&keys::request(&keys::p256()));
    let refused = world.onboard(&credential, &body).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("did not sign"), "{detail}");
    assert!(
        !detail.contains("vault"),
        "what the hook says is for the log: {detail}"
    );
    assert_eq!(world.list("invokers").await.len(), before);
    fs::remove_file(path("closed")).unwrap();
    let onboarded = world.onboard(&credential, &body).await;
    assert_eq!(
        onboarded.status,
        StatusCode::CREATED,
        "{}",
        onboarded.json()
    );

    world.stop().await;
    world.resume().await;
    let status = format!("/capif-renewal/v1/{}", amy.id);
    assert_eq!(
        world
            .with_certificate(&amy.pems)
            .json(Method::GET, &status, None)
            .await
            .status,
        StatusCode::OK
    );
}

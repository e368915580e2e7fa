use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SubjectPublicKeyInfo,
};
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

/// An outside authority whose program answers what the test wants.
struct Outside {
    folder: tempfile::TempDir,
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = NOW - time::Duration::days(1);
    params.not_after = NOW + time::Duration::days(1000);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Outside {
    fn new() -> Self {
        let params = ca("outside");
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), &pem).unwrap();
        Self {
            folder,
            params,
            key,
            pem,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A hook whose program is this script.
    fn hook(&self, script: &str) -> Hook {
        let program = self.path("hook.sh");
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&program)
            .unwrap();
        std::io::Write::write_all(&mut &file, script.as_bytes()).unwrap();
        drop(file);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let section = AuthoritySection {
            // Through the shell, since a file that was just written may still be open in a child of another test.
            hook: vec!["/bin/sh".to_owned(), program.display().to_string()],
            hook_seconds: 30,
            hook_ca_file: self.path("ca.pem"),
        };
        Hook::open(&section).unwrap().unwrap()
    }

    fn certify(&self, wanted: &Wanted, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::default();
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, wanted.id.as_str());
        name.push(DnType::OrganizationalUnitName, wanted.role.as_str());
        name.push(DnType::OrganizationName, "Outside");
        params.not_before = NOW - time::Duration::minutes(1);
        params.not_after = wanted.not_after;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![Purpose::ClientAuth];
        if matches!(wanted.role, Role::Aef | Role::Ccf) {
            params.extended_key_usages.push(Purpose::ServerAuth);
        }
        let uri = format!("urn:capif:{}", wanted.id);
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        for host in &wanted.hosts {
            params.subject_alt_names.push(match host.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.as_str().try_into().unwrap()),
            });
        }
        change(&mut params);
        let key = SubjectPublicKeyInfo::from_der(&wanted.spki).unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(&key, &issuer).unwrap().pem()
    }
}

fn wanted(role: Role, hosts: &[&str]) -> Wanted {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    Wanted {
        id: "ID1".to_owned(),
        role,
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        spki: key.subject_public_key_info(),
        not_after: NOW + time::Duration::days(90),
    }
}

#[tokio::test]
async fn the_program_is_told_what_to_certify_and_its_answer_is_taken() {
    let outside = Outside::new();
    let wanted = wanted(Role::Aef, &["gw.example.com", "192.0.2.7", "::1"]);
    let leaf = outside.certify(&wanted, |_| {});
    fs::write(
        outside.path("answer.pem"),
        [leaf.as_str(), &outside.pem].concat(),
    )
    .unwrap();
    let folder = outside.folder.path().display();
    let hook = outside.hook(&format!(
        "cat > {folder}/order.json; cat {folder}/answer.pem"
    ));
    let certificate = hook.sign(&wanted, NOW).await.unwrap();

    let order: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(outside.path("order.json")).unwrap()).unwrap();
    assert_eq!(order["id"], "ID1");
    assert_eq!(order["role"], "AEF");
    assert_eq!(order["uri"], "urn:capif:ID1");
    assert_eq!(order["notBefore"], "2026-06-01T11:59:00Z");
    assert_eq!(order["notAfter"], "2026-08-30T12:00:00Z");
    assert_eq!(
        order["hosts"],
        serde_json::json!(["gw.example.com", "192.0.2.7", "::1"])
    );
    let key = pem::parse(order["publicKeyPem"].as_str().unwrap()).unwrap();
    assert_eq!(
        (key.tag(), key.contents()),
        ("PUBLIC KEY", wanted.spki.as_slice())
    );

    assert_eq!(
        certificate.pem,
        leaf.replace('\r', ""),
        "without the anchor"
    );
    assert_eq!(certificate.authority, NUMBER);
    assert_eq!(certificate.not_after.0, wanted.not_after);
    assert_eq!(certificate.public_key, sha256(&wanted.spki));
    let der = pem::parse(&leaf).unwrap();
    assert_eq!(certificate.fingerprint, sha256(der.contents()));
    assert!(!certificate.serial.is_empty());
}

#[test]
fn an_answer_that_is_more_or_less_than_asked_for_is_refused() {
    let outside = Outside::new();
    let hook = outside.hook("");
    let wanted = wanted(Role::ApiInvoker, &[]);
    let refused = |leaf: String, part: &str| {
        let error = hook.checked(&leaf, &wanted, NOW).unwrap_err();
        assert!(error.contains(part), "{part}: {error}");
    };
    assert!(
        hook.checked(&outside.certify(&wanted, |_| {}), &wanted, NOW)
            .is_ok()
    );
    let with = |change: fn(&mut CertificateParams)| outside.certify(&wanted, change);
    refused(
        with(|params| params.distinguished_name.push(DnType::CommonName, "ID2")),
        "common name",
    );
    refused(
        with(|params| {
            params
                .distinguished_name
                .push(DnType::OrganizationalUnitName, "AEF")
        }),
        "organizational unit",
    );
    refused(
        with(|params| {
            params
                .subject_alt_names
                .push(SanType::DnsName("x.example".try_into().unwrap()))
        }),
        "alternative names",
    );
    refused(
        with(|params| params.subject_alt_names.clear()),
        "alternative names",
    );
    refused(
        with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        "of an authority",
    );
    refused(
        with(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign)),
        "key usage",
    );
    refused(
        with(|params| params.extended_key_usages.push(Purpose::ServerAuth)),
        "purposes",
    );
    refused(
        with(|params| params.extended_key_usages.push(Purpose::Any)),
        "purposes",
    );
    refused(with(|params| params.extended_key_usages.clear()), "purpose");
    refused(
        with(|params| params.not_after += time::Duration::days(1)),
        "later than",
    );
    refused(
        with(|params| params.not_after = NOW - time::Duration::seconds(1)),
        "in the past",
    );
    refused(
        with(|params| params.not_before = NOW + time::Duration::hours(1)),
        "not count yet",
    );
    let other = self::wanted(Role::ApiInvoker, &[]);
    refused(outside.certify(&other, |_| {}), "another key");
    let stranger = Outside::new();
    refused(stranger.certify(&wanted, |_| {}), "did not sign");
    refused(outside.pem.clone(), "another key");
    refused(String::new(), "no certificate");
    refused("x".repeat(100), "no certificate");
}

#[test]
fn a_server_must_get_what_it_serves_under() {
    let outside = Outside::new();
    let hook = outside.hook("");
    let wanted = wanted(Role::Ccf, &["ccf.example.com"]);
    assert!(
        hook.checked(&outside.certify(&wanted, |_| {}), &wanted, NOW)
            .is_ok()
    );
    let bare = outside.certify(&wanted, |params| {
        params.extended_key_usages = vec![Purpose::ClientAuth];
    });
    assert!(
        hook.checked(&bare, &wanted, NOW)
            .unwrap_err()
            .contains("serverAuth")
    );
}

#[test]
fn a_chain_over_an_intermediate_authority_is_kept_without_the_anchor() {
    let outside = Outside::new();
    let params = ca("middle");
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let issuer = Issuer::from_params(&outside.params, &outside.key);
    let middle_pem = params.signed_by(&key, &issuer).unwrap().pem();
    let middle = Outside {
        folder: tempfile::tempdir().unwrap(),
        params,
        key,
        pem: middle_pem.clone(),
    };
    let hook = outside.hook("");
    let wanted = wanted(Role::Amf, &[]);
    let leaf = middle.certify(&wanted, |_| {});
    let chain = [leaf.as_str(), &middle_pem].concat();
    assert_eq!(
        hook.checked(&chain, &wanted, NOW).unwrap().pem,
        chain.replace('\r', "")
    );
    assert!(
        hook.checked(&leaf, &wanted, NOW)
            .unwrap_err()
            .contains("no anchor")
    );
    let swapped = [middle_pem.as_str(), &leaf].concat();
    assert!(hook.checked(&swapped, &wanted, NOW).is_err());
}

#[tokio::test]
async fn a_program_that_fails_is_refused_with_its_complaint() {
    let outside = Outside::new();
    let wanted = wanted(Role::Apf, &[]);
    let hook = outside.hook("echo 'the vault is sealed' >&2; exit 3");
    let error = hook.sign(&wanted, NOW).await.unwrap_err().to_string();
    assert!(
        error.contains("the vault is sealed") && error.contains('3'),
        "{error}"
    );
    let hook = outside.hook("exit 0");
    assert!(matches!(
        hook.sign(&wanted, NOW).await,
        Err(HookError::Unfit(_))
    ));
    let hook = outside.hook("head -c 1000000 /dev/zero | tr '\\0' 'x'");
    let error = hook.sign(&wanted, NOW).await.unwrap_err().to_string();
    assert!(error.contains("too long"), "{error}");
    let mut hook = outside.hook("");
    hook.command = vec!["/nowhere/hook".to_owned()];
    assert!(matches!(
        hook.sign(&wanted, NOW).await,
        Err(HookError::Start { .. })
    ));
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended() {
    ends("echo $$ > PID; exec sleep 1000").await;
}

/// Most programs are scripts that wait for others.
#[tokio::test]
async fn what_a_program_started_ends_with_it() {
    ends("sleep 1000 & echo $! > PID; wait").await;
}

/// The program does not answer in time, and then the process does not run that it noted.
async fn ends(script: &str) {
    let outside = Outside::new();
    let wanted = wanted(Role::Apf, &[]);
    let pid = outside.path("pid");
    let mut hook = outside.hook(&script.replace("PID", &pid.display().to_string()));
    hook.patience = Duration::from_millis(700);
    assert!(matches!(
        hook.sign(&wanted, NOW).await,
        Err(HookError::Slow(_))
    ));
    let text = fs::read_to_string(&pid).unwrap();
    let process = PathBuf::from(format!("/proc/{}/cmdline", text.trim()));
    for _ in 0..500 {
        // A process that has ended has no command line any more, whether or not it is still listed.
        if fs::read(&process).map_or(true, |line| line.is_empty()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the program runs on");
}

#[test]
fn anchors_that_are_none_are_refused() {
    let outside = Outside::new();
    let section = |file: PathBuf| AuthoritySection {
        hook: vec!["/bin/true".to_owned()],
        hook_seconds: 1,
        hook_ca_file: file,
    };
    assert!(Hook::open(&AuthoritySection::default()).unwrap().is_none());
    assert!(Hook::open(&section(outside.path("none.pem"))).is_err());
    let wanted = wanted(Role::Apf, &[]);
    fs::write(outside.path("leaf.pem"), outside.certify(&wanted, |_| {})).unwrap();
    let error = Hook::open(&section(outside.path("leaf.pem"))).unwrap_err();
    assert!(
        error.to_string().contains("no certificate authority"),
        "{error}"
    );
}

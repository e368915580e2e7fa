use std::{fs, path::PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use time::{Duration, macros::datetime};

use super::*;

const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

/// An authority and its key.
struct Ca {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

fn params(name: &str, length: Option<u8>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = NOW - Duration::days(1);
    params.not_after = NOW + Duration::days(100);
    params.is_ca = IsCa::Ca(match length {
        Some(length) => BasicConstraints::Constrained(length),
        None => BasicConstraints::Unconstrained,
    });
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn root(params: CertificateParams) -> Ca {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Ca { params, key, pem }
}

impl Ca {
    fn below(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let pem = params.signed_by(&key, &issuer).unwrap().pem();
        Self { params, key, pem }
    }

    fn authority_key(&self) -> AuthorityKey {
        AuthorityKey::from_pem(&self.key.serialize_pem()).unwrap()
    }
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

#[test]
fn a_chain_with_its_root_at_the_end_or_apart_is_taken() {
    let files = Files::new();
    let root = root(params("root", None));
    let middle = root.below(params("middle", Some(1)));
    let issuing = middle.below(params("issuing", Some(0)));
    let chain = [issuing.pem.as_str(), &middle.pem].concat();
    let whole = files.put("whole.pem", &[chain.as_str(), &root.pem].concat());
    let chain_file = files.put("chain.pem", &chain);
    let root_file = files.put("root.pem", &root.pem);
    let key = issuing.authority_key();
    for (certificates, root_file) in [
        (&whole, None),
        (&chain_file, Some(root_file.as_path())),
        (&whole, Some(root_file.as_path())),
    ] {
        let brought = read(certificates, &key, root_file, NOW).unwrap();
        let plain = |pem: &str| pem.replace('\r', "");
        assert_eq!(brought.issuing, plain(&chain));
        assert_eq!(brought.root, plain(&root.pem));
    }
}

#[test]
fn what_cannot_issue_is_refused_by_name() {
    let files = Files::new();
    let top = root(params("root", None));
    let issuing = top.below(params("issuing", Some(0)));
    let refused = |chain: &[&str], key: &Ca, at: OffsetDateTime, part: &str| {
        let file = files.put("chain.pem", &chain.concat());
        let error = match read(&file, &key.authority_key(), None, at) {
            Ok(_) => panic!("taken, but expected: {part}"),
            Err(error) => error.to_string(),
        };
        assert!(
            error.contains(part) && error.contains("chain.pem"),
            "{part}: {error}"
        );
    };
    let whole = [issuing.pem.as_str(), &top.pem];
    refused(&whole, &top, NOW, "private key is not the one");
    refused(
        &whole,
        &issuing,
        NOW + Duration::days(200),
        "does not count now",
    );
    refused(&[&issuing.pem], &issuing, NOW, "is no root");
    refused(&[&top.pem], &top, NOW, "root itself is not to issue");
    let other = root(params("root", None));
    refused(&[&issuing.pem, &other.pem], &issuing, NOW, "did not sign");
    let stranger = root(params("stranger", None));
    refused(
        &[&issuing.pem, &stranger.pem],
        &issuing,
        NOW,
        "no anchor signed",
    );
    refused(&["nothing"], &issuing, NOW, "holds no certificate");
    refused(
        &[&issuing.key.serialize_pem()],
        &issuing,
        NOW,
        "PRIVATE KEY",
    );

    let mut leaf = params("leaf", None);
    leaf.is_ca = IsCa::ExplicitNoCa;
    let leaf = top.below(leaf);
    refused(
        &[&leaf.pem, &top.pem],
        &leaf,
        NOW,
        "no certificate authority",
    );
    let mut mute = params("mute", Some(0));
    mute.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let mute = top.below(mute);
    refused(&[&mute.pem, &top.pem], &mute, NOW, "cRLSign");
    mute_signs_nothing(&top, &refused);
    let narrow = root(params("narrow", Some(0)));
    let middle = narrow.below(params("middle", None));
    let deep = middle.below(params("deep", Some(0)));
    refused(
        &[&deep.pem, &middle.pem, &narrow.pem],
        &deep,
        NOW,
        "fewer authorities",
    );
    let mut strange = params("strange", Some(0));
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    strange.custom_extensions = vec![extension];
    let strange = top.below(strange);
    refused(&[&strange.pem, &top.pem], &strange, NOW, "not understood");
}

fn mute_signs_nothing(top: &Ca, refused: &impl Fn(&[&str], &Ca, OffsetDateTime, &str)) {
    let mut params = params("reader", Some(0));
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let reader = top.below(params);
    refused(
        &[&reader.pem, &top.pem],
        &reader,
        NOW,
        "may not sign certificates",
    );
}

#[test]
fn a_forged_signature_is_found() {
    let files = Files::new();
    let top = root(params("root", None));
    // The same name, another key.
    let impostor = root(params("root", None));
    let issuing = impostor.below(params("issuing", Some(0)));
    let file = files.put("chain.pem", &issuing.pem);
    let root_file = files.put("root.pem", &top.pem);
    assert!(read(&file, &issuing.authority_key(), Some(&root_file), NOW).is_err());
}

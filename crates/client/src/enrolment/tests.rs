use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use capif_spec::common::Redacted;
use serde_json::{Value, json};

use super::{Bundle, Enrolment, EnrolmentCode};
use crate::error::{Error, ErrorKind};

const CANARY: &str = "eyJhbGciOiJFUzI1NiJ9.canary.signature";

fn code() -> EnrolmentCode {
    EnrolmentCode {
        address: "ccf.example:8443".to_owned(),
        ca_sha256: [7; 32],
        credential: Redacted::from(CANARY),
    }
}

fn anchors_pem() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.self_signed(&key).unwrap().pem()
}

fn bundle() -> Bundle {
    Bundle {
        address: "192.0.2.7:8443".to_owned(),
        anchors_pem: anchors_pem(),
        domain_name: "Acme & Söhne".to_owned(),
        credential: Redacted::from(CANARY),
    }
}

fn written(json: &str) -> String {
    format!("capif1.{}", BASE64_URL_SAFE_NO_PAD.encode(json))
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, input: &str) {
    let error = result.expect_err(input);
    assert_eq!(error.kind(), ErrorKind::Usage, "{input}");
    assert!(!error.to_string().contains("canary"), "{error}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

#[test]
fn codes_survive_being_written_and_read() {
    let text = code().to_string();
    assert!(text.starts_with("capif1."));
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(text.parse::<EnrolmentCode>().unwrap(), code());
    assert_eq!(
        format!(" {text}\r\n").parse::<EnrolmentCode>().unwrap(),
        code()
    );
    for address in ["[2001:db8::7]:443", "127.0.0.1:1", "localhost:65535"] {
        let code = EnrolmentCode {
            address: address.to_owned(),
            ca_sha256: [0xff; 32],
            credential: Redacted::from("a-b._~+/=="),
        };
        assert_eq!(code.to_string().parse::<EnrolmentCode>().unwrap(), code);
    }
}

#[test]
fn codes_show_no_credential_in_debug_form() {
    assert!(!format!("{:?}", code()).contains("canary"));
    assert!(!format!("{:?}", bundle()).contains("canary"));
}

#[test]
fn malformed_codes_are_refused() {
    let digest = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
    let parts = |address: Value, digest: Value, credential: Value| {
        written(&json!({ "a": address, "f": digest, "t": credential }).to_string())
    };
    let good = json!("ccf.example:8443");
    let text = code().to_string();
    let mut inputs = vec![
        String::new(),
        " ".to_owned(),
        "capif1".to_owned(),
        "capif1.".to_owned(),
        "capif2.e30".to_owned(),
        "capif10.e30".to_owned(),
        "CAPIF1.e30".to_owned(),
        "e30".to_owned(),
        CANARY.to_owned(),
        "https://ccf.example/canary".to_owned(),
        text.replace("capif1.", "capif1:"),
        text.replace("capif1.", "capif1.."),
        format!("{text}="),
        format!("{text}!"),
        format!("{text} {text}"),
        text[..text.len() - 1].to_owned(),
        text[..text.len() - 9].to_owned(),
        text[..20].to_owned(),
        text.replace("capif1.", "capif1.\n"),
        format!("capif1.{}", "A".repeat(20_000)),
        format!(
            "capif1.{}",
            BASE64_URL_SAFE_NO_PAD.encode([0xff, 0xfe, 0x00])
        ),
        written(""),
        written("null"),
        written("[]"),
        written("\"canary\""),
        written("{}"),
        written("{} {}"),
        written(&"[".repeat(1000)),
    ];
    inputs.extend([
        written(&json!({ "a": good, "f": digest }).to_string()),
        written(&json!({ "a": good, "t": CANARY }).to_string()),
        written(&json!({ "f": digest, "t": CANARY }).to_string()),
        written(&json!({ "a": good, "f": digest, "t": CANARY, "x": 1 }).to_string()),
        written(&format!(
            r#"{{"a":"ccf.example:8443","f":"{digest}","t":"{CANARY}","t":"canary"}}"#
        )),
        written(&format!(
            r#"{{"a":"ccf.example:8443","f":"{digest}","t":"{CANARY}","\u0074":"canary"}}"#
        )),
        parts(json!(1), json!(digest), json!(CANARY)),
        parts(json!("ccf.example"), json!(digest), json!(CANARY)),
        parts(
            json!("https://ccf.example:8443"),
            json!(digest),
            json!(CANARY),
        ),
        parts(json!("ccf.example:0"), json!(digest), json!(CANARY)),
        parts(json!(""), json!(digest), json!(CANARY)),
        parts(good.clone(), json!(""), json!(CANARY)),
        parts(
            good.clone(),
            json!(BASE64_URL_SAFE_NO_PAD.encode([7; 31])),
            json!(CANARY),
        ),
        parts(
            good.clone(),
            json!(BASE64_URL_SAFE_NO_PAD.encode([7; 33])),
            json!(CANARY),
        ),
        parts(good.clone(), json!("07".repeat(32)), json!(CANARY)),
        parts(good.clone(), json!(7), json!(CANARY)),
        parts(good.clone(), json!(digest), json!("")),
        parts(good.clone(), json!(digest), json!("  ")),
        parts(good.clone(), json!(digest), json!("canary\r\nx: y")),
        parts(good.clone(), json!(digest), json!("canary canary")),
        parts(good.clone(), json!(digest), json!("canary\u{e9}")),
        parts(good.clone(), json!(digest), json!(null)),
        parts(good.clone(), json!(digest), json!("c".repeat(9000))),
    ]);
    assert!(inputs.len() >= 30);
    for input in inputs {
        assert_refused(input.parse::<EnrolmentCode>(), &input);
    }
}

#[test]
fn a_code_of_another_version_says_so() {
    let error = "capif2.e30".parse::<EnrolmentCode>().unwrap_err();
    assert!(error.to_string().contains("another version"), "{error}");
}

#[test]
fn bundles_survive_being_written_and_read() {
    let bundle = bundle();
    assert_eq!(bundle.to_string().parse::<Bundle>().unwrap(), bundle);
}

#[test]
fn malformed_bundles_are_refused() {
    let good: Value = serde_json::from_str(&bundle().to_string()).unwrap();
    let with = |member: &str, value: Value| {
        let mut bundle = good.clone();
        bundle[member] = value;
        bundle.to_string()
    };
    let without = |member: &str| {
        let mut bundle = good.clone();
        bundle.as_object_mut().unwrap().remove(member);
        bundle.to_string()
    };
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let text = good.to_string();
    let mut inputs = vec![
        String::new(),
        "\n".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "canary".to_owned(),
        text[..text.len() - 1].to_owned(),
        format!("{text}{text}"),
        text.replacen('{', r#"{"credential":"canary","#, 1),
        with("capifBundle", json!(2)),
        with("capifBundle", json!("1")),
        with("ccfAddress", json!("ccf.example")),
        with("ccfAddress", json!(" ")),
        with("domainName", json!("")),
        with("domainName", json!("a\nb")),
        with("domainName", json!("a".repeat(257))),
        with("caPem", json!("")),
        with("caPem", json!("canary")),
        with("caPem", json!(key)),
        with("caPem", json!(format!("{}{key}", anchors_pem()))),
        with(
            "caPem",
            json!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ),
        with("caPem", json!("A".repeat(200_000))),
        with("credential", json!("")),
        with("credential", json!("canary\ncanary")),
        with("credential", json!(null)),
        with("unknown", json!("canary")),
        format!("{text}{}", " ".repeat(300_000)),
    ];
    for member in [
        "capifBundle",
        "ccfAddress",
        "domainName",
        "caPem",
        "credential",
    ] {
        inputs.push(without(member));
    }
    assert!(inputs.len() >= 30);
    for input in inputs {
        assert_refused(Bundle::parse(&input), &input);
    }
}

#[test]
fn all_three_parts_are_needed() {
    let pem = anchors_pem();
    let credential = Redacted::from(CANARY);
    let enrolment = Enrolment::from_parts("CCF.example:8443", &*pem, credential.clone()).unwrap();
    assert_eq!(enrolment.address, "ccf.example:8443");
    assert_refused(
        Enrolment::from_parts("", &*pem, credential.clone()),
        "address",
    );
    assert_refused(
        Enrolment::from_parts("ccf.example:8443", " ", credential.clone()),
        "anchors",
    );
    assert_refused(
        Enrolment::from_parts("ccf.example:8443", "no PEM", credential),
        "anchors",
    );
    assert_refused(
        Enrolment::from_parts("ccf.example:8443", &*pem, Redacted::from("")),
        "credential",
    );
}

//! Public keys and PKCS#10 requests (R-6.1-09, R-T-04, R-T-05, D-22, P-24): of a request only the key counts, after its
//! signature and its strength were checked; the certificate is always of our profile.

use http::StatusCode;
use rcgen::{
    BasicConstraints, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};

use super::requests::nothing_left;
use crate::support::{
    World,
    certificates::{self, Expected},
    keys,
    people::enrolment,
};

/// Sends keys in one onboarding request each, with one credential: a refused key does not use it up.
async fn all_refused(cases: Vec<(String, String)>) {
    let world = World::start().await;
    let credential = world.credential(&[]).await;
    for (what, text) in cases {
        let answer = world.onboard(&credential, &enrolment(&text)).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{what}: {}",
            answer.json()
        );
        assert_eq!(answer.cause(), "MANDATORY_IE_INCORRECT", "{what}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.starts_with("the public key is refused: "),
            "{what}: {detail}"
        );
    }
    nothing_left(&world).await;
    let answer = world
        .onboard(&credential, &enrolment(&keys::request(&keys::p256())))
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
}

/// R-T-04: keys and digests below the profile are refused: RSA under 2048 bits, curves other than P-256 and P-384, other kinds of
/// keys, requests signed with MD5 or SHA-1.
#[tokio::test]
async fn weak_and_foreign_keys_are_refused() {
    let fixtures = include_str!("weak_keys.pem");
    let mut cases: Vec<(String, String)> = fixtures
        .split("\n# ")
        .skip(1)
        .map(|fixture| {
            let (what, block) = fixture.split_once('\n').unwrap();
            (what.to_owned(), block.to_owned())
        })
        .collect();
    assert_eq!(cases.len(), 16);
    let ed25519 = keys::ed25519();
    cases.push(("Ed25519, request".to_owned(), keys::request(&ed25519)));
    cases.push(("Ed25519, key".to_owned(), keys::public_pem(&ed25519)));
    all_refused(cases).await;
}

/// D-22: exactly one PEM block with a complete request or key, and nothing else; a private key least of all.
#[tokio::test]
async fn anything_but_one_request_or_key_is_refused() {
    let key = keys::p256();
    let request = keys::request(&key);
    let public = keys::public_pem(&key);
    let (request_der, public_der) = (keys::der(&request), keys::der(&public));
    let with_tail = |der: &[u8]| [der, b"tail"].concat();
    let cut = |der: &[u8]| der[..der.len() - 1].to_vec();
    let request_pem = |der: &[u8]| keys::pem(der, "CERTIFICATE REQUEST");
    let public_pem = |der: &[u8]| keys::pem(der, "PUBLIC KEY");
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap()
        .pem();
    let cases = [
        ("nothing", String::new()),
        ("blanks", " \r\n\t ".to_owned()),
        ("text", "a public key".to_owned()),
        (
            "base64 without marks",
            request.lines().nth(1).unwrap().to_owned(),
        ),
        ("zeros", "\0".repeat(64)),
        (
            "an empty block",
            "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n".to_owned(),
        ),
        (
            "no end",
            request.lines().take(3).collect::<Vec<_>>().join("\n"),
        ),
        (
            "another end",
            request.replace("END CERTIFICATE REQUEST", "END PUBLIC KEY"),
        ),
        ("not base64", request.replacen("\nMI", "\n!!", 1)),
        ("two requests", format!("{request}{request}")),
        ("two keys", format!("{public}{public}")),
        ("request and key", format!("{request}{public}")),
        ("certificate", certificate.clone()),
        ("request and certificate", format!("{request}{certificate}")),
        (
            "octets after the request",
            request_pem(&with_tail(&request_der)),
        ),
        ("octets after the key", public_pem(&with_tail(&public_der))),
        ("request cut short", request_pem(&cut(&request_der))),
        ("key cut short", public_pem(&cut(&public_der))),
        ("key called request", request_pem(&public_der)),
        ("request called key", public_pem(&request_der)),
        ("random octets", public_pem(&[0x5a; 91])),
        ("a deep nest", public_pem(&[0x30, 0x80].repeat(5000))),
        (
            "a length beyond the end",
            public_pem(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x30]),
        ),
        ("private key", key.serialize_pem()),
        ("private key of RSA", keys::rsa_2048().serialize_pem()),
        (
            "private key under its old name",
            keys::pem(&key.serialize_der(), "EC PRIVATE KEY"),
        ),
        (
            "encrypted private key",
            keys::pem(&key.serialize_der(), "ENCRYPTED PRIVATE KEY"),
        ),
        (
            "private key and request",
            format!("{}{request}", key.serialize_pem()),
        ),
        ("too long", format!("{}{request}", "\n".repeat(17_000))),
        ("forty thousand octets", public_pem(&vec![0; 40_000])),
    ];
    all_refused(cases.map(|(what, text)| (what.to_owned(), text)).into()).await;
}

/// R-T-05: the signature of a request must prove possession of the private key.
#[tokio::test]
async fn a_request_without_proof_of_possession_is_refused() {
    let mut cases = Vec::new();
    for (kind, key, other) in [
        ("P-256", keys::p256(), keys::p256()),
        ("P-384", keys::p384(), keys::p384()),
        (
            "RSA",
            keys::rsa_2048(),
            KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap(),
        ),
    ] {
        let request = keys::der(&keys::request(&key));
        // Somebody else's key in an honest request.
        let (own, foreign) = (
            key.subject_public_key_info(),
            other.subject_public_key_info(),
        );
        cases.push((
            format!("{kind}: foreign key"),
            replaced(&request, &own, &foreign),
        ));
        // One bit of the signature, at its end.
        let mut flipped = request.clone();
        *flipped.last_mut().unwrap() ^= 1;
        cases.push((format!("{kind}: flipped bit"), flipped));
        // One letter of the subject.
        let named = keys::der(&keys::request_with(&key, |params| {
            params
                .distinguished_name
                .push(DnType::CommonName, "aaaaaaaa");
        }));
        cases.push((
            format!("{kind}: changed subject"),
            replaced(&named, b"aaaaaaaa", b"aaaaaaab"),
        ));
    }
    let cases = cases
        .into_iter()
        .map(|(what, der)| (what, keys::pem(&der, "CERTIFICATE REQUEST")));
    all_refused(cases.collect()).await;
}

/// R-T-04: a key that is none: points off the curve or at infinity, moduli and exponents that protect nothing.
#[tokio::test]
async fn keys_that_are_no_keys_are_refused() {
    let ec = keys::p256().subject_public_key_info();
    let point = ec.len() - 65;
    let with_point = |octets: &[u8]| {
        let mut key = ec[..point].to_vec();
        key.extend_from_slice(octets);
        // Three lengths count the point: of the whole, of the bit string, and none within.
        key[1] = u8::try_from(key.len() - 2).unwrap();
        key[point - 2] = u8::try_from(octets.len() + 1).unwrap();
        key
    };
    assert_eq!(with_point(&ec[point..]), ec, "the surgery is right");
    let mut off = ec.clone();
    *off.last_mut().unwrap() ^= 1;
    let modulus = vec![0xff; 256];
    let mut even = modulus.clone();
    even[255] = 0xfe;
    let (f4, rsa_der) = ([1, 0, 1], keys::rsa_2048().subject_public_key_info());
    // The real modulus follows four lengths and the algorithm.
    let real = rsa_der[33..33 + 256].to_vec();
    assert_eq!(rsa(&real, &f4), rsa_der, "the surgery is right");
    let cases = vec![
        ("off the curve", off),
        ("at infinity", with_point(&[0])),
        ("no point", with_point(&[])),
        ("half a point", with_point(&ec[point..point + 33])),
        (
            "hybrid form",
            with_point(&[&[6], &ec[point + 1..]].concat()),
        ),
        ("zero", with_point(&[&[4][..], &[0; 64]].concat())),
        ("RSA of 2040 bits", rsa(&real[..255], &f4)),
        ("RSA of 16384 bits", rsa(&vec![0xff; 2048], &f4)),
        ("even modulus", rsa(&even, &f4)),
        ("exponent 1", rsa(&real, &[1])),
        ("exponent 0", rsa(&real, &[0])),
        ("even exponent", rsa(&real, &[1, 0, 0])),
        ("no modulus", rsa(&[0], &f4)),
    ];
    let cases = cases
        .into_iter()
        .map(|(what, der)| (what.to_owned(), keys::pem(&der, "PUBLIC KEY")));
    all_refused(cases.collect()).await;
}

/// P-24: whatever a request asks for beside its key (names, addresses, a CA's rights, other purposes) is not in the certificate.
#[tokio::test]
async fn of_a_hostile_request_only_the_key_is_used() {
    let world = World::start().await;
    let victim = world.raw_invoker(&[]).await;
    let domain = world.domain("acme").await;
    let ccf = std::fs::read_to_string(world.dir.path().join("ccf-id")).unwrap();
    type Change = Box<dyn FnOnce(&mut rcgen::CertificateParams)>;
    let uri = |id: &str| SanType::URI(format!("urn:capif:{id}").try_into().unwrap());
    let named = |name: &str, unit: &str| -> Change {
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, name);
        subject.push(DnType::OrganizationalUnitName, unit);
        Box::new(|params| params.distinguished_name = subject)
    };
    let names = vec![
        SanType::DnsName("localhost".try_into().unwrap()),
        SanType::IpAddress("127.0.0.1".parse().unwrap()),
        uri(&victim.id),
        uri(ccf.trim()),
        SanType::Rfc822Name("root@example.com".try_into().unwrap()),
    ];
    let custom = |arcs: &[u64], content: &[u8]| {
        let mut extension = CustomExtension::from_oid_content(arcs, content.to_vec());
        extension.set_criticality(true);
        let change: Change = Box::new(|params| params.custom_extensions = vec![extension]);
        change
    };
    let hostile: Vec<(&str, Change)> = vec![
        ("another invoker's name", named(&victim.id, "API_INVOKER")),
        ("an AEF's name", named(&domain.aef.id, "AEF")),
        ("the core function's name", named(ccf.trim(), "CCF")),
        (
            "control characters",
            named("a\u{1b}[31m\r\nb", "API_INVOKER\0"),
        ),
        ("a long name", named(&"x".repeat(4000), &"y".repeat(4000))),
        (
            "no name",
            Box::new(|params| params.distinguished_name = DistinguishedName::new()),
        ),
        (
            "other names",
            Box::new(|params| params.subject_alt_names = names),
        ),
        (
            "a CA",
            Box::new(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ),
        (
            "a CA's rights",
            Box::new(|params| {
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]
            }),
        ),
        (
            "other purposes",
            Box::new(|params| {
                params.extended_key_usages = vec![
                    ExtendedKeyUsagePurpose::Any,
                    ExtendedKeyUsagePurpose::ServerAuth,
                    ExtendedKeyUsagePurpose::CodeSigning,
                ];
            }),
        ),
        // basicConstraints { cA TRUE } and nameConstraints, as extensions of no special kind.
        (
            "a CA by hand",
            custom(&[2, 5, 29, 19], &[0x30, 0x03, 0x01, 0x01, 0xff]),
        ),
        ("name constraints", custom(&[2, 5, 29, 30], &[0x30, 0x00])),
        (
            "an unknown critical extension",
            custom(&[1, 3, 6, 1, 4, 1, 99_999, 1], &[0x05, 0x00]),
        ),
    ];
    for (what, change) in hostile {
        let key = keys::p256();
        let request = keys::request_with(&key, change);
        let answer = world
            .onboard(&world.credential(&[]).await, &enrolment(&request))
            .await;
        assert_eq!(
            answer.status,
            StatusCode::CREATED,
            "{what}: {}",
            answer.json()
        );
        let invoker = world.invoker_of(&answer, &key);
        assert_ne!(invoker.id, victim.id);
        let expected = Expected {
            id: &invoker.id,
            role: "API_INVOKER",
            hosts: &[],
            public_key: key.subject_public_key_info(),
            days: 90,
        };
        certificates::check(&world, &invoker.pems.chain, &expected);
    }
}

/// Replaces octets in place.
fn replaced(der: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let start = der
        .windows(old.len())
        .position(|window| window == old)
        .unwrap();
    [&der[..start], new, &der[start + old.len()..]].concat()
}

/// An RSA key as SubjectPublicKeyInfo (RFC 3279 section 2.3.1).
fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let algorithm = [
        0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0,
    ];
    let key = tlv(0x30, &[integer(modulus), integer(exponent)].concat());
    let bits = tlv(3, &[&[0], &key[..]].concat());
    tlv(0x30, &[&algorithm[..], &bits].concat())
}

fn integer(octets: &[u8]) -> Vec<u8> {
    match octets.first() {
        Some(first) if first & 0x80 != 0 => tlv(2, &[&[0], octets].concat()),
        _ => tlv(2, octets),
    }
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = match length {
        0..0x80 => vec![tag, u8::try_from(length).unwrap()],
        0x80..0x100 => vec![tag, 0x81, u8::try_from(length).unwrap()],
        _ => vec![
            tag,
            0x82,
            u8::try_from(length >> 8).unwrap(),
            u8::try_from(length & 0xff).unwrap(),
        ],
    };
    out.extend_from_slice(content);
    out
}

//! What an issued certificate must look like, extension by extension (TS 33.310 clause 6.1, RFC 5280); and certificates that nobody
//! issued.

use std::{collections::BTreeSet, net::IpAddr};

use capif_transport::Clock;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
};
use time::Duration;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    x509::X509Version,
};

use super::{World, keys, raw::Pems};

/// What is expected of one certificate.
pub struct Expected<'a> {
    pub id: &'a str,
    pub role: &'a str,
    /// Host names and addresses beside the URI of the id.
    pub hosts: &'a [&'a str],
    /// The key that was sent, as SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    pub days: i64,
}

/// Checks a chain as it was answered, own certificate first, and returns its serial number.
pub fn check(world: &World, chain_pem: &str, expected: &Expected<'_>) -> Vec<u8> {
    let blocks = pem::parse_many(chain_pem).unwrap();
    assert_eq!(
        blocks.len(),
        2,
        "own certificate and issuing authority; the root is known already"
    );
    let own = certificate(blocks[0].contents());
    let issuing = certificate(blocks[1].contents());
    let root_der = keys::der(&world.root_pem());
    let root = certificate(&root_der);
    let now = world.now();
    for (certificate, issuer) in [(&own, &issuing), (&issuing, &root), (&root, &root)] {
        assert_eq!(certificate.issuer().as_raw(), issuer.subject().as_raw());
        certificate
            .verify_signature(Some(issuer.public_key()))
            .unwrap();
        let validity = certificate.validity();
        assert!(validity.not_before.timestamp() <= now && now < validity.not_after.timestamp());
        assert!(
            certificate.validity().not_after.timestamp() <= issuer.validity().not_after.timestamp()
        );
        assert_eq!(certificate.version(), X509Version::V3);
        assert_eq!(
            certificate.signature_algorithm.algorithm.to_id_string(),
            "1.2.840.10045.4.3.2"
        );
    }

    // Subject: the id and the role, once each and nothing more (TS 29.222 table 8.4.4.2.5-1, D-23).
    let subject: BTreeSet<(String, String)> = own
        .subject()
        .iter_attributes()
        .map(|attribute| {
            (
                attribute.attr_type().to_id_string(),
                attribute.as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let wanted = [("2.5.4.3", expected.id), ("2.5.4.11", expected.role)];
    assert_eq!(
        subject,
        wanted
            .map(|(kind, text)| (kind.to_owned(), text.to_owned()))
            .into()
    );
    assert_eq!(own.subject().iter_attributes().count(), 2);

    // Key and time.
    assert_eq!(own.public_key().raw, expected.public_key);
    let life = own.validity().not_after.timestamp() - now;
    assert!((expected.days * 86_400 - life).abs() <= 1, "{life}");
    assert!((now - own.validity().not_before.timestamp()) <= 61);

    // Serial number: positive, at most 20 octets, at least 64 random bits (RFC 5280 section 4.1.2.2).
    let serial = own.raw_serial().to_vec();
    assert!(
        (9..=20).contains(&serial.len()) && serial[0] & 0x80 == 0,
        "{serial:?}"
    );

    extensions(&own, &issuing, expected);
    serial
}

fn extensions(own: &X509Certificate<'_>, issuing: &X509Certificate<'_>, expected: &Expected<'_>) {
    let serves = expected.role == "AEF";
    let mut seen = BTreeSet::new();
    for extension in own.extensions() {
        let name = match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => {
                assert!(!constraints.ca && constraints.path_len_constraint.is_none());
                "basic constraints"
            }
            ParsedExtension::KeyUsage(usage) => {
                assert!(extension.critical);
                assert_eq!(usage.flags, 1, "digital signature alone");
                "key usage"
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                assert!(usage.client_auth);
                assert_eq!(usage.server_auth, serves);
                assert!(!usage.any && !usage.code_signing && !usage.email_protection);
                assert!(!usage.time_stamping && !usage.ocsp_signing && usage.other.is_empty());
                "extended key usage"
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                let names: BTreeSet<String> = names.general_names.iter().map(text_of).collect();
                let mut wanted = BTreeSet::from([format!("urn:capif:{}", expected.id)]);
                wanted.extend(expected.hosts.iter().map(|host| (*host).to_owned()));
                assert_eq!(names, wanted);
                "subject alternative name"
            }
            ParsedExtension::SubjectKeyIdentifier(_) => "subject key identifier",
            ParsedExtension::AuthorityKeyIdentifier(authority) => {
                let held = issuing.extensions().iter().find_map(|extension| {
                    match extension.parsed_extension() {
                        ParsedExtension::SubjectKeyIdentifier(key) => Some(key.clone()),
                        _ => None,
                    }
                });
                assert_eq!(authority.key_identifier, held);
                assert!(authority.key_identifier.is_some());
                "authority key identifier"
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                assert!(!extension.critical);
                assert_eq!(points.points.len(), 1);
                "revocation list"
            }
            ParsedExtension::AuthorityInfoAccess(information) => {
                assert!(!extension.critical);
                assert_eq!(information.accessdescs.len(), 1);
                "OCSP responder"
            }
            other => panic!("not in the profile: {other:?}"),
        };
        assert!(seen.insert(name), "{name} stands twice");
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}

fn certificate(der: &[u8]) -> X509Certificate<'_> {
    let (rest, certificate) = X509Certificate::from_der(der).unwrap();
    assert!(rest.is_empty());
    certificate
}

fn text_of(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::URI(uri) => (*uri).to_owned(),
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(octets) => match <[u8; 4]>::try_from(*octets) {
            Ok(octets) => IpAddr::from(octets).to_string(),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(*octets).unwrap()).to_string(),
        },
        other => panic!("not in the profile: {other:?}"),
    }
}

/// A certificate for a name and a role, made with the real issuing authority's key or another one, changed.
pub fn forged(
    world: &World,
    authority: Option<&Pems>,
    (id, role): (&str, &str),
    change: impl FnOnce(&mut CertificateParams),
) -> Pems {
    let key = keys::p256();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, role);
    params.distinguished_name.push(DnType::CommonName, id);
    params.not_before = world.clock.now() - Duration::minutes(1);
    params.not_after = world.clock.now() + Duration::days(30);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let chain = match authority {
        None => params.self_signed(&key).unwrap().pem(),
        Some(authority) => {
            let signer = KeyPair::from_pem(&authority.key).unwrap();
            let issuer = Issuer::from_ca_cert_pem(&authority.chain, signer).unwrap();
            format!(
                "{}{}",
                params.signed_by(&key, &issuer).unwrap().pem(),
                authority.chain
            )
        }
    };
    Pems {
        chain,
        key: key.serialize_pem(),
    }
}

/// The issuing authority itself, as only somebody who broke into the core function's machine has it.
pub fn issuing(world: &World) -> Pems {
    let read =
        |name: &str| std::fs::read_to_string(world.dir.path().join("ca").join(name)).unwrap();
    Pems {
        chain: read("issuing.pem"),
        key: read("issuing.key"),
    }
}

//! Authorities that follow one another: cross-certified roots, and keys that count no longer.

use capif_transport::{Anchors, ClientError, Fingerprint, Identity, anchor_by_fingerprint};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use time::macros::datetime;

use crate::support::{NOT_AFTER, PATIENCE, Pems, Site, as_client, get, text, whoami, within};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// Two roots of one name, the newer signed by the older too, with an issuing authority under each.
struct Line {
    old_root: Issuer,
    old_issuing: Issuer,
    new_root: Issuer,
    new_issuing: Issuer,
    cross: String,
}

fn authority(name: &str, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = datetime!(2026-11-01 00:00 UTC);
    params.not_after = datetime!(2030-01-01 00:00 UTC);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

impl Line {
    fn new() -> Self {
        let old_root = Issuer::self_signed(authority("root", 1), key()).unwrap();
        let old_issuing = Issuer::signed_by(authority("issuing 1", 0), key(), &old_root).unwrap();
        let new_root = Issuer::self_signed(authority("root", 1), key()).unwrap();
        let new_issuing = Issuer::signed_by(authority("issuing 2", 0), key(), &new_root).unwrap();
        let cross = authority("root", 1).signed_by(new_root.key(), &old_root);
        Self {
            cross: cross.unwrap().pem(),
            old_root,
            old_issuing,
            new_root,
            new_issuing,
        }
    }

    /// The roots that are shown along with every chain.
    fn roots(&self) -> String {
        [
            self.cross.as_str(),
            &self.new_root.pem(),
            &self.old_root.pem(),
        ]
        .concat()
    }

    fn server(&self, issuing: &Issuer) -> Identity {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.leaf(params, issuing).identity()
    }

    fn client(&self, issuing: &Issuer) -> Identity {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        as_client(&mut params, "amy");
        self.leaf(params, issuing).identity()
    }

    fn leaf(&self, mut params: CertificateParams, issuing: &Issuer) -> Pems {
        params.not_before = datetime!(2026-11-01 00:00 UTC);
        params.not_after = NOT_AFTER;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let leaf_key = key();
        let leaf = params.signed_by(&leaf_key, issuing).unwrap();
        Pems {
            chain: [leaf.pem(), issuing.pem(), self.roots()].concat(),
            key: leaf_key.serialize_pem(),
        }
    }
}

fn spki(issuer: &Issuer) -> Fingerprint {
    Fingerprint::of(&issuer.key().subject_public_key_info())
}

fn anchors(roots: &[&Issuer]) -> Anchors {
    Anchors::from_pems(roots.iter().map(|root| root.pem())).unwrap()
}

async fn reaches(site: &Site, anchors: Anchors) -> bool {
    let client = site.client_with(None, anchors);
    match within(client.request(get(site.url("/")))).await {
        Ok(_) => true,
        Err(ClientError::Tls(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn who_knows_either_root_believes_both_chains_while_both_are_shown() {
    let line = Line::new();
    let site = Site::new(whoami());
    let (old, new) = (&line.old_root, &line.new_root);
    site.acceptor
        .set_identity(line.server(&line.new_issuing))
        .unwrap();
    for roots in [&[old][..], &[new], &[old, new], &[new, old]] {
        assert!(reaches(&site, anchors(roots)).await);
    }
    for root in [old, new] {
        let sha256 = *anchors(&[root]).fingerprints()[0].as_bytes();
        let address = format!("localhost:{}", site.address.port());
        let found = anchor_by_fingerprint(&address, sha256, site.clock.clone(), PATIENCE);
        assert_eq!(within(found).await.unwrap().pem(), root.pem());
    }
    // What the old authority signed is good for those alone who know the old root.
    site.acceptor
        .set_identity(line.server(&line.old_issuing))
        .unwrap();
    assert!(reaches(&site, anchors(&[old])).await);
    assert!(!reaches(&site, anchors(&[new])).await);
}

#[tokio::test]
async fn a_server_below_a_distrusted_key_is_refused() {
    let line = Line::new();
    let site = Site::new(whoami());
    let both = || anchors(&[&line.old_root, &line.new_root]);
    for (issuing, other) in [
        (&line.old_issuing, &line.new_issuing),
        (&line.new_issuing, &line.old_issuing),
    ] {
        site.acceptor.set_identity(line.server(issuing)).unwrap();
        assert!(reaches(&site, both()).await);
        assert!(reaches(&site, both().distrusting([spki(other)])).await);
        assert!(!reaches(&site, both().distrusting([spki(issuing)])).await);
        let all = [spki(issuing), spki(other)];
        assert!(!reaches(&site, both().distrusting(all)).await);
        // What is named later replaces what was named before.
        let healed = both().distrusting([spki(issuing)]).distrusting([]);
        assert!(reaches(&site, healed).await);
    }
    // A root that is not believed helps neither as an anchor nor by its cross-certificate.
    site.acceptor
        .set_identity(line.server(&line.new_issuing))
        .unwrap();
    let without = both().distrusting([spki(&line.new_root)]);
    assert!(!reaches(&site, without).await);
    let by_cross = anchors(&[&line.old_root]).distrusting([spki(&line.new_root)]);
    assert!(!reaches(&site, by_cross).await);
}

#[tokio::test]
async fn a_client_below_a_distrusted_key_is_refused_from_the_next_handshake_on() {
    let line = Line::new();
    let site = Site::new(whoami());
    site.acceptor
        .set_identity(line.server(&line.new_issuing))
        .unwrap();
    let both = anchors(&[&line.old_root, &line.new_root]);
    let ask = async |issuing: &Issuer| {
        let client = site.client_with(Some(line.client(issuing)), both.clone());
        match within(client.request(get(site.url("/")))).await {
            Ok(answer) => Some(text(answer).await),
            Err(_) => None,
        }
    };
    site.acceptor.set_anchors(both.clone()).unwrap();
    assert!(ask(&line.old_issuing).await.unwrap().ends_with("amy"));
    assert!(ask(&line.new_issuing).await.unwrap().ends_with("amy"));
    let distrusting = both.clone().distrusting([spki(&line.old_issuing)]);
    site.acceptor.set_anchors(distrusting).unwrap();
    assert_eq!(ask(&line.old_issuing).await, None);
    assert!(ask(&line.new_issuing).await.unwrap().ends_with("amy"));
    // By the old root alone, whoever shows the cross-certificate is believed.
    site.acceptor
        .set_anchors(anchors(&[&line.old_root]))
        .unwrap();
    assert!(ask(&line.new_issuing).await.unwrap().ends_with("amy"));
    site.acceptor
        .set_anchors(anchors(&[&line.new_root]))
        .unwrap();
    assert_eq!(ask(&line.old_issuing).await, None);
}

#[tokio::test]
async fn anchors_without_a_key_to_believe_are_refused() {
    let line = Line::new();
    let site = Site::new(whoami());
    let none = anchors(&[&line.old_root]).distrusting([spki(&line.old_root)]);
    assert_eq!(none.distrusted_keys(), [spki(&line.old_root)]);
    assert!(site.acceptor.set_anchors(none).is_err());
}

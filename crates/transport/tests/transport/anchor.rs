//! Trust that begins with a fingerprint.

use std::time::Duration;

use capif_transport::{Anchors, ClientError, anchor_by_fingerprint};
use time::macros::datetime;

use crate::support::{Authority, PATIENCE, Site, get, whoami, within};

async fn fetch(site: &Site, host: &str, sha256: [u8; 32]) -> Result<Anchors, ClientError> {
    let address = format!("{host}:{}", site.address.port());
    within(anchor_by_fingerprint(
        &address,
        sha256,
        site.clock.clone(),
        PATIENCE,
    ))
    .await
}

#[tokio::test]
async fn the_right_fingerprint_yields_a_usable_anchor() {
    let site = Site::new(whoami());
    for host in ["localhost", "127.0.0.1"] {
        let anchors = fetch(&site, host, site.authority.root_sha256())
            .await
            .unwrap();
        assert_eq!(anchors.pem(), site.authority.anchors().pem());
        let client = site.client_with(None, anchors);
        assert!(within(client.request(get(site.url("/")))).await.is_ok());
    }
}

#[tokio::test]
async fn everything_else_fails() {
    let site = Site::new(whoami());
    let root = site.authority.root_sha256();

    let mut wrong = root;
    wrong[31] ^= 1;
    assert!(matches!(
        fetch(&site, "localhost", wrong).await,
        Err(ClientError::Tls(_))
    ));

    // The leaf is no authority, whoever names its fingerprint.
    let leaf = *site.authority.server().fingerprint().as_bytes();
    assert!(matches!(
        fetch(&site, "localhost", leaf).await,
        Err(ClientError::Tls(_))
    ));

    // Shown beside the chain, the CA says nothing about a leaf of another one.
    let other = Authority::new();
    let foreign = other.issue(|params| {
        params.subject_alt_names = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .subject_alt_names;
    });
    let chain = [foreign.chain, site.authority.anchors().pem()].concat();
    let identity = capif_transport::Identity::from_pem(chain, foreign.key).unwrap();
    site.acceptor.set_identity(identity).unwrap();
    assert!(matches!(
        fetch(&site, "localhost", root).await,
        Err(ClientError::Tls(_))
    ));
    assert!(fetch(&site, "localhost", other.root_sha256()).await.is_ok());

    // The name in the address counts.
    let elsewhere = site.authority.server_for(&["elsewhere.example"]);
    site.acceptor.set_identity(elsewhere).unwrap();
    assert!(matches!(
        fetch(&site, "localhost", root).await,
        Err(ClientError::Tls(_))
    ));

    // So does the time, also of the CA itself.
    site.acceptor.set_identity(site.authority.server()).unwrap();
    assert!(fetch(&site, "localhost", root).await.is_ok());
    site.clock.set(datetime!(2031-01-01 00:00 UTC));
    assert!(matches!(
        fetch(&site, "localhost", root).await,
        Err(ClientError::Tls(_))
    ));
}

#[tokio::test]
async fn addresses_and_silence() {
    let site = Site::new(whoami());
    for address in [
        "",
        "localhost",
        "https://localhost:1/",
        "a b:1",
        "local host:443",
    ] {
        let result = anchor_by_fingerprint(address, [0; 32], site.clock.clone(), PATIENCE).await;
        assert!(matches!(result, Err(ClientError::Request(_))), "{address}");
    }
    // Accepts in the kernel, says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let short = Duration::from_millis(50);
    let result = anchor_by_fingerprint(&address, [0; 32], site.clock.clone(), short).await;
    assert!(matches!(result, Err(ClientError::TimedOut)));
}

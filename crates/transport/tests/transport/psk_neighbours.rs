//! Clients that share a listener or a thread with those who hold a key.

use std::sync::Arc;

use rcgen::SanType;
use rustls::ServerConfig;
use rustls::client::ClientSessionMemoryCache;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::keys::{BOTH, Keys, NAME, RawPsk, client, credential, site};
use crate::support::{get, incoming_text, read_to_goodbye, text, whoami, within};

/// RFC 8446 section 4.2.11: many clients keep tickets by the name of the host, so that those of another server there come here too.
#[tokio::test]
async fn a_ticket_of_another_server_is_no_key() {
    for version in BOTH {
        let keys = Keys::new();
        let site = site(version, keys.clone(), whoami());
        let other = site.authority.issue(|params| {
            params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        });
        let chain = CertificateDer::pem_slice_iter(other.chain.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(other.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key)
            .unwrap();
        let mut raw = site.raw();
        raw.store = Some(Arc::new(ClientSessionMemoryCache::new(8)));
        let connector = TlsConnector::from(Arc::new(raw.config()));
        let name = ServerName::try_from("localhost").unwrap();

        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let serving = tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let mut stream = acceptor.accept(theirs).await.unwrap();
            stream.write_all(b"hi").await.unwrap();
            stream.shutdown().await.unwrap();
            stream
        });
        let mut stream = connector.connect(name.clone(), ours).await.unwrap();
        assert_eq!(read_to_goodbye(&mut stream).await, "hi");
        drop(within(serving).await.unwrap());

        // There are several tickets.
        for _ in 0..2 {
            let tcp = TcpStream::connect(site.address).await.unwrap();
            let mut stream = within(connector.connect(name.clone(), tcp)).await.unwrap();
            let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            stream.write_all(request).await.unwrap();
            stream.flush().await.unwrap();
            let answer = read_to_goodbye(&mut stream).await;
            assert!(answer.ends_with("nobody"), "{answer}");
        }
        assert!(keys.asked().is_empty());
    }
}

/// What goes wrong on one connection is never taken for the fault of another one on the same thread.
#[tokio::test]
async fn failures_stay_on_their_connection() {
    for version in BOTH {
        let site = site(version, Keys::new(), whoami());
        let open = client(credential(version));
        let mut http1 = RawPsk::new(version).http1(&site).await;
        let first = text(within(open.request(get(site.url("/")))).await.unwrap()).await;
        for _ in 0..20 {
            let wrong = RawPsk::new(version).keyed([8; 32]);
            assert!(within(wrong.connect(&site)).await.is_err());
            let mut broken = RawPsk::new(version).connect(&site).await.unwrap();
            // No record of TLS.
            broken
                .get_mut()
                .write_all(b"GET / HTTP/1.1\r\n\r\n")
                .await
                .unwrap();
            let _ = within(broken.read_to_end(&mut Vec::new())).await;
            let again = within(open.request(get(site.url("/")))).await.unwrap();
            assert_eq!(text(again).await, first);
            let answer = within(http1.send_request(get("/"))).await.unwrap();
            assert!(incoming_text(answer).await.ends_with(NAME));
        }
    }
}

//! Bytes over TLS, for requests that no client library would send.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use capif_transport::Identity;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::SOON;

/// Somebody's certificate chain and private key as PEM.
#[derive(Clone)]
pub struct Pems {
    pub chain: String,
    pub key: String,
}

impl Pems {
    /// What the keystore of an onboarded invoker holds.
    pub fn of_invoker(folder: &Path) -> Self {
        let state: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("capif-invoker.json")).unwrap())
                .unwrap();
        let chain =
            &state["onboarded"]["details"]["onboardingInformation"]["apiInvokerCertificate"];
        Self {
            chain: chain.as_str().unwrap().to_owned(),
            key: {
                let name = state["onboarded"]["key"].as_str().unwrap();
                std::fs::read_to_string(folder.join(format!("capif-{name}.key"))).unwrap()
            },
        }
    }

    /// What the keystore of a registered provider holds of its `amf`, `apf` or first AEF.
    pub fn of_function(folder: &Path, role: &str) -> Self {
        let state: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("capif-provider.json")).unwrap())
                .unwrap();
        let registered = &state["registered"];
        let certified = if role == "aef" {
            &registered["aefs"][0]
        } else {
            &registered[role]
        };
        let key = format!("capif-{}.key", certified["key"].as_str().unwrap());
        Self {
            chain: certified["certificatePem"].as_str().unwrap().to_owned(),
            key: std::fs::read_to_string(folder.join(key)).unwrap(),
        }
    }

    pub fn identity(&self) -> Identity {
        Identity::from_pem(&self.chain, &self.key).unwrap()
    }
}

/// One TLS connection.
pub struct Raw {
    stream: TlsStream<TcpStream>,
}

impl Raw {
    /// Connects as an HTTP/1.1 client.
    pub async fn connect(address: SocketAddr, root_pem: &str, who: Option<&Pems>) -> Self {
        let stream = tls(address, root_pem, who, b"http/1.1").await.unwrap();
        Self { stream }
    }

    /// Sends octets; that the other end has already gone is no failure.
    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        let _gone = self.stream.write_all(octets.as_ref()).await;
        let _gone = self.stream.flush().await;
    }

    /// Says that nothing more will come.
    pub async fn finish(&mut self) {
        let _gone = self.stream.shutdown().await;
    }

    /// Reads until the other end ends the connection.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        self.read_until(SOON, |_| false).await
    }

    /// Reads until what came is enough, the connection ends, or nothing more comes in time.
    pub async fn read_until(&mut self, time: Duration, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut all = Vec::new();
        let mut piece = vec![0; 64 << 10];
        let read = async {
            while !enough(&all) {
                match self.stream.read(&mut piece).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => all.extend_from_slice(&piece[..count]),
                }
            }
        };
        let _time_is_up = tokio::time::timeout(time, read).await;
        all
    }

    /// Reads one answer with a `content-length`, as text.
    pub async fn answer(&mut self) -> String {
        let octets = self.read_until(SOON, is_whole_answer).await;
        String::from_utf8_lossy(&octets).into_owned()
    }
}

/// One TLS connection that speaks `protocol`; an error when the handshake fails at this end.
pub async fn tls(
    address: SocketAddr,
    root_pem: &str,
    who: Option<&Pems>,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(root_pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match who {
        None => config.with_no_client_auth(),
        Some(pems) => {
            let chain = CertificateDer::pem_slice_iter(pems.chain.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .unwrap();
            let key = PrivateKeyDer::from_pem_slice(pems.key.as_bytes()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::from(address.ip());
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

fn is_whole_answer(octets: &[u8]) -> bool {
    let text = String::from_utf8_lossy(octets);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().unwrap());
    body.len() >= length
}

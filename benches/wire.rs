//! HTTP/1.1 over TLS with as little as possible around it: a load generator is to cost less than what it loads.

use std::{io, net::SocketAddr, sync::Arc};

use capif_transport::Identity;
use rcgen::KeyPair;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The most octets that are read at once.
const PIECE_BYTES: usize = 64 << 10;

/// Whom somebody believes, and what it shows for itself.
#[derive(Clone)]
pub struct Tls(TlsConnector);

impl Tls {
    pub fn new(anchors_pem: &str, shown: Option<(&str, &KeyPair)>) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(anchors_pem.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
                    .collect::<Result<Vec<_>, _>>()
                    .unwrap();
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self(TlsConnector::from(Arc::new(config)))
    }
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        let body = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        assert_eq!(self.status, status, "{body}");
        body
    }
}

/// One connection.
pub struct Wire {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Wire {
    pub async fn connect(address: SocketAddr, tls: &Tls) -> io::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let stream = tls.0.connect(ServerName::from(address.ip()), tcp).await?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends a request and reads the whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        loop {
            if let Some((answer, length)) = whole(&self.buffer) {
                self.buffer.drain(..length);
                return Ok(answer);
            }
            self.buffer.reserve(PIECE_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The answer that octets begin with, and its length, once it is there.
fn whole(octets: &[u8]) -> Option<(Answer, usize)> {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&octets[..end]).unwrap();
    let status = head.get(9..12).unwrap().parse().unwrap();
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, length)| length.trim().parse().unwrap());
    let body = octets.get(end..end + length)?.to_vec();
    Some((Answer { status, body }, end + length))
}

/// The octets of a request.
pub fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<(&str, &str)>,
) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    match body {
        None => text.push_str("\r\n"),
        Some((media, body)) => text.push_str(&format!(
            "content-type: {media}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )),
    }
    text.into_bytes()
}

/// Somebody with a certificate of the core function.
pub struct Party {
    pub id: String,
    pub tls: Tls,
    chain: String,
    key: KeyPair,
}

impl Party {
    pub fn new(anchors_pem: &str, id: &str, chain: &str, key: KeyPair) -> Self {
        Self {
            id: id.to_owned(),
            tls: Tls::new(anchors_pem, Some((chain, &key))),
            chain: chain.to_owned(),
            key,
        }
    }

    /// To serve with.
    pub fn identity(&self) -> Identity {
        Identity::from_pem(&self.chain, self.key.serialize_pem()).unwrap()
    }

    /// Sends JSON on a connection of its own.
    pub async fn send(&self, core: SocketAddr, method: &str, path: &str, body: &Value) -> Answer {
        let mut wire = Wire::connect(core, &self.tls).await.unwrap();
        let text = body.to_string();
        let request = request(method, path, &[], Some(("application/json", &text)));
        wire.exchange(&request).await.unwrap()
    }
}

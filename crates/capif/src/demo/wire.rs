//! Requests as bytes on a wire: what a program of somebody else would send, good or bad.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use capif_procedures::aefpsk::{SESSION_ID_LABEL, SESSION_KEY_LABEL};
use capif_transport::{
    Anchors, Body, Client, ClientError, ClientLimits, ClientTls, Identity, PskCredential, Session,
    SessionLabels, SharedClock, collect, empty, full,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};

/// Where API invokers are onboarded.
pub(super) const ONBOARDING: &str = "/api-invoker-management/v1/onboardedInvokers";

const ANSWER_BYTES_MAX: usize = 1 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Somebody's connections to one server.
pub(super) struct Wire {
    client: Client,
    address: String,
}

/// A request in the making.
pub(super) struct Asking<'a> {
    wire: &'a Wire,
    request: http::request::Builder,
    body: Bytes,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What is known of the session that carried it, where that is kept.
    pub(super) session: Option<Arc<Session>>,
}

impl Wire {
    /// To a server that proves itself by `anchors`; with a certificate if there is an identity.
    pub(super) fn new(
        address: &str,
        anchors_pem: &str,
        identity: Option<Identity>,
        clock: SharedClock,
    ) -> anyhow::Result<Self> {
        let tls = ClientTls {
            anchors: Some(Anchors::from_pem(anchors_pem)?),
            identity,
            clock,
            session: None,
            tls12_only: false,
        };
        Self::over(tls, address)
    }

    /// The same over mutual TLS, of which is kept what a key can be derived from (TS 33.122 clause A.1).
    pub(super) fn with_facts(
        address: &str,
        anchors_pem: &str,
        identity: Identity,
        clock: SharedClock,
    ) -> anyhow::Result<Self> {
        let tls = ClientTls {
            anchors: Some(Anchors::from_pem(anchors_pem)?),
            identity: Some(identity),
            clock,
            session: Some(SessionLabels {
                key: SESSION_KEY_LABEL,
                id: SESSION_ID_LABEL,
            }),
            tls12_only: false,
        };
        Self::over(tls, address)
    }

    fn over(tls: ClientTls, address: &str) -> anyhow::Result<Self> {
        Ok(Self {
            client: Client::new(tls, ClientLimits::default())?,
            address: address.to_owned(),
        })
    }

    /// To a server that proves itself by the same key as the client.
    pub(super) fn by_key(address: &str, key: PskCredential) -> anyhow::Result<Self> {
        Ok(Self {
            client: Client::psk(key, ClientLimits::default())?,
            address: address.to_owned(),
        })
    }

    pub(super) fn ask(&self, method: Method, path: &str) -> Asking<'_> {
        Asking {
            wire: self,
            request: Request::builder()
                .method(method)
                .uri(format!("https://{}{path}", self.address)),
            body: Bytes::new(),
        }
    }

    pub(super) fn get(&self, path: &str) -> Asking<'_> {
        self.ask(Method::GET, path)
    }

    pub(super) fn post(&self, path: &str) -> Asking<'_> {
        self.ask(Method::POST, path)
    }

    /// The request to be onboarded with this key.
    pub(super) fn onboarding(&self, key: &str, credential: Option<&str>) -> Asking<'_> {
        let details = json!({
            "onboardingInformation": { "apiInvokerPublicKey": key },
            "notificationDestination": "https://invoker.invalid/",
        });
        let asking = self.post(ONBOARDING).json(&details);
        match credential {
            Some(credential) => asking.bearer(credential),
            None => asking,
        }
    }
}

impl Asking<'_> {
    pub(super) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(super) fn json(mut self, content: &Value) -> Self {
        self.body = Bytes::from(content.to_string());
        self.header("content-type", "application/json")
    }

    pub(super) fn merge_patch(mut self, changes: &Value) -> Self {
        self.body = Bytes::from(changes.to_string());
        self.header("content-type", "application/merge-patch+json")
    }

    /// A form; the values here need no encoding.
    pub(super) fn form(mut self, pairs: &[(&str, &str)]) -> Self {
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(name, value)| {
                format!("{name}={}", value.replace('#', "%23").replace(';', "%3B"))
            })
            .collect();
        self.body = Bytes::from(pairs.join("&"));
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    /// Sends it; `Err` inside says that there was no answer.
    pub(super) async fn send(self) -> anyhow::Result<Result<Said, ClientError>> {
        let body = if self.body.is_empty() {
            empty()
        } else {
            full(self.body)
        };
        match self.wire.client.request(self.request.body(body)?).await {
            Ok(response) => Ok(Ok(Said::of(response).await?)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Sends it and takes the answer, whatever it says.
    pub(super) async fn answer(self) -> anyhow::Result<Said> {
        Ok(self.send().await??)
    }

    /// Sends it and takes the answer if it has this status.
    pub(super) async fn expect(self, status: u16) -> anyhow::Result<Said> {
        self.answer().await?.with(status)
    }
}

impl Said {
    /// Takes a whole answer.
    pub(super) async fn of(response: Response<Body>) -> anyhow::Result<Self> {
        let (head, body) = response.into_parts();
        Ok(Self {
            status: head.status,
            session: head.extensions.get().cloned(),
            headers: head.headers,
            body: collect(body, ANSWER_BYTES_MAX, ANSWER_TIMEOUT).await?,
        })
    }

    /// Demands a status.
    pub(super) fn with(self, status: u16) -> anyhow::Result<Self> {
        ensure!(
            self.status.as_u16() == status,
            "{status} was due, but the answer is {}",
            self.gist()
        );
        Ok(self)
    }

    pub(super) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).context("the answer is not JSON")
    }

    /// A member of the answer that must be a text.
    pub(super) fn text(&self, pointer: &str) -> anyhow::Result<String> {
        let value = self.json()?;
        let text = value.pointer(pointer).and_then(Value::as_str);
        Ok(text
            .with_context(|| format!("the answer has no {pointer}"))?
            .to_owned())
    }

    /// What the answer says, without what differs from one answer to the next.
    pub(super) fn gist(&self) -> String {
        let value = self.json().unwrap_or_default();
        let said = ["/detail", "/error_description", "/error", "/title"]
            .iter()
            .find_map(|pointer| value.pointer(pointer)?.as_str());
        let cause = value
            .get("cause")
            .and_then(Value::as_str)
            .unwrap_or_default();
        format!(
            "{} {cause} {}",
            self.status.as_u16(),
            said.unwrap_or_default()
        )
    }

    pub(super) fn header(&self, name: header::HeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// A key pair made here, whose private half goes into handshakes only.
pub(super) struct Key(KeyPair);

impl Key {
    pub(super) fn generate() -> anyhow::Result<Self> {
        Ok(Self(KeyPair::generate()?))
    }

    /// An ordinary PKCS#10 request.
    pub(super) fn request(&self) -> anyhow::Result<String> {
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.distinguished_name = DistinguishedName::new();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "whoever");
        Ok(parameters.serialize_request(&self.0)?.pem()?)
    }

    /// A request whose signature is not good, as if somebody else had put the key in.
    pub(super) fn spoiled_request(&self) -> anyhow::Result<String> {
        let parameters = CertificateParams::new(Vec::new())?;
        let mut der = parameters.serialize_request(&self.0)?.der().to_vec();
        if let Some(last) = der.last_mut() {
            *last ^= 1;
        }
        let text = BASE64_STANDARD.encode(der);
        Ok(format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n"
        ))
    }

    /// A request that asks to become the core function and an authority.
    pub(super) fn greedy_request(&self) -> anyhow::Result<String> {
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()])?;
        parameters.distinguished_name = DistinguishedName::new();
        parameters
            .distinguished_name
            .push(DnType::OrganizationalUnitName, "CCF");
        parameters
            .distinguished_name
            .push(DnType::CommonName, "root");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(parameters.serialize_request(&self.0)?.pem()?)
    }

    /// The private half as PEM: shown to the core function once, to see it refused.
    pub(super) fn private_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// The key with the certificate that was issued for it.
    pub(super) fn identity(&self, chain_pem: &str) -> anyhow::Result<Identity> {
        Ok(Identity::from_pem(chain_pem, self.private_pem())?)
    }
}

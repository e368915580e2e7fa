//! Who calls, and by what that is proved (TS 33.122 clause 6.5.2): a key, a certificate, or an access token.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_procedures::aefpsk;
use capif_spec::{common::ApiInvokerId, publish_service::SecurityMethod, security::Scope};
use capif_transport::{Connection, Peer, PeerCertificate};
use http::{HeaderMap, header};
use time::OffsetDateTime;

use crate::{answer::Denial, contexts::Authorization, tokens::TokenKeys};

/// The organizational unit of invoker certificates.
const INVOKER_UNIT: &str = "API_INVOKER";

/// What a caller showed: proven, but not yet allowed anything.
pub(crate) struct Caller {
    pub(crate) id: ApiInvokerId,
    pub(crate) proof: Proof,
}

/// By what a caller is known.
pub(crate) enum Proof {
    /// Method 1: the identity of the key.
    Psk(String),
    /// Method 2: the digest of the certificate.
    Certificate(String),
    /// Method 3: what the token says.
    Token(Token),
}

/// What a token that verifies says of the caller's rights.
pub(crate) struct Token {
    pub(crate) scope: Scope,
    /// The AEFs that it is for, when it says so.
    pub(crate) audience: Option<Vec<String>>,
    pub(crate) generation: Option<u64>,
    /// Over what it came.
    pub(crate) over: Over,
}

/// The TLS session that a token came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The server alone proved itself.
    ServerTls,
    /// The invoker showed its certificate.
    MutualTls,
    /// Both proved a key, which is another method's.
    Psk,
}

impl Proof {
    /// The method that this is the proof of.
    pub(crate) fn method(&self) -> Option<SecurityMethod> {
        match self {
            Self::Psk(_) => Some(SecurityMethod::Psk),
            Self::Certificate(_) => Some(SecurityMethod::Pki),
            Self::Token(token) if token.over == Over::Psk => None,
            Self::Token(_) => Some(SecurityMethod::Oauth),
        }
    }
}

impl Caller {
    /// Whether the token is of a later negotiation than what is remembered.
    pub(crate) fn is_newer_than(&self, authorization: &Authorization) -> bool {
        matches!(&self.proof, Proof::Token(Token { generation: Some(generation), .. })
            if *generation > authorization.generation)
    }
}

/// Who calls. A key or certificate beside a token must be of the same invoker, and a token that is bound to a certificate comes
/// over a connection with that one (RFC 8705 section 3).
pub(crate) async fn identify(
    parts: &http::request::Parts,
    connection: &Connection,
    tokens: &TokenKeys,
    now: OffsetDateTime,
) -> Result<Caller, Denial> {
    let shown = shown(&connection.peer, now)?;
    if names_token(parts.uri.query()) {
        return Err(Denial::ManyCredentials);
    }
    let Some(token) = bearer(&parts.headers)? else {
        return Ok(match shown {
            Shown::Nothing => return Err(Denial::NoCredential),
            Shown::Certificate(certificate) => Caller {
                id: ApiInvokerId::new(certificate.common_name.as_str()),
                proof: Proof::Certificate(certificate.fingerprint.to_string()),
            },
            Shown::Psk(id, identity) => Caller {
                id,
                proof: Proof::Psk(identity.to_owned()),
            },
        });
    };
    let claims = tokens.verify(token, now).await?;
    // The invoker stands in `client_id` (TS 33.122 clause C.2.2) and in `iss` (TS 29.222 clause 8.5.4.2.8).
    let id = claims.client_id.as_deref().ok_or(Denial::InvalidToken)?;
    if id != claims.iss || claims.sub.as_deref().is_some_and(|sub| sub != id) {
        return Err(Denial::InvalidToken);
    }
    let (owner, over) = match &shown {
        Shown::Nothing => (None, Over::ServerTls),
        Shown::Certificate(certificate) => {
            (Some(certificate.common_name.as_str()), Over::MutualTls)
        }
        Shown::Psk(owner, _) => (Some(owner.as_str()), Over::Psk),
    };
    if owner.is_some_and(|owner| owner != id) {
        return Err(Denial::Contradiction);
    }
    if let Some(bound) = claims.cnf {
        let shown = connection.peer.certificate();
        let digest = shown.map(|shown| BASE64_URL_SAFE_NO_PAD.encode(shown.fingerprint.as_bytes()));
        if digest != Some(bound.x5t_s256) {
            return Err(Denial::InvalidToken);
        }
    }
    Ok(Caller {
        id: ApiInvokerId::new(id),
        proof: Proof::Token(Token {
            scope: claims.scope.parse().map_err(|_| Denial::InvalidToken)?,
            audience: claims.aud,
            generation: claims.generation,
            over,
        }),
    })
}

/// What the handshake showed of an invoker.
enum Shown<'a> {
    Nothing,
    Certificate(&'a PeerCertificate),
    Psk(ApiInvokerId, &'a str),
}

fn shown(peer: &Peer, now: OffsetDateTime) -> Result<Shown<'_>, Denial> {
    match peer {
        Peer::Anonymous => Ok(Shown::Nothing),
        Peer::Certificate(certificate) => {
            let is_invoker = certificate.organizational_unit.as_deref() == Some(INVOKER_UNIT);
            if !is_invoker || certificate.not_after <= now {
                return Err(Denial::UnknownInvoker);
            }
            Ok(Shown::Certificate(certificate))
        }
        Peer::Psk(psk) => {
            let (owner, _) = aefpsk::invoker_of(&psk.identity).ok_or(Denial::UnknownInvoker)?;
            Ok(Shown::Psk(owner, &psk.identity))
        }
    }
}

/// Whether a connection is an invoker's, by key, by certificate, or by what it called with.
pub(crate) fn belongs_to(connection: &Connection, invoker: &str) -> bool {
    connection.claimed_by() == Some(invoker) || by_handshake(connection).as_deref() == Some(invoker)
}

/// The invokers that a connection is known to be of: one at most, unless somebody shows a certificate that its token is not of.
pub(crate) fn owners(connection: &Connection) -> impl Iterator<Item = ApiInvokerId> {
    let by_claim = connection.claimed_by().map(Cow::Borrowed);
    let owners = by_handshake(connection).into_iter().chain(by_claim);
    owners.map(ApiInvokerId::new)
}

fn by_handshake(connection: &Connection) -> Option<Cow<'_, str>> {
    match &connection.peer {
        Peer::Anonymous => None,
        Peer::Certificate(certificate) => {
            let is_invoker = certificate.organizational_unit.as_deref() == Some(INVOKER_UNIT);
            is_invoker.then_some(Cow::Borrowed(certificate.common_name.as_str()))
        }
        Peer::Psk(psk) => {
            let (owner, _) = aefpsk::invoker_of(&psk.identity)?;
            Some(Cow::Owned(owner.as_str().to_owned()))
        }
    }
}

/// The one bearer token, from the header alone (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Denial> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Denial::ManyCredentials);
    }
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty() && !token.contains([' ', ',']))
        .ok_or(Denial::InvalidToken)?;
    Ok(Some(token))
}

/// Whether a query carries a token, which is refused (RFC 6750 section 2.3): it would stand in logs and reach the API.
fn names_token(query: Option<&str>) -> bool {
    query.unwrap_or_default().split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_encoding::percent_decode_str(name)
            .decode_utf8_lossy()
            .eq_ignore_ascii_case("access_token")
    })
}

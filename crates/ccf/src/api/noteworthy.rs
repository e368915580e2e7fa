//! Refusals that the audit trail is to know of: somebody tried what is not theirs, or could not prove who they are.

use capif_procedures::refusal::{Refusal, TokenRefusal};
use capif_transport::{Connection, Peer};

use super::{RequestLine, problem::ApiError};
use crate::audit::Act;

/// The act that was refused, if it is one of these. The words are ours alone: nothing of a credential is repeated.
pub(super) fn refused(
    error: &ApiError,
    line: &RequestLine,
    connection: &Connection,
) -> Option<Act> {
    let what = what(error)?;
    let mut detail = format!("{what}; from {}", connection.remote);
    if let (ApiError::Refused(Refusal::CertificateUnknown), Peer::Certificate(certificate)) =
        (error, &connection.peer)
    {
        // Our own authority signed this name.
        detail = format!("{detail}; certificate of {}", certificate.common_name);
    }
    let act = Act::by_caller(
        &line.caller,
        line.operation,
        &line.request_id,
        line.subject.as_str(),
    );
    Some(act.detail(detail).refused())
}

fn what(error: &ApiError) -> Option<&'static str> {
    match error {
        ApiError::Refused(Refusal::CredentialRefused) => Some("credential refused"),
        ApiError::Refused(Refusal::CredentialExpired) => Some("credential outside its time"),
        ApiError::Refused(Refusal::CredentialUsed) => Some("credential used before"),
        ApiError::Refused(Refusal::CertificateUnknown) => Some("certificate of nobody known"),
        ApiError::Refused(Refusal::RenewalRequired) => Some("must renew first"),
        ApiError::Refused(Refusal::RoleNotAllowed) => Some("role not allowed"),
        ApiError::Refused(Refusal::NotTheCaller { .. }) => Some("id not the caller's"),
        ApiError::Refused(Refusal::EventNotAllowed { .. }) => Some("event not allowed"),
        ApiError::Token(TokenRefusal::InvalidClient) => Some("client secret or id wrong"),
        ApiError::SecretsExhausted(_) => Some("too many wrong secrets"),
        _ => None,
    }
}

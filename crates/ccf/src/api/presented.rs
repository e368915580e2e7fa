//! What a refusal tells whoever is not let in: for whom the operation is, and what was shown for it. Both are the caller's own, or
//! stand in TS 29.222 clause 10.2: nobody learns what exists.

use capif_procedures::refusal::{Refusal, TokenRefusal};
use capif_transport::Peer;

use super::{operations::CallerKind, problem::ApiError};

/// What is added to the text of a refusal; nothing where it was not about who asks.
pub(super) fn told(error: &ApiError, callers: &[CallerKind], peer: &Peer) -> String {
    let presented = match error {
        ApiError::Refused(Refusal::CredentialMissing) => "no credential".to_owned(),
        ApiError::Refused(
            Refusal::CredentialRefused | Refusal::CredentialExpired | Refusal::CredentialUsed,
        ) => "a credential".to_owned(),
        ApiError::Refused(
            Refusal::CertificateRequired
            | Refusal::CertificateUnknown
            | Refusal::RenewalRequired
            | Refusal::RoleNotAllowed
            | Refusal::NotTheCaller { .. }
            | Refusal::EventNotAllowed { .. },
        )
        | ApiError::Token(TokenRefusal::InvalidClient) => of(peer),
        _ => return String::new(),
    };
    let expected: Vec<&str> = callers.iter().map(|kind| kind.as_str()).collect();
    format!(
        " (this operation is for {}; presented: {presented})",
        expected.join(", ")
    )
}

/// A caller by its certificate, whether or not that counts here.
fn of(peer: &Peer) -> String {
    let Some(certificate) = peer.certificate() else {
        return "no certificate".to_owned();
    };
    let role = certificate.organizational_unit.as_deref();
    let role = role.unwrap_or("somebody without a role");
    format!("the certificate of {role} {}", certificate.common_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every refusal that is about who asks says for whom the operation is; none that is about what is asked for does.
    #[test]
    fn refusals_tell_of_whom_they_are_about() {
        let callers = [CallerKind::Aef, CallerKind::Amf];
        let told = |refusal: Refusal| told(&refusal.into(), &callers, &Peer::Anonymous);
        let event = Refusal::EventNotAllowed {
            event: "E".to_owned(),
            expected: "AEF".to_owned(),
        };
        let certificate = "no certificate";
        for (refusal, presented) in [
            (Refusal::CredentialMissing, "no credential"),
            (Refusal::CredentialRefused, "a credential"),
            (Refusal::CredentialExpired, "a credential"),
            (Refusal::CredentialUsed, "a credential"),
            (Refusal::CertificateRequired, certificate),
            (Refusal::CertificateUnknown, certificate),
            (Refusal::RenewalRequired, certificate),
            (Refusal::RoleNotAllowed, certificate),
            (Refusal::NotTheCaller { place: "path" }, certificate),
            (event, certificate),
        ] {
            assert_eq!(
                told(refusal.clone()),
                format!(
                    " (this operation is for API exposing functions (AEF), API management functions (AMF); presented: {presented})"
                ),
                "{refusal:?}"
            );
        }
        assert_eq!(
            told(Refusal::ApiNameTaken),
            "",
            "deployed clients compare it"
        );
        assert_eq!(told(Refusal::NotFound { what: "API" }), "");
    }
}

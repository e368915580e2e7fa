//! Everything that can go wrong for an API invoker or a provider, and what to do about it.

use std::fmt;

use capif_spec::{
    common::{ApiProviderDomainId, DateTime, ProblemDetails},
    publish_service::SecurityMethod,
    security::AccessTokenErr,
};
use capif_transport::BoxError;
use http::StatusCode;

use crate::keystore::KeystoreError;

/// The cause by which the CAPIF core function says that nothing but a renewal counts. Choice: no specification has one.
const RENEWAL_REQUIRED: &str = "RENEWAL_REQUIRED";

/// What went wrong. The text says what to do next and holds no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that was handed over to the user has not the right form.
    #[error("this is not a usable {what}: {reason}")]
    Malformed {
        /// Enrolment code, provider bundle, address …
        what: &'static str,
        /// What is wrong with it, without repeating it.
        reason: String,
    },
    /// The caller asked for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// The folder belongs to an enrolment at another CAPIF core function.
    #[error(
        "this folder belongs to an enrolment at {address}: offboard there first, or use another folder for the new one"
    )]
    EnrolledElsewhere {
        /// The other CAPIF core function.
        address: String,
    },
    /// Nobody has enrolled in this folder yet.
    #[error("no {who} has enrolled in this folder yet: {next}")]
    NotEnrolled {
        /// API invoker or API provider.
        who: &'static str,
        /// What to do.
        next: &'static str,
    },
    /// Keys or state cannot be kept or read.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),

    /// No connection came about.
    #[error(
        "cannot reach {address} for {operation}: check the address and whether the service runs there"
    )]
    Unreachable {
        /// What was to be done.
        operation: &'static str,
        /// Host and port.
        address: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The peer did not prove to be the right one.
    #[error("do not trust {address}: {reason}; nothing was sent to it")]
    Untrusted {
        /// Host and port.
        address: String,
        /// What did not hold.
        reason: String,
    },
    /// The peer ended the handshake: it does not accept what this side showed.
    #[error(
        "{address} ended the TLS handshake for {operation} ({reason}): it does not accept this side's certificate, which may \
         have expired or been revoked; enrol again, or ask its operator"
    )]
    CertificateRefused {
        /// What was to be done.
        operation: &'static str,
        /// Host and port.
        address: String,
        /// What the peer says.
        reason: String,
    },
    /// The handshake with a key did not work out, and the CAPIF core function names no better way.
    #[error(
        "the TLS handshake with {address} by the key that was agreed on did not work out ({reason}): it does not know the key, \
         or another service is there; try again, and ask the provider if it stays"
    )]
    KeyRefused {
        /// Host and port.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The connection broke, or what came over it was no HTTP.
    #[error("the connection to {address} broke during {operation}: {advice}")]
    Broken {
        /// What was to be done.
        operation: &'static str,
        /// Host and port.
        address: String,
        /// What to do next.
        advice: &'static str,
        /// The cause.
        source: BoxError,
    },
    /// No answer came in time.
    #[error("{address} did not answer {operation} in time: {advice}")]
    TimedOut {
        /// What was to be done.
        operation: &'static str,
        /// Host and port.
        address: String,
        /// What to do next.
        advice: &'static str,
    },
    /// The answer is not one that the standard allows.
    #[error("{address} answered {operation} in a way that cannot be used: {reason}")]
    BadAnswer {
        /// What was to be done.
        operation: &'static str,
        /// Host and port.
        address: String,
        /// What is wrong, without repeating the answer.
        reason: String,
    },

    /// The peer understood and said no.
    #[error("{}", RefusalText(self))]
    Refused {
        /// What was to be done.
        operation: &'static str,
        /// Host and port.
        address: String,
        /// The HTTP status.
        status: StatusCode,
        /// What the peer says about it; empty if it says nothing.
        problem: Box<ProblemDetails>,
        /// What to do next.
        advice: &'static str,
    },
    /// No access token was issued (TS 29.222 clause 8.5.4.2.9).
    #[error("{}", TokenRefusalText(.error))]
    TokenRefused {
        /// The HTTP status.
        status: StatusCode,
        /// The code of RFC 6749 section 5.2 with its explanation.
        error: Box<AccessTokenErr>,
    },
    /// The onboarding waits for somebody's approval (TS 29.222 clause 5.5.2.2.2).
    #[error(
        "{address} has the request and waits for its operator's approval: run the same command again once it is given"
    )]
    ApprovalPending {
        /// Host and port.
        address: String,
    },
    /// The certificate in the answer is not the one that was to be issued (TS 33.122 clause 6.1).
    #[error(
        "do not use {address}: the certificate that it issued for {who} is unusable, {reason}; nothing of it was kept"
    )]
    WrongCertificate {
        /// Host and port.
        address: String,
        /// API invoker or function.
        who: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The CAPIF core function does not renew certificates without offboarding: the standard has nothing of the kind.
    #[error(
        "{address} does not renew the certificate of an API invoker that stays onboarded: the one in use goes on counting until \
         {ends}; ask the API provider for a new enrolment code before, then offboard and onboard again"
    )]
    NotRenewable {
        /// Host and port.
        address: String,
        /// When the certificate in use ends.
        ends: DateTime,
    },
    /// The certificate has ended, and with it what a renewal would be asked for with.
    #[error(
        "{address} does not accept the certificate of this invoker, which ended on {ended}: check the clock of this machine; if \
         it is right, ask the API provider for a new enrolment code, offboard, and onboard again"
    )]
    Expired {
        /// Host and port.
        address: String,
        /// When the certificate ended.
        ended: DateTime,
    },

    /// The certificates of a provider domain have ended, and with them what a renewal would be asked for with.
    #[error("{}", RegistrationEndedText { domain_id, ended, refusal: refusal.as_deref() })]
    RegistrationEnded {
        /// The domain, which is there as before.
        domain_id: ApiProviderDomainId,
        /// When they ended.
        ended: DateTime,
        /// Why it could not register again with the bundle at hand, if there was one.
        refusal: Option<Box<Error>>,
    },

    /// Somebody else registered as the domain of this folder and has its certificates.
    #[error(
        "another one registered as the provider {domain_id} with its bundle and has its certificates: this folder does not take them \
         back; stop one of the two, give both one folder, or each a bundle of its own. If the other one is gone for good, delete this \
         folder and register again with the bundle"
    )]
    Superseded {
        /// The domain, which is there as before.
        domain_id: ApiProviderDomainId,
    },

    /// Discovery shows no such API.
    #[error(
        "the CAPIF core function shows this invoker no API `{name}` that can be called over HTTPS: check the name, and ask \
         the provider whether the enrolment includes it"
    )]
    NoSuchApi {
        /// The name.
        name: String,
    },
    /// Discovery shows several APIs of one name.
    #[error(
        "several providers publish an API `{name}` to this invoker: negotiate with the AEF that is meant (`capif invoker \
         discover` shows them), or ask for an enrolment that is limited to one provider"
    )]
    AmbiguousApi {
        /// The name.
        name: String,
    },
    /// Invoker, AEF and the operator's policy have no method in common (TS 29.222 table 8.5.4.2.3-1).
    #[error("{}", NoMethodText { api, selected })]
    NoCommonMethod {
        /// The API.
        api: String,
        /// What the CAPIF core function selected, if anything.
        selected: Option<SecurityMethod>,
    },
}

/// What sort of failure an [`Error`] is. Command lines make their exit codes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller must ask differently.
    Usage,
    /// The peer said no.
    Refused,
    /// What was asked for is not there.
    NotFound,
    /// Somebody did not prove who they are.
    Authentication,
    /// The network, or a peer that does not speak as it should.
    Network,
    /// No answer in time.
    TimedOut,
    /// Something else is in the way, such as another process or another enrolment.
    Conflict,
    /// This machine failed.
    Internal,
}

impl Error {
    /// What sort of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed { .. } | Self::Usage(_) => ErrorKind::Usage,
            Self::EnrolledElsewhere { .. } | Self::AmbiguousApi { .. } => ErrorKind::Conflict,
            Self::NotEnrolled { .. } | Self::NoSuchApi { .. } => ErrorKind::NotFound,
            Self::Keystore(error) => match error {
                KeystoreError::Exposed { .. } | KeystoreError::Name(_) => ErrorKind::Usage,
                KeystoreError::InUse(_) => ErrorKind::Conflict,
                KeystoreError::Gone(_) => ErrorKind::NotFound,
                KeystoreError::Damaged { .. }
                | KeystoreError::Io { .. }
                | KeystoreError::Key(_) => ErrorKind::Internal,
            },
            Self::Unreachable { .. } | Self::Broken { .. } | Self::BadAnswer { .. } => {
                ErrorKind::Network
            }
            Self::Untrusted { .. }
            | Self::CertificateRefused { .. }
            | Self::KeyRefused { .. }
            | Self::WrongCertificate { .. }
            | Self::Expired { .. }
            | Self::RegistrationEnded { .. }
            | Self::Superseded { .. } => ErrorKind::Authentication,
            Self::TimedOut { .. } => ErrorKind::TimedOut,
            Self::Refused { status, .. } | Self::TokenRefused { status, .. } => match *status {
                StatusCode::UNAUTHORIZED => ErrorKind::Authentication,
                StatusCode::NOT_FOUND => ErrorKind::NotFound,
                StatusCode::CONFLICT => ErrorKind::Conflict,
                StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => ErrorKind::TimedOut,
                _ => ErrorKind::Refused,
            },
            Self::ApprovalPending { .. }
            | Self::NotRenewable { .. }
            | Self::NoCommonMethod { .. } => ErrorKind::Refused,
        }
    }

    /// What the peer said when it refused, if it did.
    #[must_use]
    pub fn problem(&self) -> Option<&ProblemDetails> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// Whether the CAPIF core function says that nothing else counts before a renewal.
    pub(crate) fn wants_renewal(&self) -> bool {
        self.refused_with() == Some(StatusCode::FORBIDDEN)
            && self
                .problem()
                .is_some_and(|problem| problem.cause.as_deref() == Some(RENEWAL_REQUIRED))
    }

    /// Whether the peer does not accept what this side showed of itself.
    pub(crate) fn disowns(&self) -> bool {
        matches!(self, Self::CertificateRefused { .. })
            || self.refused_with() == Some(StatusCode::UNAUTHORIZED)
            || self.disowns_secret()
    }

    /// Whether the token endpoint does not accept who asks (RFC 6749 section 5.2).
    pub(crate) fn disowns_secret(&self) -> bool {
        matches!(self, Self::TokenRefused { status, .. } if *status == StatusCode::UNAUTHORIZED)
    }

    /// The status of a refusal.
    pub(crate) fn refused_with(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Text of a peer for a person to read: one line, no control characters, not long.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARACTERS_MAX: usize = 400;
        for (index, character) in self.0.chars().enumerate() {
            if index == CHARACTERS_MAX {
                return f.write_str(" …");
            }
            // Marks that change the direction of writing can make a line read as something else.
            let hidden = character.is_control() || ('\u{200b}'..='\u{206f}').contains(&character);
            fmt::Write::write_char(f, if hidden { ' ' } else { character })?;
        }
        Ok(())
    }
}

struct RefusalText<'a>(&'a Error);

impl fmt::Display for RefusalText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error::Refused {
            operation,
            address,
            status,
            problem,
            advice,
        } = self.0
        else {
            return Ok(());
        };
        write!(f, "{address} refused {operation} with {}", status.as_u16())?;
        let said = problem.detail.as_deref().or(problem.title.as_deref());
        if let Some(said) = said.filter(|said| !said.is_empty()) {
            write!(f, " ({})", Quoted(said))?;
        }
        if !advice.is_empty() {
            write!(f, ": {advice}")?;
        }
        Ok(())
    }
}

struct TokenRefusalText<'a>(&'a AccessTokenErr);

impl fmt::Display for TokenRefusalText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.0.error.to_string();
        write!(f, "no access token was issued: {}", Quoted(&code))?;
        if let Some(description) = &self.0.error_description {
            write!(f, " ({})", Quoted(description))?;
        }
        f.write_str(match code.as_str() {
            "invalid_client" => "; if the invoker was offboarded, onboard again with a new code",
            "invalid_scope" => "; negotiate the security method for this API first",
            _ => "",
        })
    }
}

struct RegistrationEndedText<'a> {
    domain_id: &'a ApiProviderDomainId,
    ended: &'a DateTime,
    refusal: Option<&'a Error>,
}

impl fmt::Display for RegistrationEndedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain_id,
            ended,
            refusal,
        } = self;
        write!(
            f,
            "the certificates of the provider domain {domain_id} ended on {ended}"
        )?;
        if let Some(refusal) = refusal {
            write!(f, ", and the bundle does not help ({refusal})")?;
        }
        write!(
            f,
            ": check the clock of this machine; if it is right, the operator of the CAPIF core function makes a bundle with which \
             it registers again, in the same folder, by `capif provider bundle {domain_id}`"
        )
    }
}

struct NoMethodText<'a> {
    api: &'a str,
    selected: &'a Option<SecurityMethod>,
}

impl fmt::Display for NoMethodText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api, selected } = self;
        match selected {
            Some(method) => write!(
                f,
                "the CAPIF core function selected method {} for API `{api}`, which this client did not wish for or cannot carry \
                 out there: negotiate again, with other methods",
                Quoted(method.as_str())
            ),
            None => write!(
                f,
                "the CAPIF core function names no security method for API `{api}`: either this invoker, the provider and the \
                 operator's policy have none in common, or the authorization was revoked and the operator must permit the \
                 invoker again (`capif permit`)"
            ),
        }
    }
}

//! Every way to say no. A rule says no with a [`Refusal`]; what it becomes on the wire is decided in one table at the edge.

use std::fmt;

use capif_spec::api_invoker_management::EnrolFailCause;

/// A rule said no. The text tells the caller what to do next and repeats nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    // Whoever enrols or registers must act.
    /// No credential came with the request (TS 29.222 clause 5.5.2.2.2 note 4).
    #[error("this request needs a credential: send it as `Authorization: Bearer <credential>`")]
    CredentialMissing,
    /// The credential does not verify. One answer for every cause, so that nothing can be guessed (R-6.1-16).
    #[error("the credential is not valid here: ask the API provider or the operator for a new one")]
    CredentialRefused,
    /// The credential verifies but its time has passed or has not come (RFC 7519 sections 4.1.4 and 4.1.5).
    #[error(
        "the credential is outside its time of validity: ask for a new one, and check the clock of this machine"
    )]
    CredentialExpired,
    /// The credential verifies but was used before (D-26).
    #[error("the credential was used before; each one serves once: ask for a new one")]
    CredentialUsed,

    // Whoever calls must prove who it is.
    /// The operation needs mutual TLS (TS 29.222 clause 10.2).
    #[error(
        "this operation needs mutual TLS: connect with the certificate that the CAPIF core function issued"
    )]
    CertificateRequired,
    /// The certificate verifies but is not the current one of a known entity (P-25).
    #[error(
        "the certificate is not that of a currently known entity, which was offboarded or removed, or has another one: use the one \
         that was issued last, or enrol again"
    )]
    CertificateUnknown,
    /// What the caller holds counts for nothing but its own replacement (R-U-02, R-U-05).
    #[error(
        "renew first: what this caller holds may be in other hands or is overdue; until it is replaced, only its renewal, its status and its removal are served"
    )]
    RenewalRequired,
    /// The operation is for others.
    #[error(
        "the certificate is of a role that this operation is not for: use that of the right one"
    )]
    RoleNotAllowed,
    /// An id in path, query or body is not that of the certificate (D-14). Said before anything is looked up.
    #[error(
        "the id in the {place} is not the one in the certificate: use the id that the CAPIF core function gave to the caller"
    )]
    NotTheCaller {
        /// Where the id stood.
        place: &'static str,
    },

    // Whoever wrote the request must mend it.
    /// The request is not what the operation takes.
    #[error("{reason}")]
    Malformed {
        /// The culprit, as a JSON pointer or parameter name.
        pointer: String,
        /// What is wrong.
        reason: String,
        /// Of which sort the mistake is.
        fault: RequestFault,
    },
    /// A public key or request is unusable (TS 33.310 clause 6.1.1).
    #[error("the public key is refused: {0}")]
    PublicKey(String),
    /// A member may not change (TS 29.222 clause 5.5.2.5.2).
    #[error("`{member}` cannot be changed by this operation: send it as it is, or leave it out")]
    ModificationNotAllowed {
        /// The member.
        member: String,
    },
    /// Key, certificate or secret of an API invoker would change, which is not agreed on (TS 29.222 clause 5.5.2.5.2, D-21).
    #[error(
        "`onboardingInformation` cannot be changed unless the feature `renewal` is agreed on: name it in `vendorSpecific-capif`, or send the information as it is"
    )]
    OnboardingInformationFixed,
    /// A method or member belongs to a feature that is not agreed on (TS 29.222 clause 7.8).
    #[error("this needs the feature {feature}: agree on it first, by `{member}` of a PUT")]
    FeatureNotAgreed {
        /// The feature.
        feature: &'static str,
        /// Where features are offered.
        member: &'static str,
    },
    /// A request has the name of one that was for another key (R-U-07).
    #[error("a renewal of this name was for another key: give each renewal a name of its own")]
    RenewalNameTaken,
    /// The resource is not there, or is somebody else's.
    #[error("there is no such {what} for this caller")]
    NotFound {
        /// What was sought.
        what: &'static str,
    },

    /// None of the APIs that were asked for is granted (TS 29.222 clause 5.5.2.2.2).
    #[error("none of the APIs asked for is granted: {}; ask the provider for a credential that allows them", reasons_text(.reasons))]
    NoApiGranted {
        /// Each with its reason.
        reasons: Vec<(String, EnrolFailCause)>,
    },
    /// The operator rejected the enrolment, or did not decide in time (TS 29.222 clause 5.5.2.2.2).
    #[error("the operator of the CAPIF core function rejected this request{}", reason_text(.reason))]
    EnrolmentRejected {
        /// In the operator's words.
        reason: Option<String>,
    },
    /// As many enrolments wait for the operator as may.
    #[error(
        "too many requests wait for the operator's approval: nothing was changed, try again later with the same credential"
    )]
    ApprovalsExhausted,

    // A provider must mend what it publishes.
    /// The domain publishes an API of this name already.
    #[error("Already registered service with same api name")]
    ApiNameTaken,
    /// An AEF profile names an AEF of another domain, or none at all.
    #[error(
        "`{aef_id}` is not an AEF of this provider domain: register it first, or use the id given at registration"
    )]
    AefNotInDomain {
        /// The id in question.
        aef_id: String,
    },
    /// Neither interface nor profile names a security method (D-34).
    #[error(
        "AEF profile `{aef_id}` names no security method: set `securityMethods` on the profile or on every interface"
    )]
    NoSecurityMethod {
        /// The profile.
        aef_id: String,
    },

    // The invoker must enrol or negotiate first.
    /// No API within the invoker's reach is exposed by that AEF.
    #[error(
        "no API that this invoker is enrolled for is exposed by AEF `{aef_id}`: discover the APIs first"
    )]
    AefOutOfReach {
        /// The AEF.
        aef_id: String,
    },
    /// Notifications do not go where they are wanted (P-34).
    #[error(
        "notifications do not go to this destination: a function of a provider names a host for which an AEF of its domain is certified; whoever else ask the operator to add host and port to `callbacks.allow`, or ask for a WebSocket"
    )]
    DestinationNotAllowed,
    /// A subscription asks for an event that the caller may not see.
    #[error("event `{event}` is not available to this caller, but to {expected}: leave it out")]
    EventNotAllowed {
        /// The event.
        event: String,
        /// Who may see it.
        expected: String,
    },
    // The operator must say which one is meant.
    /// Several go, or went, by this name.
    #[error("several {what} are called `{name}`: say which one by its id: {}", .ids.join(", "))]
    Several {
        /// Of what.
        what: &'static str,
        /// The name.
        name: String,
        /// The ids of those that bear it.
        ids: Vec<String>,
    },
    /// More meets the criteria than one answer holds.
    #[error(
        "more than {limit} {what} meet these criteria, and an answer is never cut: add criteria that narrow it down"
    )]
    TooBroad {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// An operator's credential has this name.
    #[error("there is an operator {name}: remove it first, or take another name")]
    OperatorNameTaken {
        /// The name.
        name: String,
    },
    /// A bound was reached.
    #[error("the limit of {limit} {what} is reached: remove one first")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
}

impl Refusal {
    /// A mandatory member or parameter is missing.
    pub fn missing(pointer: impl Into<String>) -> Self {
        let pointer = pointer.into();
        Self::Malformed {
            reason: format!("`{pointer}` is missing"),
            pointer,
            fault: RequestFault::Missing,
        }
    }

    /// A member or parameter has a value that cannot be.
    pub fn incorrect(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Malformed {
            pointer: pointer.into(),
            reason: reason.into(),
            fault: RequestFault::Incorrect,
        }
    }
}

/// How many APIs a text names.
const NAMED_MAX: usize = 10;

fn reasons_text(reasons: &[(String, EnrolFailCause)]) -> String {
    let named = reasons.iter().take(NAMED_MAX);
    let mut text: Vec<String> = named
        .map(|(name, cause)| format!("{name} ({cause})"))
        .collect();
    if let Some(more) = reasons
        .len()
        .checked_sub(NAMED_MAX)
        .filter(|more| *more > 0)
    {
        text.push(format!("and {more} more"));
    }
    text.join(", ")
}

fn reason_text(reason: &Option<String>) -> String {
    reason
        .as_ref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default()
}

/// The sort of a mistake in a request, after the causes of TS 29.500 table 5.2.7.2-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFault {
    /// Not JSON, or not the shape of the type.
    Format,
    /// A mandatory member is missing.
    Missing,
    /// A member has a wrong value.
    Incorrect,
    /// A query parameter is missing or wrong, or excludes another.
    Query,
    /// A mandatory query parameter is missing.
    QueryMissing,
    /// A query parameter has a wrong value.
    QueryIncorrect,
}

/// Why no access token is issued: the codes of RFC 6749 section 5.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenRefusal {
    /// The request is malformed.
    InvalidRequest(String),
    /// Certificate, id and secret do not prove one and the same invoker (D-13, D-14).
    InvalidClient,
    /// The invoker may not use this grant.
    UnauthorizedClient(String),
    /// The grant type is not served.
    UnsupportedGrantType,
    /// The scope is malformed, or wider than what was granted.
    InvalidScope(String),
}

impl fmt::Display for TokenRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRequest(reason)
            | Self::UnauthorizedClient(reason)
            | Self::InvalidScope(reason) => f.write_str(reason),
            Self::InvalidClient => f.write_str(
                "certificate, client_id, path and client_secret must be those of one onboarded API invoker",
            ),
            Self::UnsupportedGrantType => {
                f.write_str("only grant_type=client_credentials is served")
            }
        }
    }
}

impl std::error::Error for TokenRefusal {}

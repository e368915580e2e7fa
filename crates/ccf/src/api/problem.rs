//! From a refusal or fault to an answer: the only place that picks a status code (TS 29.222 clause 7.7, TS 29.500 clause 5.2.7.2).

use capif_procedures::refusal::{Refusal, RequestFault, TokenRefusal};
use capif_spec::{
    api_invoker_management::EnrolFailCause,
    common::{InvalidParam, ProblemDetails, SupportedFeatures},
    security::{AccessTokenErr, AccessTokenError},
};
use capif_transport::{Body, full};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::{
    authority::AuthorityError,
    credential::{CredentialError, IssueError},
    random::NoRandomness,
    store::Fault,
};

/// When a report of calls may find room again: entries are looked after every five minutes.
const LOG_RETRY_SECONDS: u64 = 300;

/// When it may be tried again to wait for the operator, in seconds.
const APPROVALS_PAUSE_SECONDS: &str = "300";

/// Why a request is not answered with success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// A rule said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No token.
    #[error(transparent)]
    Token(#[from] TokenRefusal),
    /// Too many wrong secrets; the number of seconds to wait.
    #[error("too many wrong secrets")]
    SecretsExhausted(u64),
    /// Too many certificates; the number of seconds to wait.
    #[error(
        "too many certificates were asked for; those that were given count on: try again later"
    )]
    CertificatesExhausted(u64),
    /// More requests of one caller than there may be in a second.
    #[error(
        "no more than {per_second} requests a second are taken of {of} (`{key}`): send this one again in {seconds} s"
    )]
    TooFast {
        /// Whose requests.
        of: &'static str,
        /// The setting.
        key: &'static str,
        /// The limit.
        per_second: u32,
        /// The number of seconds to wait.
        seconds: u64,
    },
    /// More requests than are worked on at once.
    #[error(
        "as many requests are being worked on as there may be at once (`limits.requests_at_once`, no more than a quarter of them of one \
         operation): send this one again in a second"
    )]
    Overloaded,
    /// A provider reported as many calls as are kept for it.
    #[error(
        "{max} invocation log entries of this provider are kept, and no more: report again when old ones have ended, or ask the \
         operator"
    )]
    LogFull {
        /// The limit.
        max: usize,
    },
    /// A browser's page asks.
    #[error("this is not for web pages: leave `Origin` out")]
    WebPage,
    /// The host that is named is not this one.
    #[error("this is none of the core function's hosts: use a name that its certificate carries")]
    OtherHost,
    /// The core function serves elsewhere.
    #[error(
        "this core function has moved to {to}: give the command there, to the operator's API or in the folder of the core function \
         that serves at that address"
    )]
    Moved {
        /// Scheme, host and port.
        to: String,
    },
    /// The operator may look, and no more.
    #[error("this credential is for looking only")]
    ReadOnly,
    /// Only who owns the folder may.
    #[error(
        "credentials of operators are made and removed where the core function runs, by who owns its folder"
    )]
    NotFromAfar,
    /// The path can be read in more than one way.
    #[error("the path is not in canonical form: no empty or dot segments, nothing percent-encoded")]
    AmbiguousPath,
    /// The address is over the limit.
    #[error("path and query are longer than {max} bytes together")]
    UriTooLong {
        /// The limit.
        max: usize,
    },
    /// The method is none of HTTP.
    #[error("this is no method of HTTP")]
    UnknownMethod,
    /// A parameter where there are none.
    #[error("this operation takes no query parameters")]
    UnknownParameter {
        /// The parameter.
        name: String,
        /// The features that the API supports here.
        features: Option<&'static str>,
    },
    /// The sender takes no JSON.
    #[error("the answer is application/json, which `Accept` leaves out")]
    NotAcceptable,
    /// There is no body where there must be one.
    #[error("this operation takes a body: send one, with its `Content-Length`")]
    LengthMissing,
    /// Nothing is there.
    #[error("there is nothing at this path; the paths are those of TS 29.222")]
    UnknownPath,
    /// The path takes other methods.
    #[error("this path does not take that method")]
    MethodNotAllowed {
        /// Those it takes.
        allowed: Vec<Method>,
    },
    /// What is there is a WebSocket, which is opened in another way.
    #[error(
        "this is a WebSocket: open it over HTTP/1.1 with `Connection: Upgrade`, `Upgrade: websocket`, `Sec-WebSocket-Version: 13` and a `Sec-WebSocket-Key`"
    )]
    UpgradeRequired,
    /// The body has another media type.
    #[error("send the body as {expected}")]
    MediaType {
        /// The one that is taken.
        expected: &'static str,
        /// Whether it is a PATCH.
        patch: bool,
    },
    /// The body is over the limit.
    #[error("the body is larger than {max} bytes")]
    BodyTooLarge {
        /// The limit.
        max: usize,
    },
    /// The body did not come to its end in time.
    #[error("the body did not arrive whole in time")]
    BodyIncomplete,
    /// The session is being torn down (TS 33.122 clause B.1).
    #[error("this session has ended; open a new connection")]
    SessionOver,
    /// The records kept moving.
    #[error("others are changing the same records; try again")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Fault),
    /// Signing failed.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// An answer does not encode.
    #[error("an answer does not encode")]
    Encoding(#[source] serde_json::Error),
    /// Something that cannot be.
    #[error("internal: {0}")]
    Internal(&'static str),
}

impl From<CredentialError> for ApiError {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Refused(refusal) => refusal.into(),
            CredentialError::Fault(fault) => fault.into(),
        }
    }
}

impl From<IssueError> for ApiError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Authority(error) => error.into(),
            IssueError::Random(error) => error.into(),
        }
    }
}

/// Status, `cause`, and the member or parameter at fault.
struct Verdict<'a> {
    status: StatusCode,
    cause: &'static str,
    culprit: Option<&'a str>,
}

impl ApiError {
    fn verdict(&self) -> Verdict<'_> {
        let (status, cause, culprit) = match self {
            Self::Refused(refusal) => return of_refusal(refusal),
            Self::Token(TokenRefusal::InvalidClient) => (StatusCode::UNAUTHORIZED, "", None),
            Self::Token(_) => (StatusCode::BAD_REQUEST, "", None),
            Self::SecretsExhausted(_) | Self::CertificatesExhausted(_) | Self::TooFast { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "NF_CONGESTION_RISK", None)
            }
            Self::LogFull { .. } => (StatusCode::TOO_MANY_REQUESTS, "NF_CONGESTION_RISK", None),
            Self::WebPage | Self::ReadOnly | Self::NotFromAfar => {
                (StatusCode::FORBIDDEN, "UNSPECIFIED_MSG_FAILURE", None)
            }
            Self::OtherHost | Self::Moved { .. } => (
                StatusCode::MISDIRECTED_REQUEST,
                "UNSPECIFIED_MSG_FAILURE",
                None,
            ),
            Self::AmbiguousPath => (StatusCode::BAD_REQUEST, "INVALID_API", None),
            Self::UriTooLong { .. } => (StatusCode::URI_TOO_LONG, "INCORRECT_LENGTH", None),
            Self::UnknownMethod => (StatusCode::NOT_IMPLEMENTED, "INVALID_API", None),
            Self::UnknownParameter { name, .. } => (
                StatusCode::BAD_REQUEST,
                "INVALID_QUERY_PARAM",
                Some(name.as_str()),
            ),
            Self::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "UNSPECIFIED_MSG_FAILURE", None),
            Self::LengthMissing => (StatusCode::LENGTH_REQUIRED, "INCORRECT_LENGTH", None),
            Self::UnknownPath => (
                StatusCode::NOT_FOUND,
                "RESOURCE_URI_STRUCTURE_NOT_FOUND",
                None,
            ),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "INVALID_API", None),
            Self::UpgradeRequired => (StatusCode::UPGRADE_REQUIRED, "INVALID_API", None),
            Self::MediaType { .. } => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "INVALID_MSG_FORMAT",
                None,
            ),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "INCORRECT_LENGTH", None),
            Self::BodyIncomplete => (StatusCode::BAD_REQUEST, "INVALID_MSG_FORMAT", None),
            Self::SessionOver => (
                StatusCode::MISDIRECTED_REQUEST,
                "UNSPECIFIED_MSG_FAILURE",
                None,
            ),
            Self::Busy | Self::Overloaded | Self::Authority(AuthorityError::Hook(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "NF_CONGESTION", None)
            }
            Self::Store(Fault::Invalid(_)) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "INCORRECT_LENGTH", None)
            }
            Self::Store(Fault::Full) => (
                StatusCode::INSUFFICIENT_STORAGE,
                "INSUFFICIENT_RESOURCES",
                None,
            ),
            Self::Store(fault) if fault.is_temporary() => {
                (StatusCode::SERVICE_UNAVAILABLE, "NF_CONGESTION", None)
            }
            Self::Store(_)
            | Self::Authority(_)
            | Self::Random(_)
            | Self::Encoding(_)
            | Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "SYSTEM_FAILURE", None),
        };
        Verdict {
            status,
            cause,
            culprit,
        }
    }

    /// What the log says: the cause and, for a fault, its whole chain.
    pub(crate) fn log(&self) -> String {
        let verdict = self.verdict();
        if verdict.status != StatusCode::INTERNAL_SERVER_ERROR {
            return format!("{} {self}", verdict.cause).trim().to_owned();
        }
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    }

    /// The answer of the token endpoint: what is wrong with the request or with who sent it is said as RFC 6749 section 5.2 has it.
    pub(crate) fn answer_of_tokens(&self, request_id: &str, told: &str) -> Response<Body> {
        let refusal = match self.verdict().status {
            StatusCode::BAD_REQUEST => AccessTokenError::InvalidRequest,
            StatusCode::UNAUTHORIZED => AccessTokenError::InvalidClient,
            _ => return self.answer_telling(request_id, told),
        };
        match self {
            Self::Token(_) => self.answer_telling(request_id, told),
            _ => error_answer(refusal, format!("{self}{told}"), self.verdict().status),
        }
    }

    /// The answer.
    pub(crate) fn answer(&self, request_id: &str) -> Response<Body> {
        self.answer_telling(request_id, "")
    }

    /// The answer, with something that follows its text.
    pub(crate) fn answer_telling(&self, request_id: &str, told: &str) -> Response<Body> {
        if let Self::Token(refusal) = self {
            return token_answer(refusal, told, self.verdict().status);
        }
        let verdict = self.verdict();
        let internal =
            verdict.status.is_server_error() && verdict.status != StatusCode::NOT_IMPLEMENTED;
        let detail = if internal && verdict.status == StatusCode::INTERNAL_SERVER_ERROR {
            "the request was not carried out; the log has the reason under this request id"
                .to_owned()
        } else if matches!(self, Self::Authority(_)) {
            // What the outside authority complains of is for the operator, in the log.
            "the outside certificate authority did not sign; nothing was changed: ask again later"
                .to_owned()
        } else {
            format!("{self}{told}")
        };
        let mut problem = ProblemDetails {
            title: verdict.status.canonical_reason().map(str::to_owned),
            status: Some(verdict.status.as_u16()),
            detail: Some(detail.clone()),
            cause: (!verdict.cause.is_empty()).then(|| verdict.cause.to_owned()),
            invalid_params: verdict.culprit.map(|culprit| {
                vec![InvalidParam {
                    param: culprit.to_owned(),
                    reason: Some(detail),
                    ..InvalidParam::default()
                }]
            }),
            supported_features: match self {
                Self::UnknownParameter { features, .. } => features.map(SupportedFeatures::from),
                _ => None,
            },
            ..ProblemDetails::default()
        };
        problem
            .extra
            .insert("requestId".to_owned(), request_id.to_owned().into());
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(full(body));
        *response.status_mut() = verdict.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        self.headers(headers, verdict.status);
        response
    }

    fn headers(&self, headers: &mut HeaderMap, status: StatusCode) {
        match self {
            Self::MethodNotAllowed { allowed } => {
                let allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
                if let Ok(value) = HeaderValue::try_from(allowed.join(", ")) {
                    headers.insert(header::ALLOW, value);
                }
            }
            Self::MediaType {
                expected,
                patch: true,
            } => {
                headers.insert("accept-patch", HeaderValue::from_static(expected));
            }
            Self::UpgradeRequired => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(
                    header::SEC_WEBSOCKET_VERSION,
                    HeaderValue::from_static("13"),
                );
            }
            Self::SecretsExhausted(seconds)
            | Self::CertificatesExhausted(seconds)
            | Self::TooFast { seconds, .. } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            Self::Refused(Refusal::ApprovalsExhausted) => {
                let seconds = HeaderValue::from_static(APPROVALS_PAUSE_SECONDS);
                headers.insert(header::RETRY_AFTER, seconds);
            }
            Self::Refused(Refusal::CertificateRequired | Refusal::CertificateUnknown) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("CAPIF"));
            }
            Self::LogFull { .. } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(LOG_RETRY_SECONDS));
            }
            _ if status == StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
    }
}

fn of_refusal(refusal: &Refusal) -> Verdict<'_> {
    let (status, cause, culprit) = match refusal {
        Refusal::CredentialMissing
        | Refusal::CredentialRefused
        | Refusal::CredentialExpired
        | Refusal::CredentialUsed => (StatusCode::UNAUTHORIZED, "UNSPECIFIED_MSG_FAILURE", None),
        Refusal::CertificateRequired | Refusal::CertificateUnknown => {
            (StatusCode::UNAUTHORIZED, "UNSPECIFIED_MSG_FAILURE", None)
        }
        Refusal::RenewalRequired => (StatusCode::FORBIDDEN, "RENEWAL_REQUIRED", None),
        Refusal::RoleNotAllowed
        | Refusal::NotTheCaller { .. }
        | Refusal::EventNotAllowed { .. } => {
            (StatusCode::FORBIDDEN, "UNSPECIFIED_MSG_FAILURE", None)
        }
        Refusal::Malformed { pointer, fault, .. } => {
            let cause = match fault {
                RequestFault::Format => "INVALID_MSG_FORMAT",
                RequestFault::Missing => "MANDATORY_IE_MISSING",
                RequestFault::Incorrect => "MANDATORY_IE_INCORRECT",
                RequestFault::Query => "INVALID_QUERY_PARAM",
                RequestFault::QueryMissing => "MANDATORY_QUERY_PARAM_MISSING",
                RequestFault::QueryIncorrect => "OPTIONAL_QUERY_PARAM_INCORRECT",
            };
            (StatusCode::BAD_REQUEST, cause, Some(pointer.as_str()))
        }
        Refusal::PublicKey(_) => (StatusCode::BAD_REQUEST, "MANDATORY_IE_INCORRECT", None),
        Refusal::ModificationNotAllowed { member } => (
            StatusCode::FORBIDDEN,
            "MODIFICATION_NOT_ALLOWED",
            Some(member.as_str()),
        ),
        Refusal::OnboardingInformationFixed => (
            StatusCode::BAD_REQUEST,
            "MODIFICATION_NOT_ALLOWED",
            Some("/onboardingInformation"),
        ),
        Refusal::FeatureNotAgreed { member, .. } => (
            StatusCode::FORBIDDEN,
            "MODIFICATION_NOT_ALLOWED",
            Some(*member),
        ),
        Refusal::RenewalNameTaken => (
            StatusCode::CONFLICT,
            "UNSPECIFIED_MSG_FAILURE",
            Some("/onboardingInformation/vendorSpecific-capif/renewal"),
        ),
        Refusal::NotFound { what } => {
            let cause = if *what == "subscription" {
                "SUBSCRIPTION_NOT_FOUND"
            } else {
                "RESOURCE_URI_STRUCTURE_NOT_FOUND"
            };
            (StatusCode::NOT_FOUND, cause, None)
        }
        Refusal::ApiNameTaken => (
            StatusCode::FORBIDDEN,
            "MODIFICATION_NOT_ALLOWED",
            Some("/apiName"),
        ),
        Refusal::DestinationNotAllowed => (
            StatusCode::FORBIDDEN,
            "UNSPECIFIED_MSG_FAILURE",
            Some("/notificationDestination"),
        ),
        Refusal::AefNotInDomain { .. } | Refusal::NoSecurityMethod { .. } => (
            StatusCode::BAD_REQUEST,
            "MANDATORY_IE_INCORRECT",
            Some("/aefProfiles"),
        ),
        Refusal::AefOutOfReach { .. } => (
            StatusCode::BAD_REQUEST,
            "MANDATORY_IE_INCORRECT",
            Some("/securityInfo"),
        ),
        Refusal::TooMany { .. } | Refusal::TooBroad { .. } => {
            (StatusCode::FORBIDDEN, "UNSPECIFIED_MSG_FAILURE", None)
        }
        Refusal::NoApiGranted { reasons } => {
            let unmet = |(_, cause): &(String, EnrolFailCause)| {
                *cause == EnrolFailCause::OnboardingCriNotMet
            };
            let cause = if reasons.iter().any(unmet) {
                "ONBOARDING_CRI_NOT_MET"
            } else {
                "AUTHORIZATION_ISSUE"
            };
            let place = Some("/apiList/serviceAPIDescriptions");
            (StatusCode::FORBIDDEN, cause, place)
        }
        Refusal::EnrolmentRejected { .. } => {
            (StatusCode::FORBIDDEN, "API_INVOKER_NOT_ALLOWED", None)
        }
        Refusal::ApprovalsExhausted => (StatusCode::TOO_MANY_REQUESTS, "NF_CONGESTION_RISK", None),
        Refusal::OperatorNameTaken { .. } => (
            StatusCode::CONFLICT,
            "UNSPECIFIED_MSG_FAILURE",
            Some("/name"),
        ),
        Refusal::Several { .. } => (StatusCode::CONFLICT, "UNSPECIFIED_MSG_FAILURE", None),
    };
    Verdict {
        status,
        cause,
        culprit,
    }
}

/// The error answer of the token endpoint (RFC 6749 section 5.2).
fn token_answer(refusal: &TokenRefusal, told: &str, status: StatusCode) -> Response<Body> {
    let error = match refusal {
        TokenRefusal::InvalidRequest(_) => AccessTokenError::InvalidRequest,
        TokenRefusal::InvalidClient => AccessTokenError::InvalidClient,
        TokenRefusal::UnauthorizedClient(_) => AccessTokenError::UnauthorizedClient,
        TokenRefusal::UnsupportedGrantType => AccessTokenError::UnsupportedGrantType,
        TokenRefusal::InvalidScope(_) => AccessTokenError::InvalidScope,
    };
    error_answer(error, format!("{refusal}{told}"), status)
}

fn error_answer(
    error: AccessTokenError,
    description: String,
    status: StatusCode,
) -> Response<Body> {
    let body = AccessTokenErr {
        error,
        error_description: Some(description),
        error_uri: None,
        extra: Default::default(),
    };
    let mut response = Response::new(full(serde_json::to_vec(&body).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"capif\""),
        );
    }
    response
}

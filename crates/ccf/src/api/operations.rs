//! Every operation with who may call it: the table that router, checks and documentation come from.
//!
//! A route exists because it stands here, and only for the callers that stand beside it (P-21).

use http::Method;

use super::{
    Handler, access_control, auditing, discovery, events, handed_over, introspection,
    invocation_log, jwks, onboarding, open_discovery, problem::ApiError, publication, registration,
    renewal, routing, security,
};

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallerKind {
    /// Anyone over server-authenticated TLS.
    Anyone,
    /// Who holds an onboarding credential.
    OnboardingCredential,
    /// Who holds a registration credential.
    RegistrationCredential,
    /// An onboarded API invoker, by its certificate.
    Invoker,
    /// An API exposing function, by its certificate.
    Aef,
    /// An API publishing function, by its certificate.
    Apf,
    /// An API management function, by its certificate.
    Amf,
}

impl CallerKind {
    /// The kind in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::OnboardingCredential => "holders of an onboarding credential",
            Self::RegistrationCredential => "holders of a registration credential",
            Self::Invoker => "API invokers",
            Self::Aef => "API exposing functions (AEF)",
            Self::Apf => "API publishing functions (APF)",
            Self::Amf => "API management functions (AMF)",
        }
    }
}

/// What an operation takes as its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// None; one that comes is not read.
    None,
    /// `application/json`
    Json,
    /// `application/merge-patch+json`
    MergePatch,
    /// `application/x-www-form-urlencoded`
    Form,
}

impl BodyKind {
    /// The media type, when there is a body.
    #[must_use]
    pub fn media_type(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Json => Some("application/json"),
            Self::MergePatch => Some("application/merge-patch+json"),
            Self::Form => Some("application/x-www-form-urlencoded"),
        }
    }
}

/// Whose id the path carries in its first parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathOwner {
    /// Nobody's, or one that the operation itself judges.
    None,
    /// The caller's own: any other is refused before anything is looked up (D-14, P-20).
    Caller,
}

/// One operation.
#[derive(Clone)]
pub struct Operation {
    /// Its operationId in TS 29.222 annex A, or a name of our own.
    pub id: &'static str,
    /// The method.
    pub method: Method,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// Who may call.
    pub callers: &'static [CallerKind],
    /// Whose id the path carries.
    pub owner: PathOwner,
    /// What it takes.
    pub body: BodyKind,
    /// The code.
    pub(crate) handler: Handler,
}

/// The table: TS 29.222 annex A in its order, then our own.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        id: "CreateOnboardedAPIInvoker",
        method: Method::POST,
        path: "/api-invoker-management/v1/onboardedInvokers",
        callers: &[CallerKind::OnboardingCredential],
        owner: PathOwner::None,
        body: BodyKind::Json,
        handler: onboarding::create,
    },
    Operation {
        id: "UpdateIndOnboardedAPIInvoker",
        method: Method::PUT,
        path: "/api-invoker-management/v1/onboardedInvokers/{onboardingId}",
        callers: &[CallerKind::Invoker],
        owner: PathOwner::Caller,
        body: BodyKind::Json,
        handler: onboarding::replace,
    },
    Operation {
        id: "ModifyIndOnboardedAPIInvoker",
        method: Method::PATCH,
        path: "/api-invoker-management/v1/onboardedInvokers/{onboardingId}",
        callers: &[CallerKind::Invoker],
        owner: PathOwner::Caller,
        body: BodyKind::MergePatch,
        handler: onboarding::modify,
    },
    Operation {
        id: "DeleteIndOnboardedAPIInvoker",
        method: Method::DELETE,
        path: "/api-invoker-management/v1/onboardedInvokers/{onboardingId}",
        callers: &[CallerKind::Invoker],
        owner: PathOwner::Caller,
        body: BodyKind::None,
        handler: onboarding::delete,
    },
    Operation {
        id: "CreateApiProvRegist",
        method: Method::POST,
        path: "/api-provider-management/v1/registrations",
        callers: &[CallerKind::RegistrationCredential],
        owner: PathOwner::None,
        body: BodyKind::Json,
        handler: registration::create,
    },
    Operation {
        id: "UpdateIndApiProvDomainRegist",
        method: Method::PUT,
        path: "/api-provider-management/v1/registrations/{registrationId}",
        callers: &[CallerKind::Amf],
        owner: PathOwner::None,
        body: BodyKind::Json,
        handler: registration::replace,
    },
    Operation {
        id: "ModifyIndApiProvDomainRegist",
        method: Method::PATCH,
        path: "/api-provider-management/v1/registrations/{registrationId}",
        callers: &[CallerKind::Amf],
        owner: PathOwner::None,
        body: BodyKind::MergePatch,
        handler: registration::modify,
    },
    Operation {
        id: "DeleteIndApiProvDomainRegist",
        method: Method::DELETE,
        path: "/api-provider-management/v1/registrations/{registrationId}",
        callers: &[CallerKind::Amf],
        owner: PathOwner::None,
        body: BodyKind::None,
        handler: registration::delete,
    },
    Operation {
        id: "CreateAPFPubAPIs",
        method: Method::POST,
        path: "/published-apis/v1/{apfId}/service-apis",
        callers: &[CallerKind::Apf],
        owner: PathOwner::Caller,
        body: BodyKind::Json,
        handler: publication::create,
    },
    Operation {
        id: "GetAPFPubAPIs",
        method: Method::GET,
        path: "/published-apis/v1/{apfId}/service-apis",
        callers: &[CallerKind::Apf],
        owner: PathOwner::Caller,
        body: BodyKind::None,
        handler: publication::list,
    },
    Operation {
        id: "GetIndAPFPubAPI",
        method: Method::GET,
        path: "/published-apis/v1/{apfId}/service-apis/{serviceApiId}",
        callers: &[CallerKind::Apf],
        owner: PathOwner::Caller,
        body: BodyKind::None,
        handler: publication::get,
    },
    Operation {
        id: "UpdateIndAPFPubAPI",
        method: Method::PUT,
        path: "/published-apis/v1/{apfId}/service-apis/{serviceApiId}",
        callers: &[CallerKind::Apf],
        owner: PathOwner::Caller,
        body: BodyKind::Json,
        handler: publication::replace,
    },
    Operation {
        id: "ModifyIndAPFPubAPI",
        method: Method::PATCH,
        path: "/published-apis/v1/{apfId}/service-apis/{serviceApiId}",
        callers: &[CallerKind::Apf],
        owner: PathOwner::Caller,
        body: BodyKind::MergePatch,
        handler: publication::modify,
    },
    Operation {
        id: "DeleteIndAPFPubAPI",
        method: Method::DELETE,
        path: "/published-apis/v1/{apfId}/service-apis/{serviceApiId}",
        callers: &[CallerKind::Apf],
        owner: PathOwner::Caller,
        body: BodyKind::None,
        handler: publication::delete,
    },
    Operation {
        id: "GetPubServAPIs",
        method: Method::GET,
        path: "/service-apis/v1/allServiceAPIs",
        callers: &[CallerKind::Invoker],
        owner: PathOwner::None,
        body: BodyKind::None,
        handler: discovery::discover,
    },
    Operation {
        id: "GetServAPIs",
        method: Method::GET,
        path: "/open-api-disc/v1/service-apis",
        callers: &[CallerKind::Anyone],
        owner: PathOwner::None,
        body: BodyKind::None,
        handler: open_discovery::discover,
    },
    Operation {
        id: "CreateEventSubsc",
        method: Method::POST,
        path: "/capif-events/v1/{subscriberId}/subscriptions",
        callers: &[
            CallerKind::Invoker,
            CallerKind::Aef,
            CallerKind::Apf,
            CallerKind::Amf,
        ],
        owner: PathOwner::Caller,
        body: BodyKind::Json,
        handler: events::create,
    },
    Operation {
        id: "UpdateIndEventSubsc",
        method: Method::PUT,
        path: "/capif-events/v1/{subscriberId}/subscriptions/{subscriptionId}",
        callers: &[
            CallerKind::Invoker,
            CallerKind::Aef,
            CallerKind::Apf,
            CallerKind::Amf,
        ],
        owner: PathOwner::Caller,
        body: BodyKind::Json,
        handler: events::replace,
    },
    Operation {
        id: "ModifyIndEventSubsc",
        method: Method::PATCH,
        path: "/capif-events/v1/{subscriberId}/subscriptions/{subscriptionId}",
        callers: &[
            CallerKind::Invoker,
            CallerKind::Aef,
            CallerKind::Apf,
            CallerKind::Amf,
        ],
        owner: PathOwner::Caller,
        body: BodyKind::MergePatch,
        handler: events::modify,
    },
    Operation {
        id: "DeleteIndEventSubsc",
        method: Method::DELETE,
        path: "/capif-events/v1/{subscriberId}/subscriptions/{subscriptionId}",
        callers: &[
            CallerKind::Invoker,
            CallerKind::Aef,
            CallerKind::Apf,
            CallerKind::Amf,
        ],
        owner: PathOwner::Caller,
        body: BodyKind::None,
        handler: events::delete,
    },
    Operation {
        id: "CreateSecIndTrustedAPIInv",
        method: Method::PUT,
        path: "/capif-security/v1/trustedInvokers/{apiInvokerId}",
        callers: &[CallerKind::Invoker],
        owner: PathOwner::Caller,
        body: BodyKind::Json,
        handler: security::create,
    },
    Operation {
        id: "UpdateSecContIndAPIInv",
        method: Method::POST,
        path: "/capif-security/v1/trustedInvokers/{apiInvokerId}/update",
        callers: &[CallerKind::Invoker],
        owner: PathOwner::Caller,
        body: BodyKind::Json,
        handler: security::update,
    },
    Operation {
        id: "GetSecIndTrustedAPIInv",
        method: Method::GET,
        path: "/capif-security/v1/trustedInvokers/{apiInvokerId}",
        callers: &[CallerKind::Aef],
        owner: PathOwner::None,
        body: BodyKind::None,
        handler: security::get,
    },
    Operation {
        id: "DeleteSecIndTrustedAPIInv",
        method: Method::DELETE,
        path: "/capif-security/v1/trustedInvokers/{apiInvokerId}",
        callers: &[CallerKind::Aef],
        owner: PathOwner::None,
        body: BodyKind::None,
        handler: security::revoke_all,
    },
    Operation {
        id: "DeleteAuthIndAPIInvForAPIs",
        method: Method::POST,
        path: "/capif-security/v1/trustedInvokers/{apiInvokerId}/delete",
        callers: &[CallerKind::Aef],
        owner: PathOwner::None,
        body: BodyKind::Json,
        handler: security::revoke_some,
    },
    Operation {
        id: "GetOAuthIndAPIInv",
        method: Method::POST,
        path: "/capif-security/v1/securities/{securityId}/token",
        callers: &[CallerKind::Invoker],
        owner: PathOwner::None,
        body: BodyKind::Form,
        handler: security::token,
    },
    Operation {
        id: "GetAccContPolList",
        method: Method::GET,
        path: "/access-control-policy/v1/accessControlPolicyList/{serviceApiId}",
        callers: &[CallerKind::Aef],
        owner: PathOwner::None,
        body: BodyKind::None,
        handler: access_control::list,
    },
    Operation {
        id: "CreateLogEntServAPIInv",
        method: Method::POST,
        path: "/api-invocation-logs/v1/{aefId}/logs",
        callers: &[CallerKind::Aef],
        owner: PathOwner::Caller,
        body: BodyKind::Json,
        handler: invocation_log::create,
    },
    Operation {
        id: "GetAPIInvLogs",
        method: Method::GET,
        path: "/logs/v1/apiInvocationLogs",
        callers: &[CallerKind::Amf],
        owner: PathOwner::None,
        body: BodyKind::None,
        handler: auditing::list,
    },
    Operation {
        id: "GetAPIRouteInfo",
        method: Method::GET,
        path: "/capif-routing-info/v1/service-apis/{serviceApiId}",
        callers: &[CallerKind::Aef],
        owner: PathOwner::None,
        body: BodyKind::None,
        handler: routing::get,
    },
    Operation {
        id: "AccessTokenKeys",
        method: Method::GET,
        path: "/.well-known/jwks.json",
        callers: &[CallerKind::Anyone],
        owner: PathOwner::None,
        body: BodyKind::None,
        handler: jwks::get,
    },
    Operation {
        id: "IntrospectAccessToken",
        method: Method::POST,
        path: "/capif-token-introspection/v1/introspect",
        callers: &[CallerKind::Aef],
        owner: PathOwner::None,
        body: BodyKind::Form,
        handler: introspection::introspect,
    },
    Operation {
        id: "AuthorizationServerMetadata",
        method: Method::GET,
        path: "/.well-known/oauth-authorization-server",
        callers: &[CallerKind::Anyone],
        owner: PathOwner::None,
        body: BodyKind::None,
        handler: introspection::metadata,
    },
    Operation {
        id: "HandOverOnboardingCredential",
        method: Method::POST,
        path: "/capif-onboarding-credentials/v1/{registrationId}/credentials",
        callers: &[CallerKind::Amf],
        owner: PathOwner::None,
        body: BodyKind::Json,
        handler: handed_over::create,
    },
    Operation {
        id: "AskForAllowance",
        method: Method::POST,
        path: "/capif-allowances/v1/{serviceApiId}",
        callers: &[CallerKind::Aef],
        owner: PathOwner::None,
        body: BodyKind::Json,
        handler: access_control::allow,
    },
    Operation {
        id: "GetRenewalStatus",
        method: Method::GET,
        path: "/capif-renewal/v1/{entityId}",
        callers: &[
            CallerKind::Invoker,
            CallerKind::Aef,
            CallerKind::Apf,
            CallerKind::Amf,
        ],
        owner: PathOwner::Caller,
        body: BodyKind::None,
        handler: renewal::status,
    },
    Operation {
        id: "OpenWebSocket",
        method: Method::GET,
        path: "/capif-websocket/v1/{subscriberId}/{resourceId}",
        callers: &[
            CallerKind::Invoker,
            CallerKind::Aef,
            CallerKind::Apf,
            CallerKind::Amf,
        ],
        owner: PathOwner::Caller,
        body: BodyKind::None,
        handler: crate::websocket::open,
    },
];

/// The operations that are served to who must renew first: the renewal itself, what leads to it, and the way out.
const OF_RENEWAL: [&str; 6] = [
    "UpdateIndOnboardedAPIInvoker",
    "ModifyIndOnboardedAPIInvoker",
    "DeleteIndOnboardedAPIInvoker",
    "UpdateIndApiProvDomainRegist",
    "ModifyIndApiProvDomainRegist",
    "GetRenewalStatus",
];

/// The operations that change what there is, and answer with what has become of it.
const UPDATES: [&str; 8] = [
    "UpdateIndOnboardedAPIInvoker",
    "ModifyIndOnboardedAPIInvoker",
    "UpdateIndApiProvDomainRegist",
    "ModifyIndApiProvDomainRegist",
    "UpdateIndAPFPubAPI",
    "ModifyIndAPFPubAPI",
    "UpdateIndEventSubsc",
    "ModifyIndEventSubsc",
];

impl Operation {
    /// Whether its answer may be left out for who prefers so: 204 in the place of 200.
    #[must_use]
    pub fn is_update(&self) -> bool {
        UPDATES.contains(&self.id)
    }

    /// Whether it is for the public, whatever anybody is (RFC 8615).
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.path.starts_with("/.well-known/")
    }

    /// Whether it is served to who must renew first.
    #[must_use]
    pub fn is_of_renewal(&self) -> bool {
        OF_RENEWAL.contains(&self.id)
    }
}

/// The table cannot be served: a mistake in this program, found at its start.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// An operation lets nobody in.
    #[error("operation {0} names no caller")]
    NoCaller(&'static str),
    /// Two operations claim one route.
    #[error("operation {0} claims a route that is taken")]
    Route(&'static str),
}

/// Finds the operations of a path.
pub(crate) struct Routes(matchit::Router<Vec<&'static Operation>>);

impl Routes {
    /// Builds the routes of a table.
    pub(crate) fn new(operations: &'static [Operation]) -> Result<Self, TableError> {
        let mut paths: Vec<(&'static str, Vec<&'static Operation>)> = Vec::new();
        for operation in operations {
            if operation.callers.is_empty() {
                return Err(TableError::NoCaller(operation.id));
            }
            match paths.iter_mut().find(|(path, _)| *path == operation.path) {
                Some((_, known)) if known.iter().any(|known| known.method == operation.method) => {
                    return Err(TableError::Route(operation.id));
                }
                Some((_, known)) => known.push(operation),
                None => paths.push((operation.path, vec![operation])),
            }
        }
        let mut router = matchit::Router::new();
        for (path, operations) in paths {
            let first = operations.first().map_or("", |operation| operation.id);
            router
                .insert(path, operations)
                .map_err(|_| TableError::Route(first))?;
        }
        Ok(Self(router))
    }

    /// The operation that is asked for, with the values of the path's parameters in order.
    ///
    /// # Errors
    /// When nothing is at the path, or it does not take the method.
    pub(crate) fn operation(
        &self,
        method: &Method,
        path: &str,
    ) -> Result<(&'static Operation, Vec<String>), ApiError> {
        let (operations, values) = self.find(path).ok_or(ApiError::UnknownPath)?;
        let found = operations
            .iter()
            .find(|operation| operation.method == *method);
        let operation = found.ok_or_else(|| ApiError::MethodNotAllowed {
            allowed: operations
                .iter()
                .map(|operation| operation.method.clone())
                .collect(),
        })?;
        Ok((operation, values))
    }

    /// The operations of a path with the values of its parameters in order.
    fn find(&self, path: &str) -> Option<(&[&'static Operation], Vec<String>)> {
        let found = self.0.at(path).ok()?;
        let values = found
            .params
            .iter()
            .map(|(_, value)| value.to_owned())
            .collect();
        Some((found.value, values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_without_a_caller_does_not_start() {
        const TABLE: &[Operation] = &[Operation {
            id: "Nobody",
            method: Method::GET,
            path: "/nobody",
            callers: &[],
            owner: PathOwner::None,
            body: BodyKind::None,
            handler: jwks::get,
        }];
        assert!(matches!(
            Routes::new(TABLE),
            Err(TableError::NoCaller("Nobody"))
        ));
    }

    #[test]
    fn what_is_named_is_there() {
        for id in OF_RENEWAL.iter().chain(&UPDATES) {
            assert!(
                OPERATIONS.iter().any(|operation| operation.id == *id),
                "{id}"
            );
        }
    }

    #[test]
    fn the_table_starts() {
        assert!(Routes::new(OPERATIONS).is_ok());
    }
}

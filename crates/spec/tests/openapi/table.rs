//! Which type stands for which schema.

use capif_spec::{
    access_control_policy::*,
    aef_security::*,
    api_invoker_management::*,
    api_provider_management::*,
    auditing::*,
    common::*,
    discover_service::*,
    events::*,
    json::{self, JsonErrorKind},
    logging::*,
    open_discover_service::*,
    publish_service::*,
    routing_info::*,
    security::*,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::examples::Example;

/// A schema and what is to be compared with it.
pub(crate) struct Entry {
    pub(crate) file: &'static str,
    pub(crate) schema: &'static str,
    pub(crate) kind: Kind,
}

/// What is to be compared.
pub(crate) enum Kind {
    /// An object.
    Object {
        /// With every member that the type has.
        example: Map<String, Value>,
        /// The mandatory member that a document misses, if it misses one.
        misses: fn(Value) -> Option<String>,
    },
    /// An enumeration, by its known values.
    Enumeration(&'static [&'static str]),
}

/// Schemas that are not compared by the table, each with the reason.
pub(crate) const EXCUSED: [(&str, &str, &str); 2] = [
    (
        "TS29222_CAPIF_Auditing_API.yaml",
        "InvocationLogsRetrieveRes",
        "is one of two others; has a test of its own",
    ),
    (
        "TS29222_CAPIF_Logging_API_Invocation_API.yaml",
        "DurationMs",
        "is a number; compared where it is used",
    ),
];

/// Members of another JSON type than published, each with the reason.
pub(crate) const OTHER_TYPE: [(&str, &str, &str); 1] = [(
    "AccessTokenReq",
    "resOwnerId",
    "a form holds texts alone, so the object is written as one",
)];

/// Members that are not published, each with the reason.
pub(crate) const ADDED: [(&str, &[&str], &str); 1] = [(
    "AccessTokenClaims",
    &["sub", "aud", "client_id", "iat", "nbf", "jti", "gen", "cnf"],
    "claims of TS 33.122 clause C.2.2, of RFC 7519 and of this product",
)];

fn object<T: Example + Serialize + DeserializeOwned>(
    file: &'static str,
    schema: &'static str,
) -> Entry {
    let Value::Object(example) = serde_json::to_value(T::example()).unwrap() else {
        panic!("{schema} is no object");
    };
    let misses = |document: Value| match json::from_value::<T>(document) {
        Ok(_) => None,
        Err(error) => {
            assert_eq!(error.kind, JsonErrorKind::MissingMember, "{error}");
            Some(error.pointer.trim_start_matches('/').to_owned())
        }
    };
    Entry {
        file,
        schema,
        kind: Kind::Object { example, misses },
    }
}

macro_rules! table {
    ($($file:literal {
        $(objects { $($type:ident = $schema:literal,)* })?
        $(enumerations { $($enumeration:ident = $values:literal,)* })?
    })*) => {
        vec![$(
            $($(object::<$type>($file, $schema),)*)?
            $($(Entry { file: $file, schema: $values, kind: Kind::Enumeration($enumeration::KNOWN) },)*)?
        )*]
    };
}

/// Every comparison.
pub(crate) fn entries() -> Vec<Entry> {
    table! {
        "TS29222_CAPIF_Discover_Service_API.yaml" {
            objects {
                DiscoveredApis = "DiscoveredAPIs",
                IpAddrInfo = "IpAddrInfo",
                ResOperInfo = "ResOperInfo",
            }
        }
        "TS29222_CAPIF_Publish_Service_API.yaml" {
            objects {
                ServiceApiDescription = "ServiceAPIDescription",
                InterfaceDescription = "InterfaceDescription",
                AefProfile = "AefProfile",
                Resource = "Resource",
                CustomOperation = "CustomOperation",
                Version = "Version",
                ShareableInformation = "ShareableInformation",
                PublishedApiPath = "PublishedApiPath",
                AefLocation = "AefLocation",
                ServiceApiDescriptionPatch = "ServiceAPIDescriptionPatch",
                ApiStatus = "ApiStatus",
                ServiceKpis = "ServiceKpis",
                IpAddrRange = "IpAddrRange",
            }
            enumerations {
                Protocol = "Protocol",
                CommunicationType = "CommunicationType",
                DataFormat = "DataFormat",
                SecurityMethod = "SecurityMethod",
                Operation = "Operation",
            }
        }
        "TS29222_CAPIF_Events_API.yaml" {
            objects {
                EventSubscription = "EventSubscription",
                EventNotification = "EventNotification",
                CapifEventFilter = "CAPIFEventFilter",
                CapifEventDetail = "CAPIFEventDetail",
                AccessControlPolicyListExt = "AccessControlPolicyListExt",
                TopologyHiding = "TopologyHiding",
                EventSubscriptionPatch = "EventSubscriptionPatch",
                ApiInvokerCount = "ApiInvokerCount",
                DiscoveryCount = "DiscoveryCount",
            }
            enumerations {
                CapifEvent = "CAPIFEvent",
            }
        }
        "TS29222_CAPIF_API_Invoker_Management_API.yaml" {
            objects {
                OnboardingInformation = "OnboardingInformation",
                ApiList = "APIList",
                ApiInvokerEnrolmentDetails = "APIInvokerEnrolmentDetails",
                OnboardingNotification = "OnboardingNotification",
                ApiInvokerEnrolmentDetailsPatch = "APIInvokerEnrolmentDetailsPatch",
                OnboardingCriteria = "OnboardingCriteria",
                RelatedCriteria = "RelatedCriteria",
                ApiInfo = "ApiInfo",
                EnrolFailReason = "EnrolFailReason",
            }
            enumerations {
                EnrolFailCause = "EnrolFailCause",
                OnboardingFailReason = "OnboardingFailReason",
            }
        }
        "TS29222_CAPIF_Security_API.yaml" {
            objects {
                ServiceSecurity = "ServiceSecurity",
                SecurityInformation = "SecurityInformation",
                SecurityNotification = "SecurityNotification",
                AccessTokenReq = "AccessTokenReq",
                AccessTokenRsp = "AccessTokenRsp",
                AccessTokenClaims = "AccessTokenClaims",
                ResOwnerId = "ResOwnerId",
                AccessTokenErr = "AccessTokenErr",
            }
            enumerations {
                Cause = "Cause",
                OAuthGrantType = "OAuthGrantType",
            }
        }
        "TS29222_CAPIF_Access_Control_Policy_API.yaml" {
            objects {
                AccessControlPolicyList = "AccessControlPolicyList",
                ApiInvokerPolicy = "ApiInvokerPolicy",
                TimeRangeList = "TimeRangeList",
            }
        }
        "TS29222_CAPIF_Logging_API_Invocation_API.yaml" {
            objects {
                InvocationLog = "InvocationLog",
                Log = "Log",
            }
        }
        "TS29222_CAPIF_Auditing_API.yaml" {
            objects {
                InvocationLogs = "InvocationLogs",
            }
        }
        "TS29222_AEF_Security_API.yaml" {
            objects {
                CheckAuthenticationReq = "CheckAuthenticationReq",
                CheckAuthenticationRsp = "CheckAuthenticationRsp",
                RevokeAuthorizationReq = "RevokeAuthorizationReq",
                RevokeAuthorizationRsp = "RevokeAuthorizationRsp",
            }
        }
        "TS29222_CAPIF_API_Provider_Management_API.yaml" {
            objects {
                ApiProviderEnrolmentDetails = "APIProviderEnrolmentDetails",
                ApiProviderFunctionDetails = "APIProviderFunctionDetails",
                RegistrationInformation = "RegistrationInformation",
                ApiProviderEnrolmentDetailsPatch = "APIProviderEnrolmentDetailsPatch",
            }
            enumerations {
                ApiProviderFuncRole = "ApiProviderFuncRole",
            }
        }
        "TS29222_CAPIF_Routing_Info_API.yaml" {
            objects {
                RoutingInfo = "RoutingInfo",
                RoutingRule = "RoutingRule",
                Ipv6AddressRange = "Ipv6AddressRange",
            }
        }
        "TS29222_CAPIF_Open_Discover_Service_API.yaml" {
            objects {
                OpenDiscoveryResp = "OpenDiscoveryResp",
                OpenApiDetails = "OpenAPIDetails",
                OpenAefProfile = "OpenAefProfile",
            }
        }
        "TS29122_CommonData.yaml" {
            objects {
                ProblemDetails = "ProblemDetails",
                InvalidParam = "InvalidParam",
                WebsockNotifConfig = "WebsockNotifConfig",
                TestNotification = "TestNotification",
            }
        }
        "TS29571_CommonData.yaml" {
            objects {
                Ipv4AddressRange = "Ipv4AddressRange",
                Ipv6AddressRange = "Ipv6AddressRange",
                Snssai = "Snssai",
                MutingExceptionInstructions = "MutingExceptionInstructions",
                MutingNotificationsSettings = "MutingNotificationsSettings",
            }
            enumerations {
                PartitioningCriteria = "PartitioningCriteria",
                NotificationFlag = "NotificationFlag",
                BufferedNotificationsAction = "BufferedNotificationsAction",
                SubscriptionAction = "SubscriptionAction",
            }
        }
        "TS29523_Npcf_EventExposure.yaml" {
            objects {
                ReportingInformation = "ReportingInformation",
            }
        }
        "TS29508_Nsmf_EventExposure.yaml" {
            enumerations {
                NotificationMethod = "NotificationMethod",
            }
        }
        "TS29435_NSCE_PolicyManagement.yaml" {
            objects {
                NetSliceId = "NetSliceId",
            }
        }
    }
}

//! An example of every type with every member that it has. The compiler sees to it that none is forgotten.

use capif_spec::{
    access_control_policy::*, aef_security::*, api_invoker_management::*,
    api_provider_management::*, auditing::*, common::*, discover_service::*, events::*, logging::*,
    open_discover_service::*, publish_service::*, routing_info::*, security::*,
};
use serde_json::{Value, json};

/// A type of which an example can be made.
pub(crate) trait Example: Sized {
    /// An example that leaves nothing out.
    fn example() -> Self;
}

macro_rules! example {
    ($($type:ty = $value:expr;)*) => {
        $(impl Example for $type {
            fn example() -> Self {
                $value
            }
        })*
    };
}

macro_rules! object {
    ($($type:ident { $($member:ident),* })*) => {
        $(impl Example for $type {
            fn example() -> Self {
                Self { $($member: Example::example(),)* extra: Extra::new() }
            }
        })*
    };
}

impl<T: Example> Example for Option<T> {
    fn example() -> Self {
        Some(T::example())
    }
}

impl<T: Example> Example for Vec<T> {
    fn example() -> Self {
        vec![T::example()]
    }
}

example! {
    bool = true;
    u8 = 1;
    u16 = 1;
    u64 = 1;
    i64 = 1;
    String = "text".to_owned();
    Value = json!("anything");
    OpenObject = OpenObject::new();
    ApiInvokerId = "text".into();
    AefId = "text".into();
    ServiceApiId = "text".into();
    ApiProviderDomainId = "text".into();
    ApiProviderFunctionId = "text".into();
    SubscriptionId = "text".into();
    Uri = "text".into();
    Redacted = "text".into();
    SupportedFeatures = "1".into();
    DateTime = "2026-01-31T12:00:00Z".parse().unwrap();
    Port = Port(1);
    Protocol = Protocol::Http2;
    CommunicationType = CommunicationType::RequestResponse;
    DataFormat = DataFormat::Json;
    SecurityMethod = SecurityMethod::Pki;
    Operation = Operation::Get;
    OAuthGrantType = OAuthGrantType::ClientCredentials;
    Cause = Cause::OtherReason;
    CapifEvent = CapifEvent::ServiceApiAvailable;
    ApiProviderFuncRole = ApiProviderFuncRole::Aef;
    EnrolFailCause = EnrolFailCause::Unspecified;
    OnboardingFailReason = OnboardingFailReason::OtherReason;
    AccessTokenError = AccessTokenError::InvalidClient;
    NotificationMethod = NotificationMethod::Periodic;
    PartitioningCriteria = PartitioningCriteria::Tac;
    NotificationFlag = NotificationFlag::Activate;
    BufferedNotificationsAction = BufferedNotificationsAction::SendAll;
    SubscriptionAction = SubscriptionAction::Close;
}

object! {
    ProblemDetails { r#type, title, status, detail, instance, cause, invalid_params, supported_features }
    InvalidParam { param, reason }
    WebsockNotifConfig { websocket_uri, request_websocket_uri }
    TestNotification { subscription }
    Ipv4AddressRange { start, end }
    Ipv6AddressRange { start, end }
    NetSliceId { snssai, nsi_id, ensi }
    Snssai { sst, sd }
    ReportingInformation {
        imm_rep, notif_method, max_report_nbr, mon_dur, rep_period, samp_ratio, partition_criteria, grp_rep_time,
        notif_flag, notif_flag_instruct, muting_setting
    }
    MutingExceptionInstructions { buffered_notifs, subscription }
    MutingNotificationsSettings { max_no_of_notif, duration_buffered_notif }
    DiscoveredApis { service_api_descriptions, supp_feat }
    IpAddrInfo { ipv4_addr, ipv6_addr }
    ResOperInfo { resource, operations, custom_serv_opers }
    ServiceApiDescription {
        api_name, api_id, api_status, aef_profiles, description, supported_features, shareable_info,
        service_api_category, api_supp_feats, pub_api_path, ccf_id, api_prov_name, net_slice_info
    }
    ServiceApiDescriptionPatch {
        api_status, aef_profiles, description, shareable_info, service_api_category, api_supp_feats, pub_api_path, ccf_id
    }
    InterfaceDescription { ipv4_addr, ipv6_addr, fqdn, port, api_prefix, security_methods, grant_types }
    AefProfile {
        aef_id, versions, protocol, data_format, security_methods, grant_types, domain_name, interface_descriptions,
        aef_location, service_kpis, ue_ip_range
    }
    Version { api_version, expiry, resources, cust_operations }
    Resource { resource_name, comm_type, uri, cust_op_name, cust_operations, operations, description }
    CustomOperation { comm_type, cust_op_name, operations, description }
    ApiStatus { aef_ids }
    ShareableInformation { is_shareable, capif_prov_doms }
    PublishedApiPath { ccf_ids }
    AefLocation { civic_addr, geo_area, dc_id }
    IpAddrRange { ue_ipv4_addr_ranges, ue_ipv6_addr_ranges }
    ServiceKpis {
        max_req_rate, max_restime, availability, aval_comp, aval_gra_comp, aval_mem, aval_stor, con_band
    }
    EventSubscription {
        events, event_filters, event_req, notification_destination, request_test_notification, websock_notif_config,
        supported_features
    }
    EventSubscriptionPatch { events, event_filters, event_req, notification_destination }
    CapifEventFilter { api_ids, api_invoker_ids, aef_ids }
    EventNotification { subscription_id, events, event_detail }
    CapifEventDetail {
        service_api_descriptions, api_ids, api_invoker_ids, acc_ctrl_pol_list, invocation_logs, api_topo_hide,
        onboarding_criteria, onboarded_count, discovery_count
    }
    AccessControlPolicyListExt { api_id, api_invoker_policies }
    TopologyHiding { api_id, routing_rules }
    ApiInvokerCount { api_id, count }
    DiscoveryCount { api_id, discovery_req_count, discovery_rsp_count }
    ApiInvokerEnrolmentDetails {
        api_invoker_id, onboarding_information, notification_destination, request_test_notification,
        websock_notif_config, api_list, api_invoker_information, exp_time, supported_features, failure_reasons
    }
    ApiInvokerEnrolmentDetailsPatch {
        onboarding_information, notification_destination, api_list, api_invoker_information, exp_time
    }
    OnboardingInformation {
        api_invoker_public_key, api_invoker_certificate, onboarding_secret, onboarding_criteria
    }
    ApiList { service_api_descriptions }
    OnboardingNotification { result, resource_location, api_invoker_enrolment_details, api_list, fail_reason }
    OnboardingCriteria { sec_methods, related_criteria }
    RelatedCriteria { aef_ids, apis, service_api_categories }
    ApiInfo { api_name, supported_api_versions }
    EnrolFailReason { api_name, failure_code }
    ApiProviderEnrolmentDetails {
        api_prov_dom_id, reg_sec, api_prov_funcs, api_prov_dom_info, supp_feat, fail_reason, api_prov_name
    }
    ApiProviderEnrolmentDetailsPatch { api_prov_funcs, api_prov_dom_info }
    ApiProviderFunctionDetails { api_prov_func_id, reg_info, api_prov_func_role, api_prov_func_info }
    RegistrationInformation { api_prov_pub_key, api_prov_cert }
    ServiceSecurity {
        security_info, notification_destination, request_test_notification, websock_notif_config, supported_features
    }
    SecurityInformation {
        interface_details, aef_id, api_id, pref_security_methods, sel_security_method, authentication_info,
        authorization_info, grant_type
    }
    SecurityNotification { api_invoker_id, aef_id, api_ids, access_token, cause }
    AccessTokenRsp { access_token, token_type, expires_in, scope }
    AccessTokenErr { error, error_description, error_uri }
    ResOwnerId { gpsi }
    AccessControlPolicyList { api_invoker_policies }
    ApiInvokerPolicy {
        api_invoker_id, allowed_total_invocations, allowed_invocations_per_second, allowed_invocation_time_range_list,
        net_slice_info
    }
    TimeRangeList { start_time, stop_time }
    InvocationLog { aef_id, api_invoker_id, logs, supported_features }
    Log {
        api_id, api_name, api_version, resource_name, uri, protocol, operation, result, invocation_time,
        invocation_latency, input_parameters, output_parameters, src_interface, dest_interface, fwd_interface,
        net_slice_info
    }
    InvocationLogs { multiple_invocation_logs, supported_features }
    RoutingInfo { routing_rules }
    RoutingRule { ipv4_addr_ranges, ipv6_addr_ranges, aef_profile }
    OpenDiscoveryResp { disc_apis, supp_feat }
    OpenApiDetails {
        api_name, api_id, api_status, description, service_api_category, api_supp_feats, api_prov_name, aef_profiles
    }
    OpenAefProfile { aef_id, versions, protocol, data_format, aef_location, service_kpis }
    CheckAuthenticationReq { api_invoker_id, supported_features }
    CheckAuthenticationRsp { supported_features }
    RevokeAuthorizationReq { revoke_info, supported_features }
    RevokeAuthorizationRsp { supported_features }
}

impl Example for AccessTokenReq {
    fn example() -> Self {
        Self {
            grant_type: Example::example(),
            client_id: Example::example(),
            res_owner_id: Example::example(),
            client_secret: Example::example(),
            scope: Example::example(),
            auth_code: Example::example(),
            redirect_uri: Example::example(),
        }
    }
}

impl Example for AccessTokenClaims {
    fn example() -> Self {
        Self {
            iss: Example::example(),
            sub: Example::example(),
            aud: Example::example(),
            client_id: Example::example(),
            scope: Example::example(),
            iat: Example::example(),
            nbf: Example::example(),
            exp: Example::example(),
            jti: Example::example(),
            generation: Example::example(),
            res_owner_id: Example::example(),
            cnf: Some(capif_spec::security::Confirmation {
                x5t_s256: Example::example(),
            }),
        }
    }
}

//! Published service APIs (TS 29.222 clause 8.2.4).
//!
//! A service API is described by profiles, one per AEF that exposes it; a profile says where (a domain name or interfaces),
//! in which versions, and by which security methods it can be called.

mod kpis;
mod operation;

pub use self::{
    kpis::ServiceKpis,
    operation::{CustomOperation, Resource, Version},
};
use crate::{
    checked::{self, Checked, Violation},
    common::{
        AefId, Ipv4AddressRange, Ipv6AddressRange, NetSliceId, OpenObject, Port, ServiceApiId,
        SupportedFeatures, geography,
    },
    security::OAuthGrantType,
    vendor::InterfaceTerms,
};

object! {
    /// A service API as an APF publishes it and as invokers discover it (TS 29.222 clause 8.2.4.2.2).
    pub struct ServiceApiDescription {
        /// The name, which stands in the URIs of the API (TS 29.122 clause 5.2.4).
        pub api_name: String,
        /// The id that the CCF gave: absent when an APF publishes, present ever after.
        pub api_id: Option<ServiceApiId>,
        /// On which AEFs the API is active; without it, activity is not managed.
        pub api_status: Option<ApiStatus>,
        /// Where and how the API is exposed; not empty.
        pub aef_profiles: Option<Vec<AefProfile>>,
        /// A text for people.
        pub description: Option<String>,
        /// Features of the publish API itself, for negotiation.
        pub supported_features: Option<SupportedFeatures>,
        /// Which other provider domains may know of the API.
        pub shareable_info: Option<ShareableInformation>,
        /// The category.
        #[serde(rename = "serviceAPICategory")]
        pub service_api_category: Option<String>,
        /// Features of the service API.
        pub api_supp_feats: Option<SupportedFeatures>,
        /// Which CCFs the publication passed through.
        pub pub_api_path: Option<PublishedApiPath>,
        /// The CCF that knows the details.
        pub ccf_id: Option<String>,
        /// The provider's name.
        pub api_prov_name: Option<String>,
        /// The network slices in which the API is there; not empty.
        pub net_slice_info: Option<Vec<NetSliceId>>,
    }
}

impl ServiceApiDescription {
    /// A description that says no more than the name.
    #[must_use]
    pub fn named(api_name: impl Into<String>) -> Self {
        Self {
            api_name: api_name.into(),
            api_id: None,
            api_status: None,
            aef_profiles: None,
            description: None,
            supported_features: None,
            shareable_info: None,
            service_api_category: None,
            api_supp_feats: None,
            pub_api_path: None,
            ccf_id: None,
            api_prov_name: None,
            net_slice_info: None,
            extra: Default::default(),
        }
    }
}

impl Checked for ServiceApiDescription {
    fn check(&self) -> Result<(), Violation> {
        api_name("apiName", &self.api_name)?;
        checked::list("aefProfiles", &self.aef_profiles)?;
        checked::bounded("description", &self.description)?;
        checked::inside("shareableInfo", &self.shareable_info)?;
        checked::bounded("serviceAPICategory", &self.service_api_category)?;
        checked::inside("pubApiPath", &self.pub_api_path)?;
        checked::bounded("ccfId", &self.ccf_id)?;
        checked::bounded("apiProvName", &self.api_prov_name)?;
        checked::list("netSliceInfo", &self.net_slice_info)
    }
}

/// Choice: an API name is free text in TS 29.222, but `,` and `;` separate the parts of a token's scope (TS 29.222 clause
/// 8.5.4.2.6) and cannot be escaped there. A name with one of them would read as two APIs in a token, so it is refused.
fn api_name(member: &str, name: &String) -> Result<(), Violation> {
    checked::bounded(member, name)?;
    if name.is_empty() || name.contains([',', ';']) || name.contains(char::is_control) {
        return Err(Violation::new(
            format!("/{member}"),
            format!("`{member}` is a text without `,`, `;` and control characters"),
        ));
    }
    Ok(())
}

object! {
    /// Changes to a published API, as a merge patch (TS 29.222 clause 8.2.4.2.11).
    #[derive(Default)]
    pub struct ServiceApiDescriptionPatch {
        /// On which AEFs the API is active.
        pub api_status: Option<ApiStatus>,
        /// Where and how the API is exposed; not empty.
        pub aef_profiles: Option<Vec<AefProfile>>,
        /// A text for people.
        pub description: Option<String>,
        /// Which other provider domains may know of the API.
        pub shareable_info: Option<ShareableInformation>,
        /// The category.
        #[serde(rename = "serviceAPICategory")]
        pub service_api_category: Option<String>,
        /// Features of the service API.
        pub api_supp_feats: Option<SupportedFeatures>,
        /// Which CCFs the publication passed through.
        pub pub_api_path: Option<PublishedApiPath>,
        /// The CCF that knows the details.
        pub ccf_id: Option<String>,
    }
}

impl Checked for ServiceApiDescriptionPatch {
    fn check(&self) -> Result<(), Violation> {
        checked::list("aefProfiles", &self.aef_profiles)?;
        checked::bounded("description", &self.description)?;
        checked::inside("shareableInfo", &self.shareable_info)?;
        checked::bounded("serviceAPICategory", &self.service_api_category)?;
        checked::inside("pubApiPath", &self.pub_api_path)?;
        checked::bounded("ccfId", &self.ccf_id)
    }
}

object! {
    /// How one AEF exposes an API (TS 29.222 clause 8.2.4.2.4).
    pub struct AefProfile {
        /// The AEF.
        pub aef_id: AefId,
        /// The versions of the API; not empty.
        pub versions: Vec<Version>,
        /// The protocol.
        pub protocol: Option<Protocol>,
        /// How bodies are written.
        pub data_format: Option<DataFormat>,
        /// The security methods on every interface that names none of its own; not empty.
        pub security_methods: Option<Vec<SecurityMethod>>,
        /// The ways to a token on every interface that names none of its own; not empty.
        pub grant_types: Option<Vec<OAuthGrantType>>,
        /// Where the API is, by name; excludes `interface_descriptions`.
        pub domain_name: Option<String>,
        /// Where the API is, by interface; excludes `domain_name`; not empty.
        pub interface_descriptions: Option<Vec<InterfaceDescription>>,
        /// Where the AEF stands.
        pub aef_location: Option<AefLocation>,
        /// What the service can bear.
        pub service_kpis: Option<ServiceKpis>,
        /// The addresses of the users that are served.
        pub ue_ip_range: Option<IpAddrRange>,
    }
}

impl Checked for AefProfile {
    fn check(&self) -> Result<(), Violation> {
        checked::list("versions", &self.versions)?;
        checked::not_empty("securityMethods", &self.security_methods)?;
        checked::not_empty("grantTypes", &self.grant_types)?;
        checked::exactly_one(&[
            ("domainName", self.domain_name.is_some()),
            (
                "interfaceDescriptions",
                self.interface_descriptions.is_some(),
            ),
        ])?;
        checked::bounded("domainName", &self.domain_name)?;
        checked::list("interfaceDescriptions", &self.interface_descriptions)?;
        checked::inside("aefLocation", &self.aef_location)?;
        checked::inside("serviceKpis", &self.service_kpis)?;
        checked::inside("ueIpRange", &self.ue_ip_range)
    }
}

object! {
    /// An interface on which an API can be called (TS 29.222 clause 8.2.4.2.3). It has exactly one address.
    ///
    /// Addresses are texts here: deployed publishers put host names into `ipv4Addr`, and only the party that connects can
    /// tell what it can reach.
    #[derive(Default)]
    pub struct InterfaceDescription {
        /// An IPv4 address.
        pub ipv4_addr: Option<String>,
        /// An IPv6 address.
        pub ipv6_addr: Option<String>,
        /// A host name.
        pub fqdn: Option<String>,
        /// The port.
        pub port: Option<Port>,
        /// Path segments before the API's own, beginning with `/`.
        pub api_prefix: Option<String>,
        /// The security methods on this interface, instead of the profile's; not empty.
        pub security_methods: Option<Vec<SecurityMethod>>,
        /// The ways to a token on this interface, instead of the profile's; not empty.
        pub grant_types: Option<Vec<OAuthGrantType>>,
    }
}

impl Checked for InterfaceDescription {
    fn check(&self) -> Result<(), Violation> {
        let addresses = [
            ("ipv4Addr", &self.ipv4_addr),
            ("ipv6Addr", &self.ipv6_addr),
            ("fqdn", &self.fqdn),
        ];
        checked::exactly_one(&addresses.map(|(member, address)| (member, address.is_some())))?;
        for (member, address) in addresses {
            checked::bounded(member, address)?;
        }
        // Choice: a name of one label, or with `_`, is taken: gateways in private networks have such names.
        if let Some(name) = &self.fqdn
            && !is_host_name(name)
        {
            return Err(Violation::new("/fqdn", "`fqdn` is a host name"));
        }
        checked::bounded("apiPrefix", &self.api_prefix)?;
        if let Some(prefix) = &self.api_prefix
            && !prefix.starts_with('/')
        {
            return Err(Violation::new("/apiPrefix", "`apiPrefix` begins with `/`"));
        }
        checked::not_empty("securityMethods", &self.security_methods)?;
        checked::not_empty("grantTypes", &self.grant_types)?;
        InterfaceTerms::of(self).map(drop)
    }
}

/// Whether a text is labels of letters, digits, `-` and `_` between dots (RFC 1123 section 2.1).
fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

object! {
    /// On which AEFs an API is active. No AEF at all means that it is inactive everywhere, so the list may be empty.
    pub struct ApiStatus {
        /// The AEFs.
        pub aef_ids: Vec<AefId>,
    }
}

object! {
    /// Which other provider domains may know of an API (TS 29.222 clause 8.2.4.2.8).
    pub struct ShareableInformation {
        /// Whether the API may be shared at all.
        pub is_shareable: bool,
        /// With which domains; not empty.
        pub capif_prov_doms: Option<Vec<String>>,
    }
}

impl Checked for ShareableInformation {
    fn check(&self) -> Result<(), Violation> {
        checked::not_empty("capifProvDoms", &self.capif_prov_doms)
    }
}

object! {
    /// Which CCFs a publication passed through within one provider domain (TS 29.222 clause 8.2.4.2.9).
    #[derive(Default)]
    pub struct PublishedApiPath {
        /// The CCFs; not empty.
        pub ccf_ids: Option<Vec<String>>,
    }
}

impl Checked for PublishedApiPath {
    fn check(&self) -> Result<(), Violation> {
        checked::not_empty("ccfIds", &self.ccf_ids)
    }
}

object! {
    /// Where an AEF stands (TS 29.222 clause 8.2.4.2.10).
    ///
    /// The first two are types of TS 29.572 with many shapes. They are kept as open objects: this product stores and shows
    /// them, and only compares them whole.
    #[derive(Default)]
    pub struct AefLocation {
        /// A postal address.
        pub civic_addr: Option<OpenObject>,
        /// A place on the map.
        pub geo_area: Option<OpenObject>,
        /// A data centre.
        pub dc_id: Option<String>,
    }
}

impl Checked for AefLocation {
    fn check(&self) -> Result<(), Violation> {
        checked::at_least_one(&[
            ("civicAddr", self.civic_addr.is_some()),
            ("geoArea", self.geo_area.is_some()),
            ("dcId", self.dc_id.is_some()),
        ])?;
        geography::civic_address("civicAddr", self.civic_addr.as_ref())?;
        geography::area("geoArea", self.geo_area.as_ref())
    }
}

object! {
    /// The addresses of the users that are served; at least one of the two.
    #[derive(Default)]
    pub struct IpAddrRange {
        /// IPv4 addresses; not empty.
        pub ue_ipv4_addr_ranges: Option<Vec<Ipv4AddressRange>>,
        /// IPv6 addresses; not empty.
        pub ue_ipv6_addr_ranges: Option<Vec<Ipv6AddressRange>>,
    }
}

impl Checked for IpAddrRange {
    fn check(&self) -> Result<(), Violation> {
        checked::at_least_one(&[
            ("ueIpv4AddrRanges", self.ue_ipv4_addr_ranges.is_some()),
            ("ueIpv6AddrRanges", self.ue_ipv6_addr_ranges.is_some()),
        ])?;
        checked::list("ueIpv4AddrRanges", &self.ue_ipv4_addr_ranges)?;
        checked::list("ueIpv6AddrRanges", &self.ue_ipv6_addr_ranges)
    }
}

open_enumeration! {
    /// A protocol (TS 29.222 clause 8.2.4.3.3).
    pub enum Protocol {
        /// HTTP/1.1.
        Http11 = "HTTP_1_1",
        /// HTTP/2.
        Http2 = "HTTP_2",
        /// Message Queuing Telemetry Transport.
        Mqtt = "MQTT",
        /// WebSocket.
        Websocket = "WEBSOCKET",
    }
}

open_enumeration! {
    /// How parties of an API talk.
    pub enum CommunicationType {
        /// By request and response.
        RequestResponse = "REQUEST_RESPONSE",
        /// By subscription and notification.
        SubscribeNotify = "SUBSCRIBE_NOTIFY",
    }
}

open_enumeration! {
    /// How bodies are written.
    pub enum DataFormat {
        /// JavaScript Object Notation.
        Json = "JSON",
        /// Extensible Markup Language.
        Xml = "XML",
        /// Protocol Buffers, version 3.
        Protobuf3 = "PROTOBUF3",
    }
}

open_enumeration! {
    /// A security method of CAPIF-2/2e (TS 33.122 clause 6.5.2).
    ///
    /// Choice: known methods are recognised in any spelling, since deployed clients write `Oauth`.
    pub enum SecurityMethod ignoring case {
        /// Method 1: TLS with a pre-shared key (TS 33.122 clause 6.5.2.1).
        Psk = "PSK",
        /// Method 2: TLS with certificates on both sides (TS 33.122 clause 6.5.2.2).
        Pki = "PKI",
        /// Method 3: TLS with an access token (TS 33.122 clause 6.5.2.3).
        Oauth = "OAUTH",
    }
}

open_enumeration! {
    /// An HTTP method.
    pub enum Operation {
        /// GET.
        Get = "GET",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// PATCH.
        Patch = "PATCH",
        /// DELETE.
        Delete = "DELETE",
    }
}

#[cfg(test)]
mod tests;

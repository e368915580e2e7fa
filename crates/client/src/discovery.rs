//! Discovery of service APIs (TS 29.222 clause 5.2.2.2), and where a discovered API is reached.

use capif_procedures::aefpsk;
use capif_spec::{
    common::{AefId, ApiInvokerId, ServiceApiId},
    discover_service::DiscoveredApis,
    publish_service::{
        AefProfile, CommunicationType, DataFormat, InterfaceDescription, Protocol,
        ServiceApiDescription,
    },
};

use crate::{
    address::Address,
    ccf::{Call, Ccf, encoded},
    error::Error,
};

const HTTPS_PORT: u16 = 443;

/// What to look for. Everything that is given must hold; nothing given means every API that the invoker may see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiscoveryQuery {
    /// The API's name.
    pub api_name: Option<String>,
    /// The API's major version as it stands in the URI, `v1` for example.
    pub api_version: Option<String>,
    /// How the API communicates.
    pub comm_type: Option<CommunicationType>,
    /// The protocol.
    pub protocol: Option<Protocol>,
    /// Where the API is exposed.
    pub aef_id: Option<AefId>,
    /// The format of its data.
    pub data_format: Option<DataFormat>,
    /// The category that the API belongs to.
    pub api_cat: Option<String>,
}

impl DiscoveryQuery {
    /// Looks for an API by its name.
    pub fn named(api_name: impl Into<String>) -> Self {
        Self {
            api_name: Some(api_name.into()),
            ..Self::default()
        }
    }

    fn path(&self, invoker: &ApiInvokerId) -> String {
        let Self {
            api_name,
            api_version,
            comm_type,
            protocol,
            aef_id,
            data_format,
            api_cat,
        } = self;
        let parameters = [
            ("api-name", api_name.as_deref()),
            ("api-version", api_version.as_deref()),
            (
                "comm-type",
                comm_type.as_ref().map(CommunicationType::as_str),
            ),
            ("protocol", protocol.as_ref().map(Protocol::as_str)),
            ("aef-id", aef_id.as_ref().map(AefId::as_str)),
            ("data-format", data_format.as_ref().map(DataFormat::as_str)),
            ("api-cat", api_cat.as_deref()),
        ];
        let mut path = format!(
            "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
            encoded(invoker.as_str())
        );
        for (name, value) in parameters {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        path
    }
}

/// Asks which APIs there are for this invoker.
pub(crate) async fn discover(
    ccf: &Ccf,
    invoker: &ApiInvokerId,
    query: &DiscoveryQuery,
) -> Result<Vec<ServiceApiDescription>, Error> {
    let answer = ccf
        .send(Call::get("the discovery", query.path(invoker)))
        .await?;
    let found: DiscoveredApis = answer.json()?;
    Ok(found.service_api_descriptions.unwrap_or_default())
}

/// Where an API is called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Route {
    pub(crate) api_id: Option<ServiceApiId>,
    pub(crate) aef_id: AefId,
    pub(crate) address: Address,
    pub(crate) prefix: String,
    /// The interface as keys of Method 1 are derived for it; `None` where it has no form that leaves no doubt.
    pub(crate) interface: Option<String>,
}

/// The first place where an API of this name can be reached over HTTPS. One that serves the version in the path (the second
/// segment, TS 29.122 clause 5.2.4) comes before one that does not say so.
pub(crate) fn route(apis: &[ServiceApiDescription], name: &str, path: &str) -> Option<Route> {
    let version = path.split(['/', '?']).nth(2).unwrap_or_default();
    let mut fallback = None;
    for api in apis.iter().filter(|api| api.api_name == name) {
        for profile in api.aef_profiles.iter().flatten() {
            let active = api
                .api_status
                .as_ref()
                .is_none_or(|status| status.aef_ids.contains(&profile.aef_id));
            let Some(endpoint) = endpoint(profile).filter(|_| active) else {
                continue;
            };
            let route = Route {
                api_id: api.api_id.clone(),
                aef_id: profile.aef_id.clone(),
                address: endpoint.address,
                prefix: endpoint.prefix,
                interface: endpoint.interface,
            };
            if profile
                .versions
                .iter()
                .any(|served| served.api_version == version)
            {
                return Some(route);
            }
            fallback.get_or_insert(route);
        }
    }
    fallback
}

/// The interfaces of an AEF for one API, or for all, as keys of Method 1 are derived for them.
pub(crate) fn interfaces(
    apis: &[ServiceApiDescription],
    aef_id: &AefId,
    api_id: Option<&ServiceApiId>,
) -> Vec<String> {
    let mut all: Vec<String> = apis
        .iter()
        .filter(|api| api_id.is_none_or(|id| api.api_id.as_ref() == Some(id)))
        .flat_map(|api| api.aef_profiles.iter().flatten())
        .filter(|profile| profile.aef_id == *aef_id)
        .flat_map(|profile| profile.interface_descriptions.iter().flatten())
        .filter_map(aefpsk::interface_information)
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

struct Endpoint {
    address: Address,
    prefix: String,
    interface: Option<String>,
}

fn endpoint(profile: &AefProfile) -> Option<Endpoint> {
    let http = match &profile.protocol {
        None | Some(Protocol::Http11 | Protocol::Http2) => true,
        Some(_) => false,
    };
    if !http {
        return None;
    }
    if let Some(domain) = &profile.domain_name {
        let address = Address::with_default_port(domain, HTTPS_PORT).ok()?;
        return Some(Endpoint {
            address,
            prefix: String::new(),
            interface: None,
        });
    }
    profile
        .interface_descriptions
        .iter()
        .flatten()
        .find_map(interface)
}

fn interface(interface: &InterfaceDescription) -> Option<Endpoint> {
    let port = interface.port.map_or(HTTPS_PORT, |port| port.0);
    let address = if let Some(name) = &interface.fqdn {
        format!("{name}:{port}").parse()
    } else if let Some(address) = &interface.ipv4_addr {
        format!("{address}:{port}").parse()
    } else {
        Address::v6(interface.ipv6_addr.as_deref()?, port)
    };
    let prefix = interface.api_prefix.as_deref().unwrap_or_default();
    let prefix = prefix.trim_end_matches('/');
    let usable = prefix.is_empty() || prefix.starts_with('/');
    usable.then_some(())?;
    Some(Endpoint {
        address: address.ok()?,
        prefix: prefix.to_owned(),
        interface: aefpsk::interface_information(interface),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn apis(profiles: Value) -> Vec<ServiceApiDescription> {
        let api = json!({ "apiName": "weather", "apiId": "api-1", "aefProfiles": profiles });
        vec![serde_json::from_value(api).unwrap()]
    }

    fn profile(members: Value) -> Value {
        let mut profile = json!({ "aefId": "aef-1", "versions": [{ "apiVersion": "v1" }] });
        profile
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        profile
    }

    fn place(members: Value) -> Option<(String, String)> {
        let apis = apis(json!([profile(members)]));
        route(&apis, "weather", "/weather/v1/today")
            .map(|route| (route.address.to_string(), route.prefix))
    }

    #[test]
    fn every_parameter_is_encoded() {
        let invoker = ApiInvokerId::from("in&1");
        assert_eq!(
            DiscoveryQuery::default().path(&invoker),
            "/service-apis/v1/allServiceAPIs?api-invoker-id=in%261"
        );
        let query = DiscoveryQuery {
            api_name: Some("a b&c=d#e/f?".to_owned()),
            api_version: Some("v1".to_owned()),
            comm_type: Some(CommunicationType::RequestResponse),
            protocol: Some(Protocol::Http11),
            aef_id: Some(AefId::from("aef+1")),
            data_format: Some(DataFormat::Json),
            api_cat: Some("météo".to_owned()),
        };
        assert_eq!(
            query.path(&invoker),
            "/service-apis/v1/allServiceAPIs?api-invoker-id=in%261&api-name=a%20b%26c%3Dd%23e%2Ff%3F&api-version=v1\
             &comm-type=REQUEST_RESPONSE&protocol=HTTP_1_1&aef-id=aef%2B1&data-format=JSON&api-cat=m%C3%A9t%C3%A9o"
        );
    }

    #[test]
    fn an_api_is_reached_where_its_profile_says() {
        let interface = |members: Value| json!({ "interfaceDescriptions": [members] });
        for (members, address, prefix) in [
            (json!({ "domainName": "gw.example" }), "gw.example:443", ""),
            (
                json!({ "domainName": "gw.example:9443" }),
                "gw.example:9443",
                "",
            ),
            (
                interface(json!({ "ipv4Addr": "192.0.2.1" })),
                "192.0.2.1:443",
                "",
            ),
            (
                interface(json!({ "ipv4Addr": "192.0.2.1", "port": 9443 })),
                "192.0.2.1:9443",
                "",
            ),
            (
                interface(json!({ "ipv4Addr": "gw.example", "port": 9443 })),
                "gw.example:9443",
                "",
            ),
            (
                interface(json!({ "ipv6Addr": "2001:db8::1", "port": 1 })),
                "[2001:db8::1]:1",
                "",
            ),
            (
                interface(json!({ "fqdn": "GW.example" })),
                "gw.example:443",
                "",
            ),
            (
                interface(json!({ "fqdn": "gw.example", "apiPrefix": "/nef/" })),
                "gw.example:443",
                "/nef",
            ),
            (
                interface(json!({ "fqdn": "gw.example", "apiPrefix": "/" })),
                "gw.example:443",
                "",
            ),
        ] {
            let text = members.to_string();
            let expected = Some((address.to_owned(), prefix.to_owned()));
            assert_eq!(place(members), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_passed_over() {
        let interface = |members: Value| json!({ "interfaceDescriptions": [members] });
        for members in [
            json!({}),
            json!({ "domainName": "gw.example/evil" }),
            json!({ "domainName": "user@gw.example" }),
            json!({ "domainName": "" }),
            json!({ "domainName": "gw.example", "protocol": "MQTT" }),
            interface(json!({})),
            interface(json!({ "fqdn": "gw.example", "port": 0 })),
            interface(json!({ "fqdn": "gw.example:1", "port": 443 })),
            interface(json!({ "fqdn": "gw.example", "apiPrefix": "@evil.example" })),
            interface(json!({ "ipv6Addr": "::1]:1/[::1" })),
        ] {
            let text = members.to_string();
            assert_eq!(place(members), None, "{text}");
        }
        let two = json!({ "interfaceDescriptions": [{ "fqdn": "bad host" }, { "fqdn": "good.example" }] });
        assert_eq!(place(two).unwrap().0, "good.example:443");
    }

    #[test]
    fn the_version_in_the_path_chooses_the_profile() {
        let of = |aef: &str, version: &str| {
            profile(json!({
                "aefId": aef, "versions": [{ "apiVersion": version }], "domainName": format!("{aef}.example"),
            }))
        };
        let apis = apis(json!([of("one", "v1"), of("two", "v2")]));
        let aef = |path: &str| route(&apis, "weather", path).unwrap().aef_id.to_string();
        assert_eq!(aef("/weather/v1/today"), "one");
        assert_eq!(aef("/weather/v2"), "two");
        assert_eq!(aef("/weather/v2?x=/v1"), "two");
        assert_eq!(aef("/weather/v3/today"), "one");
        assert_eq!(aef("/"), "one");
        assert_eq!(route(&apis, "traffic", "/traffic/v1"), None);
    }

    #[test]
    fn an_api_that_is_not_active_is_passed_over() {
        let mut apis = apis(json!([
            profile(json!({ "aefId": "one", "domainName": "one.example" })),
            profile(json!({ "aefId": "two", "domainName": "two.example" })),
        ]));
        let status = |aefs: Value| serde_json::from_value(json!({ "aefIds": aefs })).unwrap();
        apis[0].api_status = Some(status(json!(["two"])));
        assert_eq!(route(&apis, "weather", "/").unwrap().aef_id.as_str(), "two");
        apis[0].api_status = Some(status(json!([])));
        assert_eq!(route(&apis, "weather", "/"), None);
    }
}

//! What hides the topology behind published APIs, as the operator decided (TS 23.222 clauses 8.13 and 8.24).

use std::net::IpAddr;

use capif_spec::{
    common::{AefId, ApiProviderDomainId, DateTime, ServiceApiId},
    publish_service::{InterfaceDescription, SecurityMethod},
};
use serde::{Deserialize, Serialize};

use crate::changes::{Kind, Record};

/// That an AEF stands in the place of those that expose some APIs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopologyHiding {
    /// Behind which APIs the topology is hidden.
    pub hidden: Hidden,
    /// The AEF that takes their calls.
    pub aef_id: AefId,
    /// Where it takes them.
    pub entry: Entry,
    /// To which of the AEFs behind it go calls from where; to any of them from anywhere if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// When it was decided.
    pub since: DateTime,
    /// Whether the AEF is registered no more: what it hid stays hidden, and is not shown at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

impl TopologyHiding {
    /// The id of the rule for one API.
    #[must_use]
    pub fn of_api(id: &ServiceApiId) -> String {
        format!("api/{id}")
    }

    /// The id of the rule for the APIs of a name.
    #[must_use]
    pub fn of_name(domain: &ApiProviderDomainId, name: &str) -> String {
        format!("name/{domain}/{name}")
    }
}

impl Record for TopologyHiding {
    const KIND: Kind = Kind::TopologyHiding;
    fn record_id(&self) -> String {
        match &self.hidden {
            Hidden::Api(id) => Self::of_api(id),
            Hidden::Name { domain, name } => Self::of_name(domain, name),
        }
    }
}

/// Behind which APIs a topology is hidden.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hidden {
    /// Behind one that is published.
    Api(ServiceApiId),
    /// Behind what a provider domain publishes under a name, whenever it does.
    Name {
        /// The domain.
        domain: ApiProviderDomainId,
        /// The name.
        name: String,
    },
}

/// Where an AEF takes calls: a domain name or interfaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// A domain name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_name: Option<String>,
    /// Interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceDescription>,
    /// The security methods that it takes; those of the AEFs behind it if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_methods: Vec<SecurityMethod>,
}

/// That calls from some addresses go to one of the AEFs behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// From which addresses.
    pub from: Network,
    /// To which AEF.
    pub aef_id: AefId,
}

/// A network, as an address and the number of its leading bits that count (RFC 4632 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Its first and its last address.
    #[must_use]
    pub fn ends(&self) -> (IpAddr, IpAddr) {
        match self.address {
            IpAddr::V4(address) => {
                let rest = u32::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
                let last = u32::from(address) | rest;
                (self.address, IpAddr::V4(last.into()))
            }
            IpAddr::V6(address) => {
                let rest = u128::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
                let last = u128::from(address) | rest;
                (self.address, IpAddr::V6(last.into()))
            }
        }
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("`{text}` is no network: write one like 192.0.2.0/24 or 2001:db8::/32");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => bits_max,
            Some(bits) if !bits.starts_with('+') => bits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if bits > bits_max {
            return Err(wrong());
        }
        let first = match address {
            IpAddr::V4(address) => {
                let rest = u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
                IpAddr::V4((u32::from(address) & !rest).into())
            }
            IpAddr::V6(address) => {
                let rest = u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
                IpAddr::V6((u128::from(address) & !rest).into())
            }
        };
        if first != address {
            return Err(format!(
                "`{text}` does not begin with its network: write {first}/{bits}"
            ));
        }
        Ok(Self { address, bits })
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_have_ends() {
        let ends = |text: &str| {
            let (first, last) = text.parse::<Network>().unwrap().ends();
            (first.to_string(), last.to_string())
        };
        let pair = |first: &str, last: &str| (first.to_owned(), last.to_owned());
        assert_eq!(ends("192.0.2.0/24"), pair("192.0.2.0", "192.0.2.255"));
        assert_eq!(ends("0.0.0.0/0"), pair("0.0.0.0", "255.255.255.255"));
        assert_eq!(ends("192.0.2.7"), pair("192.0.2.7", "192.0.2.7"));
        assert_eq!(
            ends("2001:db8::/32"),
            pair("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")
        );
        assert_eq!(ends("::/0").0, "::");
        for text in [
            "",
            "/",
            "192.0.2.0/33",
            "192.0.2.1/24",
            "2001:db8::1/32",
            "::/129",
            "a.example/8",
            "192.0.2.0/-1",
            "192.0.2.0/+8",
            "192.0.2.0/",
            "192.0.2.0/24/8",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let network: Network = "192.0.2.0/24".parse().unwrap();
        let written = serde_json::to_string(&network).unwrap();
        assert_eq!(written, "\"192.0.2.0/24\"");
        assert_eq!(serde_json::from_str::<Network>(&written).unwrap(), network);
    }
}

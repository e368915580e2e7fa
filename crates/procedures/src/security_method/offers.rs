//! Where and how a published API can be called, interface by interface.

use std::borrow::Cow;

use capif_spec::{
    publish_service::{AefProfile, InterfaceDescription, SecurityMethod},
    security::{OAuthGrantType, SecurityInformation},
    vendor::InterfaceTerms,
};

use crate::state::ServiceApi;

/// One interface of an AEF profile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) profile: &'a AefProfile,
    /// None for a profile that says where it is by a domain name, or not at all.
    interface: Option<&'a InterfaceDescription>,
}

impl<'a> Offer<'a> {
    /// The methods that it accepts. What an interface says wins over the profile (D-34).
    pub(crate) fn methods(&self) -> &'a [SecurityMethod] {
        match self
            .interface
            .and_then(|interface| interface.security_methods.as_deref())
        {
            Some(methods) if !methods.is_empty() => methods,
            _ => self.profile.security_methods.as_deref().unwrap_or_default(),
        }
    }

    /// Whether it can be called by a method here. Who takes tokens only by way of a resource owner cannot: no such token is issued,
    /// and one for the invoker alone would pass the owner by (TS 33.122 clause 6.5.3).
    pub(crate) fn accepts(&self, method: &SecurityMethod) -> bool {
        let own = self.interface.and_then(|it| it.grant_types.as_ref());
        let ways = own.or(self.profile.grant_types.as_ref());
        self.methods().contains(method)
            && (*method != SecurityMethod::Oauth
                || ways.is_none_or(|ways| ways.contains(&OAuthGrantType::ClientCredentials)))
    }

    /// Its address and nothing else. A domain name is an interface on the default port.
    pub(crate) fn address(&self) -> InterfaceDescription {
        let published = match self.interface {
            Some(interface) => Cow::Borrowed(interface),
            None => Cow::Owned(InterfaceDescription {
                fqdn: self.profile.domain_name.clone(),
                ..InterfaceDescription::default()
            }),
        };
        InterfaceDescription {
            ipv4_addr: published.ipv4_addr.clone(),
            ipv6_addr: published.ipv6_addr.clone(),
            fqdn: published.fqdn.clone(),
            port: published.port,
            api_prefix: published.api_prefix.clone(),
            ..InterfaceDescription::default()
        }
    }

    /// What its publisher says beyond the schema; none if that cannot be read, which publication refuses since.
    pub(crate) fn terms(&self) -> Option<InterfaceTerms> {
        self.interface
            .map_or(Some(InterfaceTerms::default()), |interface| {
                InterfaceTerms::of(interface).ok()
            })
    }

    /// Whether it takes access tokens over mutual TLS alone (D-29).
    pub(crate) fn wants_certificate(&self) -> bool {
        self.terms().is_some_and(|terms| terms.oauth_mutual_tls)
    }

    fn is_at(&self, wanted: &InterfaceDescription) -> bool {
        match self.interface {
            Some(interface) => same_address(interface, wanted),
            None => self.profile.domain_name.is_some() && same_address(&self.address(), wanted),
        }
    }
}

/// Every method that some interface of a profile accepts.
#[must_use]
pub fn methods_of(profile: &AefProfile) -> Vec<SecurityMethod> {
    let mut all = Vec::new();
    for method in offers_of(profile).flat_map(|offer| offer.methods()) {
        if !all.contains(method) {
            all.push(method.clone());
        }
    }
    all
}

/// The interfaces of each profile of an API.
pub(crate) fn offers(api: &ServiceApi) -> impl Iterator<Item = Offer<'_>> {
    api.description
        .aef_profiles
        .iter()
        .flatten()
        .flat_map(offers_of)
}

/// The interfaces of a profile; the profile alone when it lists none.
fn offers_of(profile: &AefProfile) -> impl Iterator<Item = Offer<'_>> {
    let interfaces = profile
        .interface_descriptions
        .as_deref()
        .unwrap_or_default();
    let alone = interfaces.is_empty().then_some(Offer {
        profile,
        interface: None,
    });
    let listed = interfaces.iter().map(move |interface| Offer {
        profile,
        interface: Some(interface),
    });
    alone.into_iter().chain(listed)
}

/// Whether an entry is about an interface: about any if it names an AEF, about the one at the address that it names otherwise.
pub(crate) fn is_about(information: &SecurityInformation, offer: &Offer<'_>) -> bool {
    information
        .interface_details
        .as_ref()
        .is_none_or(|wanted| offer.is_at(wanted))
}

/// Whether two entries are about the same interface, or both about all of an AEF.
pub(crate) fn same_interface(one: &SecurityInformation, other: &SecurityInformation) -> bool {
    match (&one.interface_details, &other.interface_details) {
        (None, None) => true,
        (Some(one), Some(other)) => same_address(one, other),
        _ => false,
    }
}

fn same_address(offered: &InterfaceDescription, wanted: &InterfaceDescription) -> bool {
    offered.ipv4_addr == wanted.ipv4_addr
        && offered.ipv6_addr == wanted.ipv6_addr
        && offered.fqdn == wanted.fqdn
        && offered.port == wanted.port
        && offered.api_prefix == wanted.api_prefix
}

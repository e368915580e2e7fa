//! What is published of this gateway: its interface with its security methods (TS 23.222 clause 8.3). What is published is what
//! counts, so that the publisher can change the methods while the gateway runs (TS 33.122 clause 6.7).

use std::sync::Arc;

use arc_swap::ArcSwap;
use capif_client::{Keystore, Provider};
use capif_procedures::aefpsk;
use capif_spec::{
    common::{AefId, ServiceApiId},
    publish_service::{
        AefProfile, CommunicationType, DataFormat, InterfaceDescription, Protocol, Resource,
        SecurityMethod, ServiceApiDescription, Version,
    },
    vendor::{self, InterfaceTerms, PskTls},
};
use serde_json::json;

use crate::{
    config::{ExposedApi, GatewayConfig, METHODS},
    gateway::GatewayError,
};

/// On what terms the API can be called at this interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Terms {
    /// The security methods, in the order of the publication.
    pub(crate) methods: Vec<SecurityMethod>,
    /// The version of TLS in which keys are used.
    pub(crate) psk_tls: PskTls,
    /// Whether a token counts only beside a certificate.
    pub(crate) oauth_mutual_tls: bool,
}

/// Whether two descriptions are of one interface: what else they say of it does not matter.
pub(crate) fn same_address(one: &InterfaceDescription, other: &InterfaceDescription) -> bool {
    one.ipv4_addr == other.ipv4_addr
        && one.ipv6_addr == other.ipv6_addr
        && one.fqdn == other.fqdn
        && one.port == other.port
        && one.api_prefix == other.api_prefix
}

impl Terms {
    /// What a description says of an interface. What the interface says itself wins over its profile (D-34).
    pub(crate) fn of(profile: &AefProfile, interface: &InterfaceDescription) -> Self {
        let methods = interface.security_methods.as_ref();
        let methods = methods.or(profile.security_methods.as_ref());
        let terms = InterfaceTerms::of(interface).unwrap_or_else(|violation| {
            tracing::error!(%violation, "the published interface says what is not understood; a certificate is asked for beside a token");
            InterfaceTerms {
                oauth_mutual_tls: true,
                ..InterfaceTerms::default()
            }
        });
        Self {
            methods: methods.cloned().unwrap_or_default(),
            psk_tls: terms.psk_tls,
            oauth_mutual_tls: terms.oauth_mutual_tls,
        }
    }

    /// The terms of this interface in a description; none if it is not in it.
    fn published(
        api: &ServiceApiDescription,
        aef_id: &AefId,
        own: &InterfaceDescription,
    ) -> Option<Self> {
        let profile = profile_of(api, aef_id)?;
        let mut interfaces = profile.interface_descriptions.iter().flatten();
        let interface = interfaces.find(|interface| same_address(interface, own))?;
        Some(Self::of(profile, interface))
    }

    /// The interface with these terms; its methods stand in the profile, or here if they are other ones.
    fn describe(
        &self,
        own: &InterfaceDescription,
        profile: &[SecurityMethod],
    ) -> InterfaceDescription {
        let mut interface = own.clone();
        if self.methods != profile {
            interface.security_methods = Some(self.methods.clone());
        }
        let mut member = json!({ "pskTls": self.psk_tls });
        if self.oauth_mutual_tls
            && let Some(members) = member.as_object_mut()
        {
            members.insert("oauthMutualTls".to_owned(), true.into());
        }
        interface.extra.insert(vendor::MEMBER.to_owned(), member);
        interface
    }
}

/// What an API's description says of an AEF.
pub(crate) fn profile_of<'a>(
    api: &'a ServiceApiDescription,
    aef_id: &AefId,
) -> Option<&'a AefProfile> {
    let mut profiles = api.aef_profiles.iter().flatten();
    profiles.find(|profile| profile.aef_id == *aef_id)
}

/// The publication that this gateway stands in.
pub(crate) struct Publication {
    provider: Arc<Provider>,
    api_id: ServiceApiId,
    interface: InterfaceDescription,
    /// The version in which the listener takes keys, until it ends.
    psk_tls: PskTls,
    terms: ArcSwap<Terms>,
    /// One look at a time, so that an older answer never replaces a newer one.
    looking: tokio::sync::Mutex<()>,
}

impl Publication {
    /// Publishes the API at this interface: alone, or beside the interfaces that are published already. What is not told is
    /// kept as it was published before.
    pub(crate) async fn make(
        config: &GatewayConfig,
        provider: Arc<Provider>,
        interface: InterfaceDescription,
    ) -> Result<Self, GatewayError> {
        // Two processes that join at the same time do so one after the other.
        let keystore = Keystore::open(&config.dir)?;
        let locked = keystore.lock().await?;
        let aef_id = provider.aef_id();
        let published = provider.apis().await?;
        let before = published
            .into_iter()
            .find(|api| api.api_name == config.api.name);
        let terms = wanted(config, before.as_ref(), aef_id, &interface);
        if terms.methods.contains(&SecurityMethod::Psk)
            && aefpsk::interface_information(&interface).is_none()
        {
            return Err(GatewayError::Config(
                "no key can be derived for this address, since it can be written in more than one way: use --address with a plain host name, or leave PSK out".to_owned(),
            ));
        }
        let description = match before {
            Some(before) if config.join && profile_of(&before, aef_id).is_some() => {
                joined(before, &terms, aef_id, &interface)
            }
            _ => alone(&config.api, &terms, aef_id, &interface),
        };
        let published = provider.publish(&description).await?;
        drop(locked);
        let api_id = published.api_id.ok_or_else(|| {
            GatewayError::Config("the CAPIF core function gave the API no id".to_owned())
        })?;
        Ok(Self {
            provider,
            api_id,
            interface,
            psk_tls: terms.psk_tls,
            terms: ArcSwap::from_pointee(terms),
            looking: tokio::sync::Mutex::default(),
        })
    }

    pub(crate) fn api_id(&self) -> &ServiceApiId {
        &self.api_id
    }

    /// The terms that count now.
    pub(crate) fn terms(&self) -> Arc<Terms> {
        self.terms.load_full()
    }

    /// Takes over what is published now. Says whether anything is another than before.
    pub(crate) async fn look(&self) -> Result<bool, capif_client::Error> {
        let _one_at_a_time = self.looking.lock().await;
        let api = self.provider.api(&self.api_id).await?;
        let terms = api
            .and_then(|api| Terms::published(&api, self.provider.aef_id(), &self.interface))
            .unwrap_or_default();
        let before = self.terms.load_full();
        if *before == terms {
            return Ok(false);
        }
        if terms.methods.is_empty() {
            tracing::error!(
                target: "capif::alarm",
                alarm = "not-published",
                "this gateway's interface is published no more: no call is let through"
            );
        } else if terms.psk_tls != self.psk_tls {
            tracing::error!(
                published = %terms.psk_tls,
                served = %self.psk_tls,
                "the interface is published with another version of TLS for keys than it serves: restart the gateway"
            );
        }
        let methods: Vec<&str> = terms.methods.iter().map(SecurityMethod::as_str).collect();
        tracing::info!(
            methods = methods.join(","),
            oauth_mutual_tls = terms.oauth_mutual_tls,
            "the published terms are taken over"
        );
        self.terms.store(Arc::new(terms));
        Ok(true)
    }
}

/// The terms that were told; what was not told, as it is published of this interface, or else of the AEF's.
fn wanted(
    config: &GatewayConfig,
    before: Option<&ServiceApiDescription>,
    aef_id: &AefId,
    own: &InterfaceDescription,
) -> Terms {
    let before = before.and_then(|api| {
        Terms::published(api, aef_id, own).or_else(|| {
            let profile = profile_of(api, aef_id)?;
            let any = profile.interface_descriptions.iter().flatten().next()?;
            let mut terms = Terms::of(profile, any);
            // Another interface's own methods are not the AEF's.
            terms.methods = profile.security_methods.clone().unwrap_or(terms.methods);
            Some(terms)
        })
    });
    let before = before.unwrap_or_else(|| {
        let mut methods = METHODS.to_vec();
        if aefpsk::interface_information(own).is_none() {
            tracing::warn!("no key can be derived for this address: PSK is not published");
            methods.retain(|method| *method != SecurityMethod::Psk);
        }
        Terms {
            methods,
            ..Terms::default()
        }
    });
    Terms {
        methods: if config.api.methods.is_empty() {
            before.methods
        } else {
            config.api.methods.clone()
        },
        psk_tls: config.psk_tls.unwrap_or(before.psk_tls),
        oauth_mutual_tls: config.oauth_mutual_tls.unwrap_or(before.oauth_mutual_tls),
    }
}

/// The description with this interface among those of its AEF.
fn joined(
    mut api: ServiceApiDescription,
    terms: &Terms,
    aef_id: &AefId,
    own: &InterfaceDescription,
) -> ServiceApiDescription {
    for profile in api.aef_profiles.iter_mut().flatten() {
        if profile.aef_id == *aef_id {
            let common = profile.security_methods.clone().unwrap_or_default();
            let interfaces = profile.interface_descriptions.get_or_insert_default();
            interfaces.retain(|interface| !same_address(interface, own));
            interfaces.push(terms.describe(own, &common));
            profile.domain_name = None;
        }
    }
    api
}

/// The description with this interface alone.
fn alone(
    api: &ExposedApi,
    terms: &Terms,
    aef_id: &AefId,
    own: &InterfaceDescription,
) -> ServiceApiDescription {
    let version = Version {
        api_version: api.version.clone(),
        expiry: None,
        resources: Some(vec![Resource {
            resource_name: "all".to_owned(),
            comm_type: CommunicationType::RequestResponse,
            uri: format!("/{}/{}", api.name, api.version),
            cust_op_name: None,
            cust_operations: None,
            operations: None,
            description: None,
            extra: Default::default(),
        }]),
        cust_operations: None,
        extra: Default::default(),
    };
    let profile = AefProfile {
        aef_id: aef_id.clone(),
        versions: vec![version],
        protocol: Some(Protocol::Http11),
        data_format: Some(DataFormat::Json),
        security_methods: Some(terms.methods.clone()),
        grant_types: None,
        domain_name: None,
        interface_descriptions: Some(vec![terms.describe(own, &terms.methods)]),
        aef_location: None,
        service_kpis: None,
        ue_ip_range: None,
        extra: Default::default(),
    };
    ServiceApiDescription {
        aef_profiles: Some(vec![profile]),
        ..ServiceApiDescription::named(api.name.as_str())
    }
}

#[cfg(test)]
mod tests;

//! A change of the security methods, as the publisher makes it (TS 33.122 clause 6.7).

use capif_client::Provider;
use capif_procedures::aefpsk;
use capif_spec::publish_service::SecurityMethod;

use crate::{
    gateway::GatewayError,
    publication::{Terms, profile_of},
};

/// Publishes other security methods for everything that an AEF exposes of an API, and gives them back (TS 33.122 clause 6.7). No
/// methods: only says which are published.
///
/// # Errors
/// When the API is not published, and what the core function refuses.
pub async fn change_methods(
    provider: &Provider,
    api_name: &str,
    methods: Option<&[SecurityMethod]>,
) -> Result<Vec<PublishedMethods>, GatewayError> {
    let aef_id = provider.aef_id();
    let mut api = provider
        .apis()
        .await?
        .into_iter()
        .find(|api| api.api_name == api_name && profile_of(api, aef_id).is_some())
        .ok_or_else(|| GatewayError::NotPublished(api_name.to_owned()))?;
    if let (Some(methods), Some(id)) = (methods, api.api_id.clone()) {
        for profile in api.aef_profiles.iter_mut().flatten() {
            if profile.aef_id == *aef_id {
                profile.security_methods = Some(methods.to_vec());
                for interface in profile.interface_descriptions.iter_mut().flatten() {
                    interface.security_methods = None;
                }
            }
        }
        api = provider.update_api(&id, &api).await?;
    }
    let profile = profile_of(&api, aef_id);
    let interfaces = profile.into_iter().flat_map(|profile| {
        let interfaces = profile.interface_descriptions.iter().flatten();
        interfaces.map(move |interface| PublishedMethods {
            interface: aefpsk::interface_information(interface).unwrap_or_default(),
            methods: Terms::of(profile, interface).methods,
        })
    });
    Ok(interfaces.collect())
}

/// The security methods that are published for one interface.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedMethods {
    /// Its address as a URI.
    pub interface: String,
    /// The methods.
    pub methods: Vec<SecurityMethod>,
}

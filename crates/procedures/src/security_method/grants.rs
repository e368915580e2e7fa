//! What a security context is worth as things stand: which APIs, where, by which method.

use capif_spec::publish_service::SecurityMethod;

use super::{
    offers::{Offer, is_about, offers},
    policy::Policy,
};
use crate::{
    aefpsk,
    state::{Invoker, SecurityContext, SecurityEntry, ServiceApi},
};

/// Which of an invoker's APIs at which AEF go by which method, as things stand now: derived at each use, so that a
/// withdrawn API is out of every later token and answer (P-26), and so is one whose AEF no longer takes the method, or never
/// did because it was published after the negotiation (TS 33.122 clause 6.7), or one whose method the operator does not allow.
pub fn granted<'a>(
    invoker: &'a Invoker,
    context: &'a SecurityContext,
    apis: impl Iterator<Item = &'a ServiceApi> + Clone,
    policy: &'a Policy,
) -> impl Iterator<Item = Grant<'a>> {
    context
        .entries
        .iter()
        .flat_map(move |entry| granted_by(entry, invoker, apis.clone(), policy))
}

/// The part of [`granted`] that one entry brings.
pub fn granted_by<'a>(
    entry: &'a SecurityEntry,
    invoker: &'a Invoker,
    apis: impl Iterator<Item = &'a ServiceApi>,
    policy: &'a Policy,
) -> impl Iterator<Item = Grant<'a>> {
    apis.filter_map(move |api| {
        let method = entry.information.sel_security_method.as_ref()?;
        (concerns(entry, invoker, api) && takes(api, entry, method, policy)).then_some(Grant {
            entry,
            api,
            method,
        })
    })
}

/// The APIs that an entry is about but whose method has changed since: the invoker has to ask which counts now (TS 33.122
/// clause 6.7). Where the operator allows none at all, there is nothing to ask for.
pub fn outdated<'a>(
    invoker: &'a Invoker,
    entry: &'a SecurityEntry,
    apis: impl Iterator<Item = &'a ServiceApi>,
    policy: &'a Policy,
) -> impl Iterator<Item = &'a ServiceApi> {
    apis.filter(move |api| {
        let method = entry.information.sel_security_method.as_ref();
        concerns(entry, invoker, api)
            && exposures(api, entry).next().is_some()
            && !policy.closes(&api.description.api_name)
            && method.is_some_and(|method| !takes(api, entry, method, policy))
    })
}

/// The APIs that an entry is about, exposed where it says, whatever the method.
pub fn exposed<'a, 'e>(
    entry: &'e SecurityEntry,
    invoker: &'e Invoker,
    apis: impl Iterator<Item = &'a ServiceApi>,
) -> impl Iterator<Item = &'a ServiceApi> {
    apis.filter(move |api| concerns(entry, invoker, api) && exposures(api, entry).next().is_some())
}

/// One API at one AEF that an invoker may call, and how.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The entry that it comes from.
    pub entry: &'a SecurityEntry,
    /// The API.
    pub api: &'a ServiceApi,
    /// The method that counts.
    pub method: &'a SecurityMethod,
}

impl Grant<'_> {
    /// Whether some interface there takes access tokens over mutual TLS alone (D-29).
    #[must_use]
    pub fn wants_certificate(&self) -> bool {
        exposures(self.api, self.entry).any(|offer| offer.wants_certificate())
    }
}

/// Whether an entry is about an API that the invoker may reach and was not shut out of (TS 23.222 clause 8.23).
fn concerns(entry: &SecurityEntry, invoker: &Invoker, api: &ServiceApi) -> bool {
    entry.api_id.as_ref().is_none_or(|id| *id == api.id)
        && invoker.reach.includes(api)
        && !entry.revoked.contains(&api.id)
        && !invoker.bars.hold(&api.id)
}

/// Whether an API is exposed where an entry says, and takes a method everywhere there, as the operator allows. By Method 1, where
/// it says is where its key is for: an interface that moved or came later needs another one (P-27).
fn takes(
    api: &ServiceApi,
    entry: &SecurityEntry,
    method: &SecurityMethod,
    policy: &Policy,
) -> bool {
    let mut offers = exposures(api, entry)
        .filter(|offer| has_key(entry, offer))
        .peekable();
    policy.allows(&api.description.api_name, method)
        && offers.peek().is_some()
        && offers.all(|offer| offer.accepts(method))
}

/// Whether the key of an entry, if it has one, is for an interface and the version of TLS there.
fn has_key(entry: &SecurityEntry, offer: &Offer<'_>) -> bool {
    entry.psk.as_ref().is_none_or(|keys| {
        let interface = aefpsk::interface_information(&offer.address());
        let terms = offer.terms();
        interface.as_ref() == Some(&keys.current.interface)
            && terms.is_some_and(|terms| terms.psk_tls == keys.current.tls)
    })
}

/// The interfaces of an API that an entry is about.
fn exposures<'a>(api: &'a ServiceApi, entry: &'a SecurityEntry) -> impl Iterator<Item = Offer<'a>> {
    offers(api)
        .filter(|offer| offer.profile.aef_id == entry.aef_id && is_about(&entry.information, offer))
}

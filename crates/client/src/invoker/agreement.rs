//! What was agreed on with the CAPIF core function, and what it means for one call.

use std::sync::Arc;

use capif_procedures::aefpsk;
use capif_spec::{
    common::{AefId, ServiceApiId},
    publish_service::SecurityMethod,
    security::{SecurityInformation, ServiceSecurity},
    vendor::PskProfile,
};
use capif_transport::PskVersion;
use time::OffsetDateTime;

use super::{
    psk::{AefPsk, Key},
    security::{Wish, profile},
    state::Onboarded,
};
use crate::discovery::Route;

/// What was agreed on for one AEF, or for one interface of it. A key is only named here, never shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// The AEF.
    pub aef_id: Option<AefId>,
    /// The one API there that it is about; all if absent.
    pub api_id: Option<ServiceApiId>,
    /// The method; none if there is none in common, or if it was revoked.
    pub method: Option<SecurityMethod>,
    /// The key, with PSK.
    pub psk: Option<AgreedKey>,
}

/// Which key was agreed on, without the key.
#[derive(Clone, Debug, PartialEq)]
pub struct AgreedKey {
    /// What the key is called in a handshake.
    pub identity: String,
    /// The interface that it is for.
    pub interface: String,
    /// What it was derived from.
    pub profile: PskProfile,
    /// The version of TLS that it is used in.
    pub version: Option<PskVersion>,
    /// When it ends.
    pub ends: OffsetDateTime,
}

/// How one call is made.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) carried: Carried,
    /// The negotiation that it comes from; see [`Held::negotiations`].
    pub(super) negotiation: u64,
    /// The standing that it was chosen under; see [`super::standing::Standing::revision`].
    pub(super) revision: u64,
}

/// A method that this client can carry out.
#[derive(Clone, Debug)]
pub(super) enum Carried {
    /// Method 1 (TS 33.122 clause 6.5.2.1).
    Psk(Arc<Key>),
    /// Method 2 (TS 33.122 clause 6.5.2.2).
    Pki,
    /// Method 3 (TS 33.122 clause 6.5.2.3).
    Oauth,
}

impl Carried {
    /// Whether it is the same method, by whichever key.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// What was agreed on last.
#[derive(Default)]
pub(super) struct Held {
    /// The wishes of this invoker with what the CAPIF core function made of them. Entries that it divided by interface name
    /// their AEF too, since wishes are repeated by AEF.
    pub(super) context: Option<ServiceSecurity>,
    keys: Vec<Arc<Key>>,
    /// How often was negotiated in this folder: by it one tells what is newer, and that another process did it.
    pub(super) negotiations: u64,
    /// The number of renewals before it.
    under: u64,
}

impl Held {
    /// What a folder holds. Keys that are in use already stay in use.
    pub(super) fn kept(state: &Onboarded, before: &Self) -> Self {
        let keys = state.keys.iter().map(|psk| {
            let same = |key: &&Arc<Key>| {
                key.psk.identity == psk.identity
                    && key.psk.interface == psk.interface
                    && key.psk.api_id == psk.api_id
            };
            match before.keys.iter().find(same) {
                Some(key) => Arc::clone(key),
                None => Arc::new(Key::kept(psk.clone())),
            }
        });
        Self {
            context: state.security.clone(),
            keys: keys.collect(),
            negotiations: state.negotiations,
            under: state.keys_under,
        }
    }

    /// What was agreed on just now.
    pub(super) fn fresh(state: &Onboarded) -> Self {
        let keys = state.keys.iter().cloned().map(Key::fresh).map(Arc::new);
        Self {
            context: state.security.clone(),
            keys: keys.collect(),
            negotiations: state.negotiations,
            under: state.keys_under,
        }
    }

    /// The entry for a route: one for its API before one for the whole AEF.
    pub(super) fn entry(&self, route: &Route) -> Option<&SecurityInformation> {
        let entries = &self.context.as_ref()?.security_info;
        let find = |of_api: &dyn Fn(&SecurityInformation) -> bool| {
            entries
                .iter()
                .filter(|entry| entry.aef_id.as_ref() == Some(&route.aef_id) && of_api(entry))
                .find(|entry| is_at(entry, route))
        };
        find(&|entry| entry.api_id.is_some() && entry.api_id == route.api_id)
            .or_else(|| find(&|entry| entry.api_id.is_none()))
    }

    /// How to call there; `None` if nothing was agreed on that can be carried out now.
    pub(super) fn way(&self, route: &Route, now: OffsetDateTime, revision: u64) -> Option<Way> {
        let entry = self.entry(route)?;
        let selected = entry.sel_security_method.as_ref()?;
        // A method that was not wished for is not obeyed, whoever names it.
        if !entry.pref_security_methods.contains(selected) {
            return None;
        }
        let carried = match selected {
            SecurityMethod::Psk => Carried::Psk(Arc::clone(self.key(entry, route, now)?)),
            SecurityMethod::Pki => Carried::Pki,
            SecurityMethod::Oauth => Carried::Oauth,
            _ => return None,
        };
        Some(Way {
            carried,
            negotiation: self.negotiations,
            revision,
        })
    }

    fn key(
        &self,
        entry: &SecurityInformation,
        route: &Route,
        now: OffsetDateTime,
    ) -> Option<&Arc<Key>> {
        let interface = route.interface.as_ref()?;
        self.keys.iter().find(|key| {
            key.psk.aef_id == route.aef_id
                && key.psk.api_id == entry.api_id
                && key.psk.interface == *interface
                && key.psk.is_good(now)
        })
    }

    /// The wishes to repeat when keys were negotiated under a certificate that has been replaced since: they end with it.
    pub(super) fn outlived(&self, renewals: u64) -> Vec<Wish> {
        if self.keys.is_empty() || self.under == renewals {
            return Vec::new();
        }
        let entries = self
            .context
            .iter()
            .flat_map(|context| &context.security_info);
        let mut wishes: Vec<Wish> = Vec::new();
        for entry in entries {
            let by_key = entry.sel_security_method == Some(SecurityMethod::Psk);
            let Some(aef_id) = entry.aef_id.clone().filter(|_| by_key) else {
                continue;
            };
            let wish = Wish {
                aef_id,
                api_id: entry.api_id.clone(),
                preferred: entry.pref_security_methods.clone(),
                profile: profile(entry),
            };
            if !wishes.contains(&wish) {
                wishes.push(wish);
            }
        }
        wishes
    }

    pub(super) fn agreements(&self) -> Vec<Agreement> {
        let entries = self
            .context
            .iter()
            .flat_map(|context| &context.security_info);
        entries
            .map(|entry| Agreement {
                aef_id: entry.aef_id.clone(),
                api_id: entry.api_id.clone(),
                method: entry.sel_security_method.clone(),
                psk: self.key_of(entry).map(AgreedKey::from),
            })
            .collect()
    }

    fn key_of(&self, entry: &SecurityInformation) -> Option<&AefPsk> {
        if entry.sel_security_method != Some(SecurityMethod::Psk) {
            return None;
        }
        let details = entry.interface_details.as_ref();
        let interface = details.and_then(aefpsk::interface_information);
        let keys = self.keys.iter().map(|key| &key.psk);
        keys.into_iter().find(|key| {
            Some(&key.aef_id) == entry.aef_id.as_ref()
                && key.api_id == entry.api_id
                && interface.as_ref().is_none_or(|one| *one == key.interface)
        })
    }
}

impl From<&AefPsk> for AgreedKey {
    fn from(psk: &AefPsk) -> Self {
        Self {
            identity: psk.identity.clone(),
            interface: psk.interface.clone(),
            profile: psk.profile,
            version: psk.version(),
            ends: psk.end(),
        }
    }
}

/// Whether an entry is about the interface of a route, or about all of its AEF.
fn is_at(entry: &SecurityInformation, route: &Route) -> bool {
    match &entry.interface_details {
        None => true,
        Some(details) => {
            let interface = aefpsk::interface_information(details);
            interface.is_some() && interface == route.interface
        }
    }
}

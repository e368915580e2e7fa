//! A domain that registers again, by a credential that may be used more than once: for providers that keep nothing between two
//! starts, not even their keys. Choice: TS 29.222 clause 5.11.2.2 knows a first registration alone.
//!
//! Such a credential makes one domain and is bound to it from then on. What is made by it again is an update of that domain: ids
//! stay, and what was published with them. It is as good as the keys of all functions, so it can be taken away or replaced.

use std::collections::BTreeSet;

use capif_spec::api_provider_management::ApiProviderEnrolmentDetails;

use super::{role_of, succession::has_key};
use crate::{
    changes::{Changes, Expect, Versioned},
    onboarding::Credential,
    state::{ProviderDomain, ProviderFunction, Reuse},
};

/// Binds a credential that was just made out to a domain, in the place of the one before. It counts as used, so that it makes no
/// domain once this one is gone.
#[must_use]
pub fn bind(domain: &Versioned<ProviderDomain>, credential: &Credential) -> Changes {
    let mut changes = Changes::new();
    changes.put(&credential.used(), Expect::Absent);
    let mut bound = domain.record.clone();
    bound.reuse = Some(Reuse::of(credential));
    changes.put(&bound, Expect::At(domain.revision));
    changes
}

/// Takes away what a domain may register with again; nothing if there is none.
#[must_use]
pub fn unbind(domain: &Versioned<ProviderDomain>) -> Option<Changes> {
    let mut alone = domain.record.clone();
    alone.reuse.take()?;
    let mut changes = Changes::new();
    changes.put(&alone, Expect::At(domain.revision));
    Some(changes)
}

impl Reuse {
    pub(super) fn of(credential: &Credential) -> Self {
        Self {
            credential: credential.single_use.clone(),
            until: credential.expires.clone(),
        }
    }
}

/// Gives the functions of a request the ids of those that they stand for: of the one with the same key, otherwise of the next one
/// of the same role that no other function of the request stands for. What is left over is new.
pub(super) fn identify(
    details: &mut ApiProviderEnrolmentDetails,
    known: &[Versioned<ProviderFunction>],
) {
    let wanted = details.api_prov_funcs.get_or_insert_default();
    let named = wanted.iter().filter_map(|function| {
        let id = function.api_prov_func_id.as_ref()?;
        Some(id.as_str().to_owned())
    });
    let mut taken: BTreeSet<String> = named.collect();
    for by_key in [true, false] {
        for function in wanted.iter_mut() {
            if function.api_prov_func_id.is_some() {
                continue;
            }
            let text = &function.reg_info.api_prov_pub_key;
            let found = known.iter().map(|held| &held.record).find(|held| {
                role_of(&function.api_prov_func_role) == Some(held.role)
                    && !taken.contains(held.id.as_str())
                    && (!by_key || has_key(held, text))
            });
            if let Some(held) = found {
                taken.insert(held.id.as_str().to_owned());
                function.api_prov_func_id = Some(held.id.clone());
            }
        }
    }
}

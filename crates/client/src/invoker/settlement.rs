//! What an answer of the CAPIF core function means for the wishes that were sent (TS 33.122 clause 6.3, D-06).
//!
//! Nothing in an answer makes this invoker wish for more than it did: an entry counts for the wish that it answers, keeps that
//! wish's methods, and is dropped if it answers none. A wish for an AEF with several interfaces may be answered by one entry for
//! each; which AEF such an entry is about is found by discovery, and so is every interface that a key may be for.

use std::collections::HashMap;

use capif_procedures::aefpsk;
use capif_spec::{
    common::{AefId, ServiceApiId},
    publish_service::{SecurityMethod, ServiceApiDescription},
    security::{SecurityInformation, ServiceSecurity},
};
use http::StatusCode;

use super::{
    Invoker,
    psk::{AefPsk, Meant},
    security::profile,
    standing::Standing,
};
use crate::{
    ccf::Answer,
    discovery::{self, DiscoveryQuery},
    error::Error,
};

const NO_WISH: &str = "an interface is named that is not one of an AEF that was asked about";

const SHARED: &str = "another AEF claims the same interface, so that its key would be the same";

/// What is kept of an answer.
pub(super) struct Settled {
    pub(super) context: ServiceSecurity,
    pub(super) keys: Vec<AefPsk>,
    pub(super) faults: Vec<Fault>,
}

/// Why what was selected for an AEF cannot be used; nothing of it is kept.
pub(super) struct Fault {
    pub(super) aef_id: AefId,
    pub(super) reason: &'static str,
}

/// What discovery shows of the AEFs that matter.
type Shown = HashMap<AefId, Vec<ServiceApiDescription>>;

impl Invoker {
    /// Reads an answer to these wishes.
    pub(super) async fn settle(
        &self,
        standing: &Standing,
        sent: &[SecurityInformation],
        answer: &Answer,
    ) -> Result<Settled, Error> {
        let mut context: ServiceSecurity = answer.json()?;
        let shown = self
            .shown(standing, concerned(sent, &context.security_info))
            .await?;
        let mut keys = Vec::new();
        let mut faults = Vec::new();
        let mut entries = Vec::new();
        for entry in std::mem::take(&mut context.security_info) {
            let Some((aef_id, wish)) = subject(&entry, sent, &shown) else {
                tracing::warn!(NO_WISH, "an entry of the answer is left out");
                continue;
            };
            let mut entry = SecurityInformation {
                aef_id: Some(aef_id.clone()),
                pref_security_methods: wish.pref_security_methods.clone(),
                extra: wish.extra.clone(),
                ..entry
            };
            if entry.sel_security_method == Some(SecurityMethod::Psk)
                && entry.pref_security_methods.contains(&SecurityMethod::Psk)
            {
                let meant = Meant {
                    invoker: &self.shared.id,
                    aef_id,
                    api_id: entry.api_id.as_ref(),
                    profile: profile(wish),
                    interfaces: &interfaces(&entry, aef_id, &shown),
                    session: answer.session(),
                    now: self.shared.clock.now(),
                };
                match AefPsk::take(&entry, &meant) {
                    Ok(key) => keys.push(key),
                    Err(reason) => {
                        forget(&mut entry);
                        faults.push(Fault {
                            aef_id: aef_id.clone(),
                            reason,
                        });
                    }
                }
            }
            entries.push(entry);
        }
        for aef_id in sharers(&keys) {
            keys.retain(|key| key.aef_id != aef_id);
            entries
                .iter_mut()
                .filter(|entry| entry.aef_id.as_ref() == Some(&aef_id))
                .filter(|entry| entry.sel_security_method == Some(SecurityMethod::Psk))
                .for_each(forget);
            faults.push(Fault {
                aef_id,
                reason: SHARED,
            });
        }
        context.security_info = entries;
        Ok(Settled {
            context,
            keys,
            faults,
        })
    }

    async fn shown(&self, standing: &Standing, aef_ids: Vec<AefId>) -> Result<Shown, Error> {
        let mut shown = Shown::new();
        for aef_id in aef_ids {
            let query = DiscoveryQuery {
                aef_id: Some(aef_id.clone()),
                ..DiscoveryQuery::default()
            };
            let apis = match discovery::discover(&standing.ccf, &self.shared.id, &query).await {
                Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => Vec::new(),
                result => result?,
            };
            shown.insert(aef_id, apis);
        }
        Ok(shown)
    }
}

/// The AEFs whose interfaces matter: where a key was selected, and wherever an AEF may stand behind an interface.
fn concerned(sent: &[SecurityInformation], answered: &[SecurityInformation]) -> Vec<AefId> {
    let divided = answered.iter().any(|entry| entry.aef_id.is_none());
    let mut concerned: Vec<AefId> = Vec::new();
    for aef_id in sent.iter().filter_map(|wish| wish.aef_id.as_ref()) {
        let by_key = answered.iter().any(|entry| {
            entry.aef_id.as_ref() == Some(aef_id)
                && entry.sel_security_method == Some(SecurityMethod::Psk)
        });
        if (divided || by_key) && !concerned.contains(aef_id) {
            concerned.push(aef_id.clone());
        }
    }
    concerned
}

/// The AEF that an entry is about, and the wish that it answers. A CAPIF core function that does not judge by API answers
/// for the whole AEF.
fn subject<'a>(
    entry: &SecurityInformation,
    sent: &'a [SecurityInformation],
    shown: &Shown,
) -> Option<(&'a AefId, &'a SecurityInformation)> {
    let fits = |wish: &&SecurityInformation| entry.api_id.is_none() || entry.api_id == wish.api_id;
    let exact = |wish: &&SecurityInformation| entry.api_id == wish.api_id;
    let aef_id = match (&entry.aef_id, &entry.interface_details) {
        (Some(aef_id), _) => aef_id.clone(),
        (None, Some(details)) => {
            let interface = aefpsk::interface_information(details)?;
            let mut owners: Vec<&AefId> = Vec::new();
            for owner in sent
                .iter()
                .filter(fits)
                .filter_map(|wish| wish.aef_id.as_ref())
            {
                let shown = shows(shown, owner, entry.api_id.as_ref());
                if shown.contains(&interface) && !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
            match owners.as_slice() {
                [owner] => (*owner).clone(),
                // No one, or one of several: a key for it could be another's.
                _ => return None,
            }
        }
        (None, None) => return None,
    };
    let of_aef = || {
        sent.iter()
            .filter(|wish| wish.aef_id.as_ref() == Some(&aef_id))
    };
    let wish = of_aef().find(exact).or_else(|| of_aef().find(fits))?;
    Some((wish.aef_id.as_ref()?, wish))
}

/// The interfaces that the key of an entry may be for.
fn interfaces(entry: &SecurityInformation, aef_id: &AefId, shown: &Shown) -> Vec<String> {
    match &entry.interface_details {
        Some(details) => aefpsk::interface_information(details).into_iter().collect(),
        None => shows(shown, aef_id, entry.api_id.as_ref()),
    }
}

fn shows(shown: &Shown, aef_id: &AefId, api_id: Option<&ServiceApiId>) -> Vec<String> {
    let apis = shown.get(aef_id).map(Vec::as_slice).unwrap_or_default();
    discovery::interfaces(apis, aef_id, api_id)
}

/// The AEFs that have a key for an interface for which another AEF has one too: keys of one negotiation differ by their
/// interface alone, so that each of the two could pass for the other.
fn sharers(keys: &[AefPsk]) -> Vec<AefId> {
    let mut sharers: Vec<AefId> = Vec::new();
    for key in keys {
        let shared = keys
            .iter()
            .any(|other| other.interface == key.interface && other.aef_id != key.aef_id);
        if shared && !sharers.contains(&key.aef_id) {
            sharers.push(key.aef_id.clone());
        }
    }
    sharers
}

fn forget(entry: &mut SecurityInformation) {
    entry.sel_security_method = None;
    entry.authentication_info = None;
    entry.authorization_info = None;
}

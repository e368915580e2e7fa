//! Negotiation of the security method for CAPIF-2/2e (TS 33.122 clause 6.3, TS 29.222 clause 5.6.2.2).
//!
//! The invoker says per AEF (or interface, or API) what it can do and when it wants access; the AEF published what each of its
//! interfaces accepts; the operator has an order, which can differ by API. The method is the first of the operator's order that
//! all of them hold. No common method is no error: the entry is answered without one (TS 29.222 table 8.5.4.2.3-1).
//!
//! Method 1 needs keys besides, which [`keys`] makes from the session that carries the negotiation. An entry about an AEF with
//! several interfaces is then answered by one entry per interface, each with its key (D-06).

mod deprived;
mod grants;
mod keys;
mod offers;
mod policy;

use capif_spec::{
    common::{AefId, DateTime, SupportedFeatures},
    publish_service::SecurityMethod,
    security::{SecurityInformation, ServiceSecurity},
    vendor::{self, AccessScenario, MethodTerms, PskProfile},
};
use serde_json::json;

pub(crate) use self::offers::offers;
pub use self::{
    deprived::tell_deprived,
    grants::{Grant, exposed, granted, granted_by, outdated},
    keys::PskSession,
    offers::methods_of,
    policy::Policy,
};
use self::{
    keys::{Keys, places},
    offers::{Offer, is_about, same_interface},
};
use crate::{
    changes::{Changes, Expect, Revision, Versioned},
    delivery::{Delivery, agreed_features},
    discovery::Published,
    refusal::Refusal,
    state::{AefPsk, Invoker, SecurityContext, SecurityEntry, ServiceApi},
};

/// Features of the security API that are served (TS 29.222 table 8.5.6-1): bits 1 and 2, Notification_test_event and
/// Notification_websocket, and 3, SecurityInfoPerAPI.
pub const FEATURES: &str = "7";

/// The number of the feature by which entries name single APIs.
const SECURITY_INFO_PER_API: u32 = 3;

/// How many entries one request may hold, and one context.
pub const ENTRIES_MAX: usize = 256;

/// How long the text of one entry may be, in octets, without what the CCF adds: one of the request can become many of the context.
pub const ENTRY_BYTES_MAX: usize = 16 * 1024;

/// Negotiates a context anew. `apis` are all published ones; `session` is the one that carries the request, without which
/// Method 1 is left out (D-04).
///
/// # Errors
/// Refuses entries without exactly one of AEF and interface, without preferences, AEFs beyond the invoker's reach, and a way to
/// derive keys that the session does not allow.
pub fn negotiate<'a>(
    request: ServiceSecurity,
    invoker: &Invoker,
    held: Option<&Versioned<SecurityContext>>,
    apis: impl Published<'a>,
    policy: &Policy,
    session: Option<&dyn PskSession>,
    now: &DateTime,
) -> Result<(Changes, ServiceSecurity), Refusal> {
    if request.security_info.is_empty() || request.security_info.len() > ENTRIES_MAX {
        return Err(Refusal::incorrect(
            "/securityInfo",
            format!("`securityInfo` holds 1 to {ENTRIES_MAX} entries"),
        ));
    }
    let features = request
        .supported_features
        .as_ref()
        .map(|features| agreed_features(features, FEATURES));
    let per_api = features
        .as_ref()
        .is_some_and(|features| features.has(SECURITY_INFO_PER_API));
    let held_context = held.map(|held| &held.record);
    let mut negotiation = Negotiation {
        invoker,
        apis,
        per_api,
        policy,
        keys: Keys::new(session, invoker, held_context, now),
    };
    let mut entries = Vec::new();
    for (index, wanted) in request.security_info.iter().enumerate() {
        entries.extend(negotiation.entries(index, wanted)?);
        if entries.len() > ENTRIES_MAX {
            return Err(Refusal::incorrect(
                "/securityInfo",
                format!(
                    "these AEFs have more than {ENTRIES_MAX} interfaces that need a key each: ask about fewer"
                ),
            ));
        }
    }

    let wish = Delivery {
        test: request.request_test_notification,
        websocket: request.websock_notif_config.clone(),
    };
    let held_websocket = held_context.and_then(|held| held.websocket_uri.as_ref());
    let delivery = wish.agree(features.as_ref(), held_websocket)?;
    let context = SecurityContext {
        invoker_id: invoker.id.clone(),
        generation: generation(held_context, &entries),
        entries,
        notification_destination: request.notification_destination.clone(),
        websocket_uri: delivery.websocket_uri().cloned(),
        features: features
            .clone()
            .unwrap_or_else(|| SupportedFeatures::from("0")),
        psk_count: negotiation.keys.count(),
        extra: request.extra.clone(),
    };
    let answer = ServiceSecurity {
        security_info: context
            .entries
            .iter()
            .map(|entry| entry.information.clone())
            .collect(),
        supported_features: features,
        request_test_notification: delivery.test,
        websock_notif_config: delivery.websocket,
        ..request
    };
    let mut changes = Changes::new();
    changes.require::<Invoker>(invoker.id.as_str(), Expect::Present);
    let revision: Option<Revision> = held.map(|held| held.revision);
    changes.put(&context, revision.map_or(Expect::Absent, Expect::At));
    Ok((changes, answer))
}

/// The same number while nothing is taken away, so that repeating a negotiation kills no token; one more otherwise.
fn generation(held: Option<&SecurityContext>, entries: &[SecurityEntry]) -> u64 {
    let Some(held) = held else { return 1 };
    let kept = held.entries.iter().all(|before| {
        let method = &before.information.sel_security_method;
        method.is_none()
            || entries.iter().any(|now| {
                now.aef_id == before.aef_id
                    && now.api_id == before.api_id
                    && same_interface(&now.information, &before.information)
                    && now.information.sel_security_method == *method
            })
    });
    if kept {
        held.generation
    } else {
        held.generation.saturating_add(1)
    }
}

/// What the entries of one request are decided on.
struct Negotiation<'n, P> {
    invoker: &'n Invoker,
    /// All that are published.
    apis: P,
    /// Whether entries may name single APIs.
    per_api: bool,
    policy: &'n Policy,
    keys: Keys<'n>,
}

/// What an entry is about: an API within the invoker's reach, on one of its interfaces.
type Concerned<'a> = Vec<(&'a ServiceApi, Offer<'a>)>;

impl<'a, P: Published<'a>> Negotiation<'_, P> {
    /// Answers one entry: by one, or by one per interface.
    fn entries(
        &mut self,
        index: usize,
        wanted: &SecurityInformation,
    ) -> Result<Vec<SecurityEntry>, Refusal> {
        let pointer = |member: &str| format!("/securityInfo/{index}{member}");
        if wanted.pref_security_methods.is_empty() {
            return Err(Refusal::missing(pointer("/prefSecurityMethods")));
        }
        let terms = MethodTerms::of(wanted).map_err(|violation| {
            Refusal::incorrect(pointer(&violation.pointer), violation.reason)
        })?;
        let profile = terms.psk_profile.unwrap_or_default();
        if wanted.pref_security_methods.contains(&SecurityMethod::Psk) && self.keys.lacks(profile) {
            return Err(Refusal::incorrect(
                pointer(&format!("/{}/pskProfile", vendor::MEMBER)),
                format!(
                    "{profile} needs a full TLS 1.2 handshake with extended master secret and a session id of the server: \
                     negotiate over such a session, or ask for {}",
                    PskProfile::A1Exporter
                ),
            ));
        }
        let wanted = SecurityInformation {
            api_id: wanted.api_id.clone().filter(|_| self.per_api),
            sel_security_method: None,
            authentication_info: None,
            authorization_info: None,
            grant_type: None,
            ..wanted.clone()
        };
        if serde_json::to_vec(&wanted).map_or(usize::MAX, |text| text.len()) > ENTRY_BYTES_MAX {
            return Err(Refusal::incorrect(
                pointer(""),
                format!("an entry is larger than {ENTRY_BYTES_MAX} bytes"),
            ));
        }
        let (aef_id, concerned) = self.concerned(&wanted, pointer(""))?;
        for method in self.candidates(&wanted, terms, &concerned) {
            if method != SecurityMethod::Psk {
                let text = told(&method, self.binds_tokens(&concerned));
                return Ok(vec![entry(&aef_id, &wanted, Some((method, text)))]);
            }
            if let Some(entries) = self.with_keys(&aef_id, &wanted, profile, &concerned) {
                return Ok(entries);
            }
        }
        Ok(vec![entry(&aef_id, &wanted, None)])
    }

    /// What an entry is about, and whose.
    fn concerned(
        &self,
        wanted: &SecurityInformation,
        pointer: String,
    ) -> Result<(AefId, Concerned<'a>), Refusal> {
        if wanted.aef_id.is_some() == wanted.interface_details.is_some() {
            return Err(Refusal::incorrect(
                pointer,
                "each entry names exactly one of `aefId` and `interfaceDetails`",
            ));
        }
        let of_aef = wanted.aef_id.iter().flat_map(|id| self.apis.around(id));
        let details = wanted.interface_details.iter();
        let at_interface = details.flat_map(|address| self.apis.at(address));
        let concerned: Concerned<'a> = of_aef
            .chain(at_interface)
            .filter(|api| self.invoker.reach.includes(api))
            .filter(|api| wanted.api_id.as_ref().is_none_or(|id| *id == api.id))
            .flat_map(|api| offers(api).map(move |offer| (api, offer)))
            .filter(|(_, offer)| {
                let aef_id = wanted.aef_id.as_ref();
                aef_id.is_none_or(|id| *id == offer.profile.aef_id) && is_about(wanted, offer)
            })
            .collect();
        let aef_id = concerned.first().map(|(_, offer)| &offer.profile.aef_id);
        let another = |(_, offer): &(_, Offer<'_>)| Some(&offer.profile.aef_id) != aef_id;
        if concerned.iter().any(another) {
            return Err(Refusal::incorrect(
                format!("{pointer}/interfaceDetails"),
                "several AEFs publish this interface: name the one that is meant by its `aefId`",
            ));
        }
        match aef_id {
            Some(aef_id) => Ok((aef_id.clone(), concerned)),
            None => Err(Refusal::AefOutOfReach {
                aef_id: wanted
                    .aef_id
                    .as_ref()
                    .map_or_else(|| "(interfaceDetails)".to_owned(), ToString::to_string),
            }),
        }
    }

    /// The methods on which everyone agrees, the operator's preferred one first.
    fn candidates(
        &self,
        wanted: &SecurityInformation,
        terms: MethodTerms,
        concerned: &Concerned<'_>,
    ) -> Vec<SecurityMethod> {
        // Whoever was shut out is answered as if policy forbade every method (TS 29.222 table 8.5.4.2.3-1).
        let open = concerned
            .iter()
            .any(|(api, _)| !self.invoker.bars.hold(&api.id));
        if !open {
            return Vec::new();
        }
        let names = concerned
            .iter()
            .map(|(api, _)| api.description.api_name.as_str());
        let mut candidates = self.policy.of_apis(names);
        candidates.retain(|method| {
            let in_time = match terms.access_scenario {
                AccessScenario::BeforeInvocation => true,
                // Only a token comes along with the call itself (D-35).
                AccessScenario::AtInvocation => *method == SecurityMethod::Oauth,
            };
            in_time
                && wanted.pref_security_methods.contains(method)
                && concerned.iter().all(|(_, offer)| offer.accepts(method))
        });
        candidates
    }

    /// Whether a token for these interfaces is bound to the invoker's certificate.
    fn binds_tokens(&self, concerned: &Concerned<'_>) -> bool {
        self.policy.certificate_bound_tokens
            || concerned.iter().any(|(_, offer)| offer.wants_certificate())
    }

    /// The entries by Method 1, with a key for each interface; nothing when one of them cannot have any.
    fn with_keys(
        &mut self,
        aef_id: &AefId,
        wanted: &SecurityInformation,
        profile: PskProfile,
        concerned: &Concerned<'_>,
    ) -> Option<Vec<SecurityEntry>> {
        if !self.keys.serves(profile) {
            return None;
        }
        let places = places(concerned.iter().map(|(_, offer)| *offer), &self.apis)?;
        let alone = places.len() == 1;
        places
            .into_iter()
            .map(|place| {
                let keys = self.keys.of(profile, aef_id, &place)?;
                let selected = (SecurityMethod::Psk, told_of(&keys.current));
                let mut entry = entry(aef_id, wanted, Some(selected));
                if !alone {
                    entry.information.aef_id = None;
                    entry.information.interface_details = Some(place.address);
                }
                entry.psk = Some(keys);
                Some(entry)
            })
            .collect()
    }
}

/// An entry as it is answered, with the method that was selected and what the invoker is told of it.
fn entry(
    aef_id: &AefId,
    wanted: &SecurityInformation,
    selected: Option<(SecurityMethod, String)>,
) -> SecurityEntry {
    let (method, text) = selected.unzip();
    SecurityEntry {
        aef_id: aef_id.clone(),
        api_id: wanted.api_id.clone(),
        information: SecurityInformation {
            sel_security_method: method,
            authentication_info: text,
            ..wanted.clone()
        },
        revoked: Default::default(),
        psk: None,
    }
}

/// What the invoker is told of a method, as the compact JSON text of D-08.
fn told(method: &SecurityMethod, with_certificate: bool) -> String {
    let mut text = json!({ "method": method });
    if let (SecurityMethod::Oauth, true, Some(members)) =
        (method, with_certificate, text.as_object_mut())
    {
        members.insert("mutualTls".to_owned(), true.into());
    }
    text.to_string()
}

/// What the invoker is told of a key: everything but the key, which it derives itself (D-09).
fn told_of(key: &AefPsk) -> String {
    json!({
        "method": SecurityMethod::Psk,
        "profile": key.profile,
        "pskId": key.identity,
        "exp": key.expires.0.unix_timestamp(),
        "tls": key.tls,
        "interface": key.interface,
    })
    .to_string()
}

#[cfg(test)]
mod tests;

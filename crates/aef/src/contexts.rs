//! How each API invoker authenticates at this interface, and what it may call (TS 33.122 clause 6.5.1).

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_client::Provider;
use capif_procedures::aefpsk;
use capif_spec::{
    common::{ApiInvokerId, Redacted},
    json,
    publish_service::{InterfaceDescription, SecurityMethod},
    security::{SecurityInformation, ServiceSecurity},
};
use capif_transport::{Psk, PskVersion};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::{
    memory::{Ages, Memory, Source},
    publication::same_address,
    trust::Trust,
};

/// How long it is believed that the CCF knows nothing of somebody.
const UNKNOWN_AGE_MAX: Duration = Duration::seconds(1);

/// How many certificates beside the one in use are taken of an invoker.
const ALSO_MAX: usize = 16;

/// How many endings are remembered.
const ENDINGS_MAX: usize = 400_000;

/// The security contexts, as far as they are known.
pub(crate) type Contexts = Memory<ContextSource>;

/// How long contexts are believed.
pub(crate) fn ages(stale: Duration) -> Ages {
    let ages = Ages::new(stale);
    Ages {
        nothing: UNKNOWN_AGE_MAX.min(ages.fresh),
        ..ages
    }
}

/// What an invoker may do at this AEF.
#[derive(Debug, Default)]
pub(crate) struct Authorization {
    /// The method that counts, by API.
    pub(crate) methods: HashMap<String, SecurityMethod>,
    /// The APIs whose method has changed since the invoker negotiated (TS 33.122 clause 6.7).
    pub(crate) outdated: HashSet<String>,
    /// Tokens of an earlier generation are dead.
    pub(crate) generation: u64,
    /// The certificates that count, when the method is by certificate.
    pub(crate) certificates: Option<Certificates>,
    /// The keys for this interface, whether their method still counts or not.
    pub(crate) keys: Vec<AefPsk>,
}

/// The certificates of an invoker by their SHA-256, each with the moment from when on it counts no longer, if that is known: the
/// one in use, the one that is to follow it, and those that are on their way out.
#[derive(Debug, Default)]
pub(crate) struct Certificates(Vec<(String, Option<OffsetDateTime>)>);

impl Certificates {
    /// Whether this one counts, to the second.
    pub(crate) fn count(&self, fingerprint: &str, now: OffsetDateTime) -> bool {
        self.0
            .iter()
            .any(|(counted, until)| counted == fingerprint && until.is_none_or(|until| now < until))
    }
}

/// A key that an invoker derived for this interface (TS 33.122 clause 6.5.2.1).
#[derive(Debug)]
pub(crate) struct AefPsk {
    pub(crate) identity: String,
    pub(crate) key: Psk,
    pub(crate) expires: OffsetDateTime,
}

impl Authorization {
    /// The key of this identity, if its time has not passed.
    pub(crate) fn key(&self, identity: &str, now: OffsetDateTime) -> Option<&AefPsk> {
        self.keys
            .iter()
            .find(|key| key.identity == identity && now < key.expires)
    }

    /// When something of it ends that a connection may rest on.
    fn endings(&self) -> impl Iterator<Item = OffsetDateTime> {
        let certificates = self.certificates.iter().flat_map(|all| &all.0);
        let certificates = certificates.filter_map(|(_, until)| *until);
        certificates.chain(self.keys.iter().map(|key| key.expires))
    }

    /// The number of the newest key.
    pub(crate) fn newest_key(&self) -> Option<u64> {
        let number = |key: &AefPsk| aefpsk::invoker_of(&key.identity).map(|(_, number)| number);
        self.keys.iter().filter_map(number).max()
    }
}

/// When certificates and keys of invokers end, so that connections which rest on them end in time.
#[derive(Default)]
pub(crate) struct Endings(Mutex<BTreeSet<(OffsetDateTime, ApiInvokerId)>>);

impl Endings {
    fn note(&self, id: &ApiInvokerId, authorization: &Authorization) {
        let mut all = self.lock();
        for ending in authorization.endings() {
            // What is too much is found by the comparison.
            if all.len() < ENDINGS_MAX {
                all.insert((ending, id.clone()));
            }
        }
    }

    /// The invokers of whom something has ended since this was last asked.
    pub(crate) fn past(&self, now: OffsetDateTime) -> BTreeSet<ApiInvokerId> {
        let mut all = self.lock();
        let mut past = BTreeSet::new();
        while all.first().is_some_and(|(ending, _)| *ending <= now) {
            past.extend(all.pop_first().map(|(_, id)| id));
        }
        past
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<(OffsetDateTime, ApiInvokerId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where contexts come from: the core function, over CAPIF-3 and as the AEF that they are for.
pub(crate) struct ContextSource {
    pub(crate) provider: Arc<Provider>,
    /// The interface that this gateway serves; what is about others is none of its business.
    pub(crate) interface: InterfaceDescription,
    /// The one version of TLS in which keys are used here.
    pub(crate) version: PskVersion,
    pub(crate) trust: Arc<Trust>,
    pub(crate) endings: Arc<Endings>,
}

impl Source for ContextSource {
    type Fact = Authorization;

    async fn ask(&self, id: &ApiInvokerId) -> Result<Option<Authorization>, capif_client::Error> {
        let began = Instant::now();
        let Some(context) = self.provider.security_context(id).await? else {
            return Ok(None);
        };
        let reading = read(context, id, &self.interface, self.version);
        if let Some(anchors) = reading.anchors {
            self.trust.believe(anchors, began);
        }
        self.endings.note(id, &reading.authorization);
        Ok(Some(reading.authorization))
    }
}

/// `authorizationInfo` to an AEF (D-08).
#[derive(Deserialize)]
struct AuthorizationInfo {
    #[serde(rename = "gen")]
    generation: u64,
    apis: Vec<String>,
    #[serde(default)]
    outdated: Vec<String>,
}

/// `authenticationInfo` to an AEF for Method 1.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PskInfo {
    psk_id: String,
    psk: Redacted,
    exp: i64,
    tls: String,
    interface: String,
    #[serde(default)]
    previous: Option<KeyInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyInfo {
    psk_id: String,
    psk: Redacted,
    exp: i64,
}

/// `authenticationInfo` to an AEF for Method 2.
#[derive(Deserialize)]
struct PkiInfo {
    #[serde(default, rename = "x5t#S256")]
    certificate: Option<String>,
    #[serde(default, rename = "caPem")]
    anchors: Option<Vec<String>>,
    /// What else counts: a certificate that is to follow, and those that were replaced, until they end.
    #[serde(default)]
    also: Vec<AlsoCounts>,
}

#[derive(Deserialize)]
struct AlsoCounts {
    #[serde(rename = "x5t#S256")]
    certificate: String,
    /// In seconds of Unix time.
    #[serde(default)]
    until: Option<i64>,
}

impl PkiInfo {
    /// The certificates that count. An end that cannot be is no time at all.
    fn certificates(&mut self) -> Certificates {
        let active = self
            .certificate
            .take()
            .map(|certificate| (certificate, None));
        let also = std::mem::take(&mut self.also).into_iter();
        let also = also.take(ALSO_MAX).filter_map(|also| {
            let until = match also.until {
                None => None,
                Some(until) => Some(OffsetDateTime::from_unix_timestamp(until).ok()?),
            };
            Some((also.certificate, until))
        });
        Certificates(active.into_iter().chain(also).collect())
    }
}

#[derive(Default)]
struct Reading {
    authorization: Authorization,
    /// The roots of invokers' certificates, when they were told.
    anchors: Option<Vec<String>>,
}

/// Reads the CCF's answer as far as it is about this interface. What cannot be read grants nothing.
fn read(
    context: ServiceSecurity,
    invoker: &ApiInvokerId,
    own: &InterfaceDescription,
    version: PskVersion,
) -> Reading {
    let mut reading = Reading::default();
    let concerned = |entry: &SecurityInformation| {
        let interface = entry.interface_details.as_ref();
        interface.is_none_or(|interface| same_address(interface, own))
    };
    for mut entry in context.security_info.into_iter().filter(concerned) {
        // It may hold a key.
        let information = entry.authentication_info.take().map(Zeroizing::new);
        let rights: Option<AuthorizationInfo> = entry
            .authorization_info
            .as_ref()
            .and_then(|text| json::from_slice(text.as_bytes()).ok());
        let (Some(rights), Some(method)) = (rights, &entry.sel_security_method) else {
            continue;
        };
        let authorization = &mut reading.authorization;
        authorization.generation = authorization.generation.max(rights.generation);
        authorization.outdated.extend(rights.outdated);
        for api in rights.apis {
            authorization.methods.insert(api, method.clone());
        }
        let Some(information) = information else {
            continue;
        };
        match method {
            SecurityMethod::Psk => {
                authorization
                    .keys
                    .extend(keys(&information, invoker, own, version));
            }
            SecurityMethod::Pki => {
                if let Ok(mut pki) = json::from_slice::<PkiInfo>(information.as_bytes()) {
                    authorization.certificates = Some(pki.certificates());
                    reading.anchors = pki.anchors;
                }
            }
            _ => {}
        }
    }
    reading
}

/// The keys of one entry that are for this interface, this version of TLS and this invoker (P-27).
fn keys(
    information: &str,
    invoker: &ApiInvokerId,
    own: &InterfaceDescription,
    version: PskVersion,
) -> impl Iterator<Item = AefPsk> {
    let information = json::from_slice::<PskInfo>(information.as_bytes())
        .ok()
        .filter(|key| Some(&key.interface) == aefpsk::interface_information(own).as_ref())
        .filter(|key| key.tls.parse() == Ok(version));
    let both = information.into_iter().flat_map(|key| {
        let current = KeyInfo {
            psk_id: key.psk_id,
            psk: key.psk,
            exp: key.exp,
        };
        std::iter::once(current).chain(key.previous)
    });
    both.filter_map(|key| {
        let (owner, _) = aefpsk::invoker_of(&key.psk_id)?;
        let octets = BASE64_URL_SAFE_NO_PAD.decode(key.psk.expose()).ok()?;
        let octets = Zeroizing::new(octets);
        let octets = Zeroizing::new(<[u8; 32]>::try_from(octets.as_slice()).ok()?);
        (owner == *invoker).then_some(AefPsk {
            key: Psk::new(*octets),
            expires: OffsetDateTime::from_unix_timestamp(key.exp).ok()?,
            identity: key.psk_id,
        })
    })
}

#[cfg(test)]
mod tests;

//! The keys of Method 1 that a negotiation makes (TS 33.122 clauses 6.5.2.1 and A.1).
//!
//! A negotiation that selects PSK makes one key per interface, from the very session that carries it (D-03), each under a
//! number of its own. The key that it replaces stays good for a short while, unless the method went with it.
//!
//! What may surprise: an interface that two AEFs claim has no key. Both would be given the same one, since P0 names the
//! interface alone, and could then pass for the invoker at each other.

use capif_spec::{
    common::{AefId, DateTime},
    publish_service::InterfaceDescription,
    vendor::PskTls,
};
use time::OffsetDateTime;

use super::{
    ENTRIES_MAX,
    offers::{Offer, offers},
};
use crate::{
    aefpsk::{self, Profile},
    discovery::Published,
    rotation,
    state::{AefPsk, AefPsks, Digest, Invoker, SealedKey, SecurityContext},
};

/// The CAPIF-1e session that carries a negotiation, and what seals the keys that are derived from it.
pub trait PskSession {
    /// Whether the session has the facts that a profile asks for.
    fn serves(&self, profile: Profile) -> bool;

    /// SHA-256 of the certificate that the invoker showed in the session: the keys go with it (R-U-06).
    fn certificate(&self) -> Digest;

    /// Derives the key for an interface and seals it under its identity; nothing when one of the two fails.
    fn key(&self, profile: Profile, interface: &str, identity: &str) -> Option<SealedKey>;
}

/// An interface that a key can be made for.
pub(super) struct Place {
    /// The interface in the form that goes into the key.
    information: String,
    /// The address, for the entry that is about this interface alone.
    pub(super) address: InterfaceDescription,
    tls: PskTls,
}

/// The interfaces in question, each once in each way that it is written. Nothing when one of them has no key: without a usable
/// address, claimed by another AEF too, or published with two versions of TLS.
pub(super) fn places<'o, 'a>(
    concerned: impl Iterator<Item = Offer<'o>>,
    apis: &impl Published<'a>,
) -> Option<Vec<Place>> {
    let mut places: Vec<Place> = Vec::new();
    for offer in concerned {
        let address = offer.address();
        let information = aefpsk::interface_information(&address)?;
        if !is_alone(&offer, &information, apis) {
            return None;
        }
        if places.len() > ENTRIES_MAX {
            // One too many for a context already: that is what the negotiation says then.
            break;
        }
        let tls = offer.terms()?.psk_tls;
        let mut here = places
            .iter()
            .filter(|place| place.information == information);
        if here.clone().any(|known| known.tls != tls) {
            return None;
        }
        if !here.any(|known| known.address == address) {
            places.push(Place {
                information,
                address,
                tls,
            });
        }
    }
    // In other words it is the same place all the same; an entry about the AEF does not depend on them.
    if places
        .iter()
        .all(|place| places.first().map(|first| &first.information) == Some(&place.information))
    {
        places.truncate(1);
    }
    Some(places)
}

/// Whether an interface belongs to no other AEF than the one whose offer it is.
fn is_alone<'a>(offer: &Offer<'_>, information: &str, apis: &impl Published<'a>) -> bool {
    let address = offer.address();
    let here = apis.at(&address).flat_map(offers);
    let same = |other: &Offer<'_>| {
        aefpsk::interface_information(&other.address()).as_deref() == Some(information)
    };
    let mut others = here.filter(|other| other.profile.aef_id != offer.profile.aef_id);
    !others.any(|other| same(&other))
}

/// Makes the keys of one negotiation.
pub(super) struct Keys<'a> {
    session: Option<&'a dyn PskSession>,
    invoker: &'a Invoker,
    held: Option<&'a SecurityContext>,
    now: &'a DateTime,
    /// How many keys the invoker has had, those of this negotiation included.
    count: u64,
    made: Vec<AefPsk>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(
        session: Option<&'a dyn PskSession>,
        invoker: &'a Invoker,
        held: Option<&'a SecurityContext>,
        now: &'a DateTime,
    ) -> Self {
        Self {
            session,
            invoker,
            held,
            now,
            count: held.map_or(0, |held| held.psk_count),
            made: Vec::new(),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether there is a session to derive keys from, and it lacks what a profile asks for.
    pub(super) fn lacks(&self, profile: Profile) -> bool {
        self.session.is_some_and(|session| !session.serves(profile))
    }

    /// Whether keys can be derived in a profile.
    pub(super) fn serves(&self, profile: Profile) -> bool {
        self.session.is_some_and(|session| session.serves(profile))
    }

    /// The keys for an interface. Entries about the same interface share them, since it is the same key.
    pub(super) fn of(&mut self, profile: Profile, aef: &AefId, place: &Place) -> Option<AefPsks> {
        let known = self
            .made
            .iter()
            .find(|key| key.interface == place.information && key.profile == profile);
        let current = match known {
            Some(known) => known.clone(),
            None => self.make(profile, place)?,
        };
        let previous = self.replaced(aef, &current);
        Some(AefPsks { current, previous })
    }

    fn make(&mut self, profile: Profile, place: &Place) -> Option<AefPsk> {
        let session = self.session?;
        let certificate = session.certificate();
        // Whoever shows a certificate that is none of the invoker's by now has no key made.
        let until = rotation::until(self.invoker, &certificate)?;
        let number = self.count.checked_add(1)?;
        let identity = aefpsk::identity(&self.invoker.id, number);
        let sealed = session.key(profile, &place.information, &identity)?;
        self.count = number;
        let ends = (self.now.0 + aefpsk::LIFETIME).min(until.0);
        let key = AefPsk {
            identity,
            sealed,
            expires: whole_seconds(ends),
            profile,
            tls: place.tls,
            interface: place.information.clone(),
            certificate: Some(certificate),
        };
        self.made.push(key.clone());
        Some(key)
    }

    /// The key that another one replaces, for as long as it is still good. One key is used in one version of TLS only.
    fn replaced(&self, aef: &AefId, current: &AefPsk) -> Option<AefPsk> {
        let mut replaced = self
            .held?
            .entries
            .iter()
            .filter(|entry| entry.aef_id == *aef)
            .filter_map(|entry| entry.psk.as_ref())
            .map(|keys| &keys.current)
            .find(|key| key.interface == current.interface && key.tls == current.tls)?
            .clone();
        let overlap = self.now.0 + aefpsk::OVERLAP;
        replaced.expires = whole_seconds(replaced.expires.0.min(overlap));
        replaced.is_good(self.now).then_some(replaced)
    }
}

/// A time as it is told to both sides.
fn whole_seconds(time: OffsetDateTime) -> DateTime {
    DateTime(time.replace_nanosecond(0).unwrap_or(time))
}

//! One function of a domain: its id, and the certificate under which it speaks, which is exchanged while it does.

use std::sync::Arc;

use arc_swap::ArcSwap;
use capif_spec::common::{ApiProviderDomainId, DateTime};
use capif_transport::{Anchors, Identity, SharedClock};
use time::OffsetDateTime;

use super::{damaged, state, trust};
use crate::{
    ccf::{Answer, Call, Ccf},
    error::Error,
    key,
    keystore::Keystore,
    whereabouts::Whereabouts,
};

/// A function of the domain.
pub(super) struct Function<Id> {
    pub(super) id: Id,
    pub(super) name: String,
    means: ArcSwap<Means>,
}

/// By what a function proves itself.
pub(super) struct Means {
    pub(super) identity: Identity,
    /// When the certificate ends.
    pub(super) ends: OffsetDateTime,
    /// The CAPIF core function, reached under this certificate.
    ccf: Ccf,
    domain_id: ApiProviderDomainId,
    clock: SharedClock,
}

/// How the CAPIF core function is reached.
pub(super) struct Reach {
    whereabouts: Whereabouts,
    pub(super) anchors: Anchors,
    domain_id: ApiProviderDomainId,
    clock: SharedClock,
}

impl Reach {
    pub(super) fn new(
        held: &state::Registered,
        whereabouts: &Whereabouts,
        clock: &SharedClock,
    ) -> Result<Self, Error> {
        Ok(Self {
            whereabouts: whereabouts.clone(),
            anchors: trust::anchors(held)?,
            domain_id: held.domain_id.clone(),
            clock: clock.clone(),
        })
    }
}

impl<Id: From<String> + PartialEq> Function<Id> {
    pub(super) fn open(
        held: &state::Certified,
        keystore: &Keystore,
        reach: &Reach,
    ) -> Result<Self, Error> {
        Ok(Self {
            id: Id::from(held.id.to_string()),
            name: held.name.clone(),
            means: ArcSwap::from_pointee(Means::open(held, keystore, reach)?),
        })
    }

    /// Makes ready to go on with another certificate, unless it is the same one and nothing else has changed either.
    pub(super) fn prepare(
        &self,
        held: &state::Certified,
        keystore: &Keystore,
        reach: &Reach,
        all_new: bool,
    ) -> Result<Option<Means>, Error> {
        if self.id != Id::from(held.id.to_string()) {
            return Err(damaged(keystore, "another domain was registered in it").into());
        }
        let means = Means::open(held, keystore, reach)?;
        let same = means.identity.fingerprint() == self.means().identity.fingerprint();
        Ok((all_new || !same).then_some(means))
    }

    /// Goes on with what was made ready. Says whether that is another certificate.
    pub(super) fn go_on(&self, means: Option<Means>) -> bool {
        let Some(means) = means else {
            return false;
        };
        let fingerprint = means.identity.fingerprint();
        let before = self.means.swap(Arc::new(means));
        before.identity.fingerprint() != fingerprint
    }
}

impl<Id> Function<Id> {
    pub(super) fn means(&self) -> Arc<Means> {
        self.means.load_full()
    }

    /// Sends a request under the certificate that is the function's now.
    pub(super) async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        self.means().send(call).await
    }
}

impl Means {
    fn open(held: &state::Certified, keystore: &Keystore, reach: &Reach) -> Result<Self, Error> {
        let key = keystore
            .key(&held.key)?
            .ok_or_else(|| damaged(keystore, "a private key is missing"))?;
        let identity = Identity::from_pem(&held.certificate_pem, key.pem()).map_err(|_| {
            damaged(
                keystore,
                "private key and certificate do not belong together",
            )
        })?;
        let (_, ends) =
            key::life(&held.certificate_pem).map_err(|reason| damaged(keystore, reason))?;
        let ccf = Ccf::new(
            reach.whereabouts.clone(),
            reach.anchors.clone(),
            Some(identity.clone()),
            reach.clock.clone(),
        )?;
        Ok(Self {
            identity,
            ends,
            ccf,
            domain_id: reach.domain_id.clone(),
            clock: reach.clock.clone(),
        })
    }

    pub(super) async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        // Nobody would take it, and what helps is not what the handshake's end tells.
        if self.ends <= self.clock.now() {
            return Err(Error::RegistrationEnded {
                domain_id: self.domain_id.clone(),
                ended: DateTime(self.ends),
                refusal: None,
            });
        }
        self.ccf.send(call).await
    }
}

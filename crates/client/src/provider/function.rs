//! One function of a domain: its id, and the certificate under which it speaks, which is exchanged while it does.

use std::sync::Arc;

use arc_swap::ArcSwap;
use capif_transport::{Anchors, Identity, SharedClock};

use super::{damaged, state, trust};
use crate::{
    address::Address,
    ccf::{Answer, Call, Ccf},
    error::Error,
    keystore::Keystore,
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
    /// The CAPIF core function, reached under this certificate.
    ccf: Ccf,
}

/// How the CAPIF core function is reached.
pub(super) struct Reach {
    address: Address,
    pub(super) anchors: Anchors,
    clock: SharedClock,
}

impl Reach {
    pub(super) fn new(held: &state::Registered, clock: &SharedClock) -> Result<Self, Error> {
        Ok(Self {
            address: held.address.parse()?,
            anchors: trust::anchors(held)?,
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
        let ccf = Ccf::new(
            reach.address.clone(),
            reach.anchors.clone(),
            Some(identity.clone()),
            reach.clock.clone(),
        )?;
        Ok(Self { identity, ccf })
    }

    pub(super) async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        self.ccf.send(call).await
    }
}

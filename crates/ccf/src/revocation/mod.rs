//! Which certificates count: revocation lists (RFC 5280 section 5) and an OCSP responder (RFC 6960) on a listener of their own.
//!
//! Both are read off the register, which hears of every commit before it is answered: whoever was told of an offboarding finds
//! the certificate revoked. Entities of CAPIF need none of this, since the core function tells them itself; it is for whoever
//! else looks at these certificates, and for the clients of an AEF that staples.

mod list;
mod register;
mod responder;
mod service;
mod signer;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use capif_procedures::state::{Certificate, Digest};
use capif_transport::SharedClock;
use time::{Duration, OffsetDateTime};

use self::{list::Lists, responder::Responder};
pub(crate) use self::{register::Register, service::Service};
use crate::authority::{Authorities, AuthorityError};

/// How far back everything begins that is signed, so that a receiver whose clock is a little slow takes it at once.
const BACKDATE: Duration = Duration::seconds(60);

/// What tells of revocation.
pub(crate) struct Revocation {
    clock: SharedClock,
    register: Arc<Register>,
    lists: Lists,
    responder: Responder,
    /// The certificate of the CCF itself that has a response, and when to renew that.
    stapled: Mutex<Option<(Digest, OffsetDateTime)>>,
}

/// An OCSP response of good standing, to go along with a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Staple {
    /// The response (DER).
    pub(crate) response: Bytes,
    /// When a newer one should take its place.
    pub(crate) renew: OffsetDateTime,
}

impl std::fmt::Debug for Revocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Revocation").finish_non_exhaustive()
    }
}

impl Revocation {
    pub(crate) fn new(
        authorities: &Arc<Authorities>,
        register: Arc<Register>,
        clock: &SharedClock,
        ccf_id: &str,
    ) -> Self {
        Self {
            clock: Arc::clone(clock),
            lists: Lists::new(Arc::clone(authorities), Arc::clone(&register)),
            responder: Responder::new(Arc::clone(authorities), Arc::clone(&register), ccf_id),
            register,
            stapled: Mutex::default(),
        }
    }

    /// Whether a certificate of the CCF itself has had its response, and that one is not half through its life.
    pub(crate) fn is_stapled(&self, own: &Certificate) -> bool {
        let stapled = self.stapled.lock().unwrap_or_else(PoisonError::into_inner);
        stapled.as_ref().is_some_and(|(fingerprint, renew)| {
            *fingerprint == own.fingerprint && self.clock.now() < *renew
        })
    }

    /// The response for a certificate of the CCF itself, which is in no record.
    ///
    /// # Errors
    /// As [`Revocation::staple`].
    pub(crate) async fn staple_own(
        &self,
        own: &Certificate,
    ) -> Result<Option<Staple>, AuthorityError> {
        self.register.note_own(own);
        let staple = self.staple(own).await?;
        let renew = staple.as_ref().map(|staple| staple.renew);
        // Where there is none, it is asked for again as often.
        let renew = renew.unwrap_or(self.clock.now() + responder::LIFE / 2);
        let mut stapled = self.stapled.lock().unwrap_or_else(PoisonError::into_inner);
        *stapled = Some((own.fingerprint.clone(), renew));
        Ok(staple)
    }

    /// The revocation list of an authority (DER); nothing when there is no such authority, or its key is gone.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) async fn list(&self, authority: u32) -> Result<Option<Bytes>, AuthorityError> {
        self.lists.list(authority, self.clock.now()).await
    }

    /// Answers an OCSP request (DER).
    pub(crate) async fn answer(&self, request: &[u8]) -> Bytes {
        self.responder.answer(request, self.clock.now()).await
    }

    /// The response that goes along with a certificate; nothing when it is not in good standing, or of an outside authority.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) async fn staple(
        &self,
        certificate: &Certificate,
    ) -> Result<Option<Staple>, AuthorityError> {
        self.responder.staple(certificate, self.clock.now()).await
    }
}

#[cfg(test)]
mod tests;

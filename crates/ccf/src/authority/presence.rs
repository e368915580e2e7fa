//! How the CCF presents itself: the certificate that it shows as a server and as a client, and whom it believes. Both are
//! exchanged while it runs, when the authority changes or the certificate comes of age.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use capif_procedures::state::Certificate;
use capif_transport::{Acceptor, Anchors, Client, Identity, SharedClock, TlsError};
use time::{Duration, OffsetDateTime};

use super::{Authorities, AuthorityError, Own};
use crate::ccf::StartError;

/// The pause between two attempts to replace a certificate that has come of age.
const PAUSE: Duration = Duration::minutes(1);

/// Makes a client that shows this and believes those.
type MakeClient = Box<dyn Fn(Identity, Anchors) -> Result<Client, TlsError> + Send + Sync>;

/// The CCF as others see it.
pub(crate) struct Presence {
    authorities: Arc<Authorities>,
    clock: SharedClock,
    hosts: Vec<String>,
    acceptor: Arc<Acceptor>,
    own: ArcSwap<Own>,
    outgoing: Mutex<Vec<Arc<Outgoing>>>,
    /// Exchanges come one after the other. When one was last tried because the certificate had come of age.
    turn: tokio::sync::Mutex<Option<OffsetDateTime>>,
}

/// A client of the CCF, always the one that shows the certificate of now. Whoever sends takes it anew each time.
pub(crate) struct Outgoing {
    client: ArcSwap<Client>,
    make: MakeClient,
}

impl Outgoing {
    /// The client of now.
    pub(crate) fn client(&self) -> Client {
        Client::clone(&self.client.load())
    }
}

impl Presence {
    /// Makes out the first certificate, and the acceptor that shows it.
    ///
    /// # Errors
    /// When it cannot be made out or used.
    pub(crate) async fn begin(
        authorities: &Arc<Authorities>,
        clock: &SharedClock,
        hosts: Vec<String>,
        accept: impl FnOnce(Identity, Anchors) -> Result<Acceptor, TlsError>,
    ) -> Result<Self, StartError> {
        let now = clock.now();
        let own = authorities.own(&hosts, now).await?;
        let acceptor = accept(own.identity.clone(), authorities.anchors(now)?)?;
        Ok(Self {
            authorities: Arc::clone(authorities),
            clock: Arc::clone(clock),
            hosts,
            acceptor: Arc::new(acceptor),
            own: ArcSwap::from_pointee(own),
            outgoing: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// What takes connections.
    pub(crate) fn acceptor(&self) -> &Arc<Acceptor> {
        &self.acceptor
    }

    /// What is shown now.
    pub(crate) fn own(&self) -> Arc<Own> {
        self.own.load_full()
    }

    /// A client that is kept up to date.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn outgoing(
        &self,
        make: impl Fn(Identity, Anchors) -> Result<Client, TlsError> + Send + Sync + 'static,
    ) -> Result<Arc<Outgoing>, StartError> {
        let mut all = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        let anchors = self.authorities.anchors(self.clock.now())?;
        let client = make(self.own.load().identity.clone(), anchors)?;
        let outgoing = Arc::new(Outgoing {
            client: ArcSwap::from_pointee(client),
            make: Box::new(make),
        });
        all.push(Arc::clone(&outgoing));
        Ok(outgoing)
    }

    /// Shows a variant of what is shown now, such as one with a staple. Of what is not shown any more, nothing is.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(crate) async fn vary(&self, own: &Own, variant: Identity) -> Result<(), TlsError> {
        let _turn = self.turn.lock().await;
        if self.own.load().certificate.fingerprint != own.certificate.fingerprint {
            return Ok(());
        }
        self.acceptor.set_identity(variant)
    }

    /// Exchanges what has to be exchanged: everything when the authorities changed, the certificate at two thirds of its life.
    /// Says whether it was.
    ///
    /// # Errors
    /// When no certificate can be made out; then all stays as it is.
    pub(crate) async fn tend(&self) -> Result<bool, AuthorityError> {
        let mut tried = self.turn.lock().await;
        let now = self.clock.now();
        let own = self.own.load_full();
        if own.surroundings == self.authorities.surroundings(now) {
            let waits = tried.is_some_and(|last| last <= now && now < last + PAUSE);
            if waits || !self.is_due(&own, now) {
                return Ok(false);
            }
            *tried = Some(now);
        }
        let next = self.authorities.own(&self.hosts, now).await?;
        let anchors = self.authorities.anchors(now)?;
        self.show(next, &anchors)
            .map_err(|error| AuthorityError::Material(error.to_string()))?;
        Ok(true)
    }

    /// What it believes comes first: whoever sees the new certificate may already hold one of the new authority.
    fn show(&self, own: Own, anchors: &Anchors) -> Result<(), TlsError> {
        let outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        let clients = outgoing
            .iter()
            .map(|outgoing| (outgoing.make)(own.identity.clone(), anchors.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        self.acceptor.set_anchors(anchors.clone())?;
        self.acceptor.set_identity(own.identity.clone())?;
        for (outgoing, client) in outgoing.iter().zip(clients) {
            outgoing.client.store(Arc::new(client));
        }
        tracing::info!(
            authority = own.certificate.authority,
            certificate = %own.certificate.fingerprint,
            not_after = %own.certificate.not_after,
            "the core function shows a new certificate"
        );
        self.own.store(Arc::new(own));
        Ok(())
    }

    /// Whether two thirds of the life are over, and another certificate would end later.
    fn is_due(&self, own: &Own, now: OffsetDateTime) -> bool {
        is_of_age(&own.certificate, now) && self.authorities.outlasts(&own.certificate.not_after)
    }
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presence").finish_non_exhaustive()
    }
}

fn is_of_age(certificate: &Certificate, now: OffsetDateTime) -> bool {
    let Some(issued) = &certificate.issued else {
        return true;
    };
    now >= issued.0 + (certificate.not_after.0 - issued.0) * 2 / 3
}

//! The gateway's own certificates and whom it believes, while it runs.
//!
//! The core function says when certificates are to be renewed, names its roots, and says of the listener's certificate that it is
//! not revoked. Of one that says nothing the certificates themselves tell: two thirds of a life are enough. Processes that share a
//! folder renew once: whoever has its lock does, and the others take over what they find there. The listener goes on with the new
//! certificate from the next handshake on; open connections stay.
//!
//! Certificates that have ended are replaced by registering again, if there is a reusable bundle. Whose certificates were taken by
//! somebody else, who registered with the same bundle, does not take them back: two gateways would do so in turns for ever.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration as Time,
};

use capif_client::{Bundle, ErrorKind, Provider, Renewed, Standing};
use capif_spec::{common::DateTime, renewal::RenewalReason};
use capif_transport::{Acceptor, Fingerprint, SharedClock};
use time::{Duration, OffsetDateTime};
use tokio::{sync::Notify, time::Instant};

use crate::trust::Trust;

/// How often it is looked whether anything is due, or was done by another process.
const TICK: Time = Time::from_secs(1);

/// The pause between two renewals, whether they worked or not.
const PAUSE: Duration = Duration::seconds(60);

/// The pause between two attempts to show new certificates to the core function.
const SHOW_PAUSE: Time = Time::from_secs(10);

/// With how much life left a renewal that does not work is an alarm.
const ALARM_LIFE: Duration = Duration::days(7);

/// Keeps certificates and trust as they should be.
pub(crate) struct Upkeep {
    provider: Arc<Provider>,
    /// With what to register again.
    bundle: Option<Bundle>,
    clock: SharedClock,
    listener: OnceLock<Listener>,
    /// One question at a time, so that an older answer never replaces a newer one.
    following: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// Something was heard that does not wait for the next tick.
    heard: Notify,
}

/// Where certificate and roots are used.
struct Listener {
    trust: Arc<Trust>,
    acceptor: Arc<Acceptor>,
}

#[derive(Default)]
struct State {
    /// What the core function said last of the certificates that are in use.
    standing: Option<Standing>,
    /// What it said of the listener's certificate.
    staple: Option<(Fingerprint, Vec<u8>)>,
    /// What the listener shows.
    shown: Option<(Fingerprint, Option<Vec<u8>>)>,
    /// When was last renewed, or tried to.
    tried: Option<OffsetDateTime>,
    /// Whether that did not work.
    failed: bool,
    /// What was asked for then: something else that is asked for does not wait.
    served: Option<(RenewalReason, OffsetDateTime)>,
    /// Before when new certificates are not shown to the core function once more.
    rests: Option<Instant>,
    /// The folder could not be read.
    unread: bool,
    alarmed: bool,
    /// Somebody else has the certificates, outside of this folder.
    superseded: Option<Superseded>,
    /// The core function knows the certificates no more.
    refused: bool,
}

/// Somebody else has the certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superseded {
    /// Since when.
    pub(crate) since: OffsetDateTime,
    /// From when on those of this gateway count no more.
    pub(crate) until: OffsetDateTime,
}

impl Upkeep {
    pub(crate) fn new(provider: Arc<Provider>, bundle: Option<Bundle>, clock: SharedClock) -> Self {
        Self {
            provider,
            bundle,
            clock,
            listener: OnceLock::new(),
            following: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            heard: Notify::new(),
        }
    }

    /// Makes up for what was missed while nothing ran: before anything else is asked under certificates that may have to be
    /// replaced first.
    pub(crate) async fn catch_up(&self) {
        self.provider.activate().await;
        if let Err(error) = self.follow().await {
            tracing::warn!(%error, "the core function did not say how the certificates stand");
        }
        self.renew_if_due().await;
    }

    /// Makes a listener follow.
    pub(crate) fn lead(&self, trust: Arc<Trust>, acceptor: Arc<Acceptor>) {
        let _first = self.listener.set(Listener { trust, acceptor });
        self.show();
    }

    /// The SHA-256 of the certificate that the listener shows.
    pub(crate) fn certificate(&self) -> Fingerprint {
        let shown = self.state().shown.as_ref().map(|(shown, _)| *shown);
        shown.unwrap_or_else(|| self.provider.aef_identity().fingerprint())
    }

    /// Asks the core function how the certificates stand and whom to believe, and does so.
    pub(crate) async fn follow(&self) -> Result<(), capif_client::Error> {
        let _one_at_a_time = self.following.lock().await;
        let asked = self.provider.aef_identity().fingerprint();
        let standing = self.provider.standing().await;
        self.note_refused(standing.as_ref().err());
        let standing = standing?;
        if let Some(anchors) = &standing.anchors {
            self.provider.believe(anchors).await?;
        }
        if standing.superseded.is_some() && self.provider.reload()? {
            // Another process of this folder has them, and so has this one now.
            self.go_on();
        }
        // An answer about certificates that were replaced meanwhile says nothing of those that are in use.
        if self.provider.aef_identity().fingerprint() == asked {
            self.note_superseded(&standing);
            let mut state = self.state();
            state.staple = standing.ocsp_response.clone().map(|staple| (asked, staple));
            state.standing = Some(standing);
        }
        self.show();
        if self.due(self.clock.now()).is_some() {
            self.heard.notify_one();
        }
        Ok(())
    }

    /// Whether somebody else has the certificates.
    pub(crate) fn superseded(&self) -> Option<Superseded> {
        self.state().superseded
    }

    /// Notes whether certificates that have not ended count no more.
    fn note_refused(&self, error: Option<&capif_client::Error>) {
        let disowned = |error: &capif_client::Error| {
            error.kind() == ErrorKind::Authentication && !self.provider.has_ended()
        };
        match error {
            None => {
                if std::mem::take(&mut self.state().refused) {
                    tracing::info!(
                        target: "capif::alarm",
                        alarm = "refused",
                        ended = true,
                        "the core function takes this gateway's certificates again"
                    );
                }
            }
            Some(error) if disowned(error) => {
                let before = std::mem::replace(&mut self.state().refused, true);
                if !before {
                    tracing::error!(
                        target: "capif::alarm",
                        alarm = "refused",
                        %error,
                        "the core function does not take this gateway's certificates: another one registered with the same bundle, or the provider was removed"
                    );
                }
            }
            Some(_) => {}
        }
    }

    fn note_superseded(&self, standing: &Standing) {
        let Some((since, until)) = standing.superseded else {
            return;
        };
        let noted = Superseded { since, until };
        let before = self.state().superseded.replace(noted);
        if before.is_none() {
            tracing::error!(
                target: "capif::alarm",
                alarm = "superseded",
                since = %DateTime(since),
                until = %DateTime(until),
                "another gateway has registered as this provider and has its certificates: this one serves until its own count no more, and does not take them back; give both one --dir, or each a bundle of its own"
            );
        }
    }

    /// Runs until dropped.
    pub(crate) async fn run(&self) {
        loop {
            let _either = tokio::time::timeout(TICK, self.heard.notified()).await;
            self.tick().await;
        }
    }

    async fn tick(&self) {
        match self.provider.reload() {
            Ok(others) => {
                self.state().unread = false;
                if others {
                    tracing::info!("certificates that another process renewed are taken over");
                    self.go_on();
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.state().unread, true) {
                    tracing::error!(%error, "the folder of the provider cannot be read");
                }
            }
        }
        self.show();
        let now = Instant::now();
        let rests = self.state().rests.is_some_and(|until| now < until);
        if !rests && !self.provider.activate().await {
            self.state().rests = Some(Instant::now() + SHOW_PAUSE);
        }
        self.renew_if_due().await;
    }

    async fn renew_if_due(&self) {
        let now = self.clock.now();
        let Some(standing) = self.due(now) else {
            return;
        };
        self.state().tried = Some(now);
        let reason = standing.demand.as_ref().map(|(reason, _)| reason.clone());
        let reason = reason.unwrap_or(RenewalReason::Policy);
        let renewed = match &self.bundle {
            Some(bundle) if self.provider.has_ended() => self.provider.register_again(bundle).await,
            _ => self.provider.renew().await,
        };
        match renewed {
            Ok(by) => {
                tracing::info!(%reason, here = by == Renewed::Here, "this gateway's certificates are renewed");
                self.go_on();
                self.show();
                if let Err(error) = self.follow().await {
                    tracing::warn!(%error, "the core function did not say how the new certificates stand");
                }
            }
            Err(error) => {
                let left = standing.expires - now;
                tracing::warn!(%reason, %error, hours_left = left.whole_hours(), "this gateway's certificates were not renewed; it is tried again");
                let mut state = self.state();
                state.failed = true;
                if !state.alarmed && (left < ALARM_LIFE || standing.demand.is_some()) {
                    state.alarmed = true;
                    tracing::error!(
                        target: "capif::alarm",
                        alarm = "not-renewed",
                        hours_left = left.whole_hours(),
                        "this gateway's certificates cannot be renewed: when they end, it serves nobody"
                    );
                }
            }
        }
    }

    /// How the certificates stand, if they are to be renewed now.
    fn due(&self, now: OffsetDateTime) -> Option<Standing> {
        let state = self.state();
        if state.superseded.is_some() {
            return None;
        }
        // A clock that was put back is no reason to wait.
        let rests = |tried| (tried..tried + PAUSE).contains(&now);
        let told = state.standing.clone();
        let wanted = told.as_ref().and_then(|told| told.demand.as_ref());
        if state.tried.is_some_and(rests) && (state.failed || wanted == state.served.as_ref()) {
            return None;
        }
        drop(state);
        let standing = match told {
            Some(standing) => standing,
            None => self.provider.own_standing().ok()?,
        };
        (standing.renew_after <= now || self.provider.is_renewing()).then_some(standing)
    }

    /// Other certificates are in use: nothing is known of them yet.
    fn go_on(&self) {
        let mut state = self.state();
        state.served = state.standing.take().and_then(|standing| standing.demand);
        state.tried = Some(self.clock.now());
        state.failed = false;
        if state.superseded.take().is_some() {
            tracing::info!(
                target: "capif::alarm",
                alarm = "superseded",
                ended = true,
                "this gateway has the certificates of its provider again"
            );
        }
        if std::mem::take(&mut state.alarmed) {
            tracing::info!(
                target: "capif::alarm",
                alarm = "not-renewed",
                ended = true,
                "this gateway's certificates are renewed"
            );
        }
    }

    /// Has the listener show and believe what counts now.
    fn show(&self) {
        let Some(listener) = self.listener.get() else {
            return;
        };
        let mut state = self.state();
        if state
            .standing
            .as_ref()
            .is_some_and(|standing| standing.anchors.is_some())
        {
            listener.trust.follow(self.provider.anchors());
        }
        let identity = self.provider.aef_identity();
        let fingerprint = identity.fingerprint();
        let staple = state.staple.clone();
        let staple = staple.and_then(|(of, staple)| (of == fingerprint).then_some(staple));
        let next = Some((fingerprint, staple.clone()));
        if state.shown == next {
            return;
        }
        let identity = match staple {
            Some(staple) => identity.with_ocsp(staple),
            None => identity,
        };
        match listener.acceptor.set_identity(identity) {
            Ok(()) => {
                tracing::info!(certificate = %fingerprint, "the listener shows its certificate");
                state.shown = next;
            }
            Err(error) => tracing::error!(%error, "the listener cannot show its new certificate"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

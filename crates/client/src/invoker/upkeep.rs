//! What an invoker does by itself so that its enrolment goes on: it asks how it stands, renews when it is time, and follows when
//! the core function's authority is replaced.
//!
//! It happens beside the calls. A call waits for it in two cases alone: what is in use is at its end, or the core function says
//! that nothing else counts before a renewal. Otherwise a failure is noted, tried again later, and nobody's business.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use capif_spec::{common::DateTime, renewal};
use http::StatusCode;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{
    Invoker, Shared,
    outlook::RenewalStatus,
    renewal::{Renewal, RenewalOptions},
    standing::{self, Standing},
    state::{Onboarded, State},
    trust::Trust,
};
use crate::{
    ccf::{Call, Ccf, encoded},
    error::Error,
    random,
};

const OPERATION: &str = "the question how the enrolment stands";

/// How old the last answer may be when an enrolment is opened.
const OLD: time::Duration = time::Duration::minutes(10);

/// How often a process that goes on asks.
const PERIOD: Duration = Duration::from_secs(600);

/// How often a core function is asked that has nothing to say.
const SILENT_PERIOD: Duration = Duration::from_secs(24 * 3600);

/// How long after a failure the next try may come; it doubles with each.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// How long after a failure a call waits for another try, when what is in use is at its end.
const PRESSING_PAUSE: Duration = Duration::from_secs(1);

/// When something was done, and when it may be done again.
pub(super) struct Upkeep {
    look: Mutex<OffsetDateTime>,
    tries: Mutex<Tries>,
    busy: AtomicBool,
    /// Whether the user was told what nothing here can help.
    warned: AtomicBool,
    /// Whether nothing is done without being asked for.
    rests: AtomicBool,
}

#[derive(Default)]
struct Tries {
    failures: u32,
    last: Option<Instant>,
}

impl Upkeep {
    /// When an enrolment is opened whose core function was last asked then.
    pub(super) fn since(asked: Option<&DateTime>) -> Self {
        let look = asked.map_or(OffsetDateTime::UNIX_EPOCH, |asked| {
            asked.0.checked_add(OLD).unwrap_or(asked.0)
        });
        Self {
            look: Mutex::new(look),
            tries: Mutex::default(),
            busy: AtomicBool::new(false),
            warned: AtomicBool::new(false),
            rests: AtomicBool::new(false),
        }
    }

    /// Whether it is time to ask; also when the clock was set back by more than the wait can be.
    fn wants_look(&self, now: OffsetDateTime) -> bool {
        let look = *self.look.lock().unwrap_or_else(PoisonError::into_inner);
        now >= look || look - now > SILENT_PERIOD * 2
    }

    fn looked(&self, now: OffsetDateTime, told: bool) {
        let period = random::about(if told { PERIOD } else { SILENT_PERIOD });
        *self.look.lock().unwrap_or_else(PoisonError::into_inner) = now + period;
    }

    fn tries(&self) -> std::sync::MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, well: bool) {
        let mut tries = self.tries();
        tries.failures = if well {
            0
        } else {
            tries.failures.saturating_add(1)
        };
        tries.last = Some(Instant::now());
    }

    /// Whether the last failure is long enough ago.
    fn may_try(&self, pressing: bool) -> bool {
        let tries = self.tries();
        let Some(last) = tries.last.filter(|_| tries.failures > 0) else {
            return true;
        };
        let pause = if pressing {
            PRESSING_PAUSE
        } else {
            let doubled = PAUSE * 2_u32.saturating_pow((tries.failures - 1).min(16));
            doubled.min(PAUSE_MAX)
        };
        last.elapsed() >= pause
    }
}

/// How often a request is repeated whose connection broke or did not come about.
const REPEATS_MAX: u32 = 5;

/// The pause before the first repetition; each later one is twice as long.
const REPEAT_PAUSE: Duration = Duration::from_millis(10);

/// How long after its beginning a request is still repeated.
const REPEAT_WITHIN: Duration = Duration::from_secs(2);

/// One request of a caller's, which may be repeated once under another standing.
pub(super) struct Turn {
    pub(super) standing: Arc<Standing>,
    helped: bool,
    begun: Instant,
    repeated: u32,
}

impl Invoker {
    /// How it stands, as far as it is known here: what the CAPIF core function said last, in this process or another. Nothing is
    /// sent.
    #[must_use]
    pub fn renewal_status(&self) -> RenewalStatus {
        match self.read_state() {
            Ok(Some((_, standing))) => standing.ends.status,
            _ => self.standing().ends.status.clone(),
        }
    }

    /// Asks the CAPIF core function how it stands, and takes over whom to believe. One that cannot say leaves everything as it is.
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn ask_renewal_status(&self) -> Result<RenewalStatus, Error> {
        let _one_at_a_time = self.shared.renewing.lock().await;
        self.follow().await?;
        self.look().await?;
        Ok(self.renewal_status())
    }

    /// Renews certificate and Onboard_Secret now, without offboarding (R-U-01). What is in use goes on counting meanwhile and for
    /// a while afterwards. A renewal whose answer was lost is repeated first.
    ///
    /// # Errors
    /// Says whether to try again, which repeats the same request, or that this CAPIF core function does not renew.
    pub async fn renew(&self, options: RenewalOptions) -> Result<Renewal, Error> {
        let renewed = {
            let _one_at_a_time = self.shared.renewing.lock().await;
            self.follow().await?;
            if !self.standing().ends.status.agreed {
                self.look().await?;
            }
            let begun = self.read_state()?.and_then(|(state, _)| {
                let asked = state.renewal.pending?;
                Some(RenewalOptions {
                    same_key: asked.key == state.key,
                    expires: asked.expires,
                })
            });
            let renewed = self.renew_now(&options).await?;
            match begun {
                // What was begun before had its answer; what is wanted now is something else.
                Some(begun) if begun != options => self.renew_now(&options).await?,
                _ => renewed,
            }
        };
        self.renew_keys().await?;
        Ok(renewed)
    }

    /// Does what is due and waits for it: asks how the enrolment stands if that is long ago, and renews if it is time. Calls do
    /// this by themselves and do not wait; a program that ends after a call can let it end in order.
    ///
    /// # Errors
    /// Says what did not work; what is in use goes on counting until it ends.
    pub async fn upkeep(&self) -> Result<Option<Renewal>, Error> {
        let result = self.care().await;
        // What is still to be done after all went well is not tried again at once.
        let now = self.shared.clock.now();
        let well = result.is_ok() && !self.standing().ends.wants_care(now);
        self.shared.upkeep.note(well);
        result
    }

    /// The same invoker, which from now on renews nothing by itself: for a program that only looks.
    #[must_use]
    pub fn without_upkeep(self) -> Self {
        self.shared.upkeep.rests.store(true, Ordering::Release);
        self
    }

    /// What is due, for a call that is about to be made.
    pub(super) async fn tend(&self) {
        if self.shared.upkeep.rests.load(Ordering::Acquire) {
            return;
        }
        let now = self.shared.clock.now();
        let standing = self.standing();
        let ends = &standing.ends;
        self.warn(&ends.status, now);
        let cares = ends.wants_care(now);
        if !cares && !self.shared.upkeep.wants_look(now) {
            return;
        }
        let pressing = cares && ends.is_pressing(now);
        if !self.shared.upkeep.may_try(pressing) {
            return;
        }
        if pressing {
            if let Err(error) = self.upkeep().await {
                tracing::warn!(invoker = %self.shared.id, %error, "the enrolment is at its end and was not renewed");
            }
            return;
        }
        if self.shared.upkeep.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.handle();
        tokio::spawn(async move {
            if let Err(error) = this.upkeep().await {
                tracing::warn!(invoker = %this.shared.id, %error, "the upkeep of the enrolment is tried again later");
            }
            this.shared.upkeep.busy.store(false, Ordering::Release);
        });
    }

    fn warn(&self, status: &RenewalStatus, now: OffsetDateTime) {
        if let Some(warning) = status.warning(now)
            && !self.shared.upkeep.warned.swap(true, Ordering::AcqRel)
        {
            tracing::warn!(invoker = %self.shared.id, "{warning}");
        }
    }

    /// A request that is about to be made.
    pub(super) fn turn(&self) -> Turn {
        Turn {
            standing: self.standing(),
            helped: false,
            begun: Instant::now(),
            repeated: 0,
        }
    }

    /// Whether a request that failed can be made again: under another standing, after a renewal that the core function insists on
    /// or that another process has made; or because the connection broke or did not come about, which does no harm to any of them:
    /// a few times within two seconds, so that neither one bad moment of the wire is noticed nor a core function that is down waited
    /// for.
    ///
    /// # Errors
    /// Says why the renewal did not work, or that the certificate has ended.
    pub(super) async fn helps(
        &self,
        turn: &mut Turn,
        failed: Option<&Error>,
    ) -> Result<bool, Error> {
        self.note_move(&turn.standing).await;
        let Some(error) = failed else {
            return Ok(false);
        };
        if matches!(error, Error::Broken { .. } | Error::Unreachable { .. }) {
            if turn.repeated == REPEATS_MAX || turn.begun.elapsed() > REPEAT_WITHIN {
                return Ok(false);
            }
            tokio::time::sleep(REPEAT_PAUSE * 2_u32.pow(turn.repeated)).await;
            turn.repeated += 1;
            turn.standing = self.standing();
            return Ok(true);
        }
        if turn.helped {
            return Ok(false);
        }
        let rests = self.shared.upkeep.rests.load(Ordering::Acquire);
        let insists = error.wants_renewal();
        if !insists && !error.disowns() && !matches!(error, Error::Untrusted { .. }) {
            return Ok(false);
        }
        turn.helped = true;
        {
            let _one_at_a_time = self.shared.renewing.lock().await;
            let followed = self.follow().await;
            let standing = self.standing();
            if standing.revision == turn.standing.revision {
                followed?;
                let status = &standing.ends.status;
                // A secret that ended may be refused without a word about it.
                let ended = error.disowns_secret() && status.agreed && !rests;
                if ended && let Err(error) = self.look().await {
                    tracing::debug!(%error, "the core function does not say whether the secret has ended");
                }
                let due = self.standing().ends.wants_care(self.shared.clock.now());
                if (insists && !rests) || (ended && due) {
                    self.renew_now(&RenewalOptions::default()).await?;
                }
            }
        }
        let standing = self.standing();
        if standing.revision == turn.standing.revision {
            return match standing.ends.ended(self.shared.clock.now()) {
                Some(ended) if error.disowns() => Err(Error::Expired {
                    address: standing.ccf.address().to_string(),
                    ended,
                }),
                _ => Ok(false),
            };
        }
        turn.standing = standing;
        Ok(true)
    }

    /// Puts on the disk where the core function is for good, if that was heard. Where it cannot be put there, it is heard again.
    async fn note_move(&self, heard: &Standing) {
        let Some(address) = heard.whereabouts.news() else {
            return;
        };
        let note = async {
            {
                let keystore = self.shared.keystore.lock().await?;
                let mut state = self.own_state(&keystore)?;
                state.move_to(&address);
                state.revision = state.revision.saturating_add(1);
                State::Onboarded(state).store(&keystore)?;
            }
            self.take_over(heard)
        };
        if let Err(error) = note.await {
            tracing::warn!(%address, %error, "the new address of the core function was not kept");
        }
    }

    /// Does what is due.
    async fn care(&self) -> Result<Option<Renewal>, Error> {
        let renewed = {
            let _one_at_a_time = self.shared.renewing.lock().await;
            let followed = self.follow().await;
            let mut looked = Ok(());
            if self.shared.upkeep.wants_look(self.shared.clock.now()) {
                looked = self.look().await;
            }
            let now = self.shared.clock.now();
            let ends = &self.standing().ends;
            let renewed = if ends.status.agreed && ends.is_due(now) && !ends.status.unconfirmed {
                Some(self.renew_now(&RenewalOptions::default()).await?)
            } else {
                None
            };
            looked?;
            followed?;
            renewed
        };
        self.renew_keys().await?;
        Ok(renewed)
    }

    /// Negotiates anew where keys were agreed on under a certificate that was replaced.
    async fn renew_keys(&self) -> Result<(), Error> {
        let _one_at_a_time = self.shared.negotiation.lock().await;
        self.reread()?;
        let wishes = self.held().outlived(self.standing().renewals);
        if wishes.is_empty() {
            return Ok(());
        }
        self.negotiate_now(&wishes).await.map(drop)
    }

    /// Takes over what another process, or this one before, has put into the folder.
    pub(super) async fn follow(&self) -> Result<(), Error> {
        let before = self.standing();
        let Some((state, found)) = self.read_state()? else {
            return Err(self.replaced());
        };
        let adopts = state.renewal.former.is_some() || found.revision != before.revision;
        if !state.keys_left(&self.shared.keystore)?.is_empty() {
            let keystore = self.shared.keystore.lock().await?;
            self.own_state(&keystore)?.clear_keys(&keystore)?;
        }
        if adopts {
            self.adopt(&state).await?;
        }
        Ok(())
    }

    /// Asks how it stands.
    async fn look(&self) -> Result<(), Error> {
        let standing = self.standing();
        let status = self.ask_status(&standing.aside).await?;
        let trust = match &status {
            Some(status) => self.better_trust(&standing, &status.trust).await,
            None => None,
        };
        self.record(status.as_ref(), trust, None, &standing).await
    }

    /// `None` from a core function that has no such resource.
    pub(super) async fn ask_status(
        &self,
        ccf: &Ccf,
    ) -> Result<Option<renewal::RenewalStatus>, Error> {
        let path = format!("/capif-renewal/v1/{}", encoded(self.shared.id.as_str()));
        match ccf.send(Call::get(OPERATION, path)).await {
            Ok(answer) => answer.json().map(Some),
            Err(error) => match error.refused_with() {
                Some(
                    StatusCode::NOT_FOUND
                    | StatusCode::METHOD_NOT_ALLOWED
                    | StatusCode::NOT_IMPLEMENTED,
                ) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Whom to believe from now on, if that is not as before.
    async fn better_trust(&self, standing: &Standing, named: &renewal::TrustList) -> Option<Trust> {
        let unusable = |reason: String| {
            tracing::warn!(
                ccf = %standing.ccf.address(),
                reason,
                "what the core function says about whom to believe cannot be used"
            );
        };
        let before = &standing.trust;
        let named = Trust::named(named).map_err(unusable).ok()?;
        if named.is_same(before) {
            return None;
        }
        let changed = |trust: Trust| (!trust.is_same(before)).then_some(trust);
        let Ok(anchors) = named.anchors() else {
            return None;
        };
        let Ok(ccf) = standing.with_anchors(&anchors) else {
            unusable("it would leave nobody to believe".to_owned());
            return None;
        };
        match self.ask_status(&ccf).await {
            Ok(_) => changed(named),
            // Reached by an anchor of before, or not reached just now.
            Err(_) => changed(named.and_anchors_of(before)),
        }
    }

    /// Puts on the disk what was said, and works under it from now on.
    async fn record(
        &self,
        status: Option<&renewal::RenewalStatus>,
        trust: Option<Trust>,
        settles: Option<u64>,
        under: &Standing,
    ) -> Result<(), Error> {
        let now = DateTime(self.shared.clock.now());
        {
            let keystore = self.shared.keystore.lock().await?;
            let mut state = self.own_state(&keystore)?;
            let mut changed = false;
            if let Some(trust) = trust {
                trust.put(&mut state);
                changed = true;
            }
            if let Some(address) = under.whereabouts.news() {
                state.move_to(&address);
                changed = true;
            }
            if settles == Some(state.renewals) {
                changed |= state.renewal.former.take().is_some();
            }
            changed |= absorb(&mut state, status, now.clone());
            if changed {
                state.revision = state.revision.saturating_add(1);
            }
            let state = State::Onboarded(state);
            state.store(&keystore)?;
            if let State::Onboarded(state) = &state {
                state.clear_keys(&keystore)?;
            }
        }
        self.shared.upkeep.looked(now.0, status.is_some());
        self.take_over(under)
    }

    /// The core function has seen what is in use since a renewal.
    pub(super) async fn settle_renewal(
        &self,
        shown: &Standing,
        status: Option<renewal::RenewalStatus>,
    ) -> Result<(), Error> {
        let trust = match &status {
            Some(status) => self.better_trust(shown, &status.trust).await,
            None => None,
        };
        self.record(status.as_ref(), trust, Some(shown.renewals), shown)
            .await
    }

    /// Works under what the folder holds from now on, with the tokens that were fetched under the same certificate.
    pub(super) fn take_over(&self, under: &Standing) -> Result<(), Error> {
        let shared = &self.shared;
        let found = standing::read(&shared.keystore, &shared.clock, Some(under))?;
        let (_, found) = found.ok_or_else(|| self.replaced())?;
        if found.revision != self.standing().revision {
            shared.standing.store(Arc::new(found));
        }
        Ok(())
    }

    /// What the folder holds, if it is still this invoker's.
    pub(super) fn read_state(&self) -> Result<Option<(Box<Onboarded>, Standing)>, Error> {
        let shared = &self.shared;
        let found = standing::read(&shared.keystore, &shared.clock, Some(&self.standing()))?;
        Ok(found.filter(|(state, _)| state.details.api_invoker_id.as_ref() == Some(&shared.id)))
    }
}

/// Takes down what was said; says whether anything is new. A core function that says nothing leaves things as they are.
fn absorb(state: &mut Onboarded, status: Option<&renewal::RenewalStatus>, now: DateTime) -> bool {
    let record = &mut state.renewal;
    record.looked = Some(now);
    let Some(status) = status else {
        return std::mem::replace(&mut record.told, false);
    };
    let told = (
        true,
        status.secret_expires.clone(),
        Some(status.renew_after.clone()),
        status.demand.clone(),
    );
    let known = (
        record.told,
        record.secret_expires.clone(),
        record.renew_after.clone(),
        record.demand.clone(),
    );
    let enrolment = status.enrolment_expires.clone();
    let changed = told != known || enrolment != state.details.exp_time;
    (
        record.told,
        record.secret_expires,
        record.renew_after,
        record.demand,
    ) = told;
    state.details.exp_time = enrolment;
    changed
}

/// Looks after an enrolment in a process that goes on without calling, until nobody holds it any more.
pub(super) fn keep(shared: &Arc<Shared>) {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(random::about(PERIOD)).await;
            let Some(shared) = shared.upgrade() else {
                return;
            };
            Invoker { shared }.tend().await;
        }
    });
}

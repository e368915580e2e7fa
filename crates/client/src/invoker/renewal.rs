//! Renewal as the invoker sees it: another certificate and another Onboard_Secret for the same enrolment (R-U-01, R-U-04, R-U-07).
//!
//! No cut point may lock the invoker out, so everything is on the disk before it counts:
//!
//! 1. The new private key, then the request with the name of the renewal. From here on the very same request is repeated until
//!    there is an answer, by whichever process comes first.
//! 2. The answer, once it was found good: one replacement of the state names the new key and the new certificate, and keeps what
//!    was in use.
//! 3. The CAPIF core function sees the new certificate for the first time, and what was in use begins to retire there. Here it is
//!    forgotten, and its private key erased. Should the CAPIF core function not take the new certificate while it takes the
//!    former one, that is in use again.
//!
//! What the core function handed over counts from its answer on, and what was in use goes on counting meanwhile: nothing is
//! interrupted wherever this ends.

use capif_spec::{
    api_invoker_management::{
        ApiInvokerEnrolmentDetails, ApiInvokerEnrolmentDetailsPatch, OnboardingInformation,
    },
    common::{DateTime, Extra, SupportedFeatures},
    vendor::{EnrolmentTerms, RenewalTerms, RequestName},
};
use http::{Method, StatusCode};

use super::{
    Invoker,
    onboarding::{FEATURES, PATCH_UPDATE},
    standing::{Standing, certificate_of, two_thirds},
    state::{Asked, Former, Onboarded, State},
};
use crate::{
    ccf::{Answer, Call, encoded},
    error::Error,
    key,
    keystore::{KeystoreError, Locked},
    random,
};

pub(super) const OPERATION: &str = "the renewal";

/// What is wanted of a renewal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RenewalOptions {
    /// Whether the private key stays; a new one is made otherwise.
    pub same_key: bool,
    /// Until when the enrolment is to last; as it is if absent.
    pub expires: Option<DateTime>,
}

/// What a renewal brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Renewal {
    /// When the new certificate ends.
    pub certificate_expires: DateTime,
    /// When the new Onboard_Secret ends; never, as far as is known, if absent.
    pub secret_expires: Option<DateTime>,
    /// When the enrolment ends; never, as far as is known, if absent.
    pub enrolment_expires: Option<DateTime>,
    /// Whether the CAPIF core function has seen it in use; what was in use before then begins to retire.
    pub confirmed: bool,
}

/// What an invoker offers at the top of its requests.
pub(super) fn offer(attempt: Option<RequestName>) -> Extra {
    let mut extra = Extra::new();
    let terms = EnrolmentTerms {
        attempt,
        ..EnrolmentTerms::renewable()
    };
    terms.write(&mut extra);
    extra
}

/// Takes down what an answer says about renewal.
pub(super) fn note(state: &mut Onboarded, now: &DateTime) {
    let features = EnrolmentTerms::of(&state.details.extra).unwrap_or_default();
    let terms = RenewalTerms::of(&state.details.onboarding_information).unwrap_or_default();
    let record = &mut state.renewal;
    // A core function that merely repeats what was sent says nothing about ends.
    record.agreed = features.has_renewal() && terms.certificate_expires.is_some();
    record.secret_expires = terms.secret_expires.filter(|_| record.agreed);
    record.looked = Some(now.clone());
    record.demand = None;
    record.renew_after = key::life(certificate_of(&state.details))
        .ok()
        .map(|(begins, ends)| {
            let of_certificate = two_thirds(begins, ends);
            let of_secret = record.secret_expires.as_ref();
            let of_secret = of_secret.map(|ends| two_thirds(now.0, ends.0));
            DateTime(of_secret.map_or(of_certificate, |of_secret| of_secret.min(of_certificate)))
        });
}

impl Invoker {
    /// Renews once. The caller sees to it that it is the only one in this process.
    pub(super) async fn renew_now(&self, options: &RenewalOptions) -> Result<Renewal, Error> {
        let standing = self.standing();
        if !standing.ends.status.agreed {
            return Err(Error::NotRenewable {
                address: standing.ccf.address().to_string(),
                ends: standing.ends.status.certificate_expires.clone(),
            });
        }
        let state = loop {
            let (asked, begun) = self.prepare(options).await?;
            let state = match self.ask_for_renewal(&standing, &asked).await {
                Ok(answer) => self.accept(&asked, &answer).await,
                Err(error) => Err(error),
            };
            match state {
                Ok(state) => break state,
                Err(error) if is_final(&error) => {
                    self.withdraw(&asked).await?;
                    // What was begun under other circumstances may be out of place now; another request is not.
                    if !begun {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        };
        let adopted = self.adopt(&state).await;
        if let Err(error) = &adopted {
            tracing::warn!(invoker = %self.shared.id, %error, "the renewed certificate has not been seen in use yet");
        }
        let confirmed = adopted.is_ok();
        let status = self.read_state()?.map(|(_, standing)| standing.ends.status);
        let status = status.ok_or_else(|| self.replaced())?;
        tracing::info!(invoker = %self.shared.id, ends = %status.certificate_expires, confirmed, "renewed");
        Ok(Renewal {
            certificate_expires: status.certificate_expires,
            secret_expires: status.secret_expires,
            enrolment_expires: status.enrolment_expires,
            confirmed,
        })
    }

    /// Puts key and request on the disk, or finds them there; says which.
    async fn prepare(&self, options: &RenewalOptions) -> Result<(Asked, bool), Error> {
        let keystore = self.shared.keystore.lock().await?;
        let mut state = self.own_state(&keystore)?;
        if let Some(asked) = state.renewal.pending.take() {
            // Without its key nobody could use the answer.
            if keystore.key(&asked.key).is_ok_and(|key| key.is_some()) {
                return Ok((asked, true));
            }
        }
        let missing = || KeystoreError::Damaged {
            path: keystore.folder().to_owned(),
            reason: "the private key is missing".to_owned(),
        };
        let (name, key) = if options.same_key {
            let key = keystore.key(&state.key)?.ok_or_else(missing)?;
            (state.key.clone(), key)
        } else {
            let name = state.next_key();
            let key = keystore.make_key(&name)?;
            (name, key)
        };
        let asked = Asked {
            id: random::id()?,
            key: name,
            certificate_request: key
                .request(self.shared.id.as_str())
                .map_err(KeystoreError::Key)?,
            expires: options.expires.clone(),
        };
        state.renewal.pending = Some(asked.clone());
        State::Onboarded(state).store(&keystore)?;
        Ok((asked, false))
    }

    async fn ask_for_renewal(&self, standing: &Standing, asked: &Asked) -> Result<Answer, Error> {
        let mut extra = Extra::new();
        let terms = RenewalTerms {
            renewal: asked.id.parse().ok(),
            ..RenewalTerms::default()
        };
        terms.write(&mut extra);
        let information = OnboardingInformation {
            api_invoker_public_key: asked.certificate_request.clone(),
            api_invoker_certificate: None,
            onboarding_secret: None,
            onboarding_criteria: None,
            extra,
        };
        let path = format!(
            "/api-invoker-management/v1/onboardedInvokers/{}",
            encoded(&self.shared.onboarding_id)
        );
        let details = standing.details.as_ref();
        let agreed = details.supported_features.as_ref();
        let call = if agreed.is_some_and(|features| features.has(PATCH_UPDATE)) {
            let patch = ApiInvokerEnrolmentDetailsPatch {
                onboarding_information: Some(information),
                exp_time: asked.expires.clone().map(Some),
                extra: offer(None),
                ..ApiInvokerEnrolmentDetailsPatch::default()
            };
            Call::new(OPERATION, Method::PATCH, path).merge_patch(&patch)?
        } else {
            // An enrolment from before that was agreed on. The profile is said whole, so that nothing of it is taken away.
            let whole = ApiInvokerEnrolmentDetails {
                onboarding_information: information,
                exp_time: asked.expires.clone().or_else(|| details.exp_time.clone()),
                supported_features: Some(SupportedFeatures::from(FEATURES)),
                failure_reasons: None,
                extra: offer(None),
                ..details.clone()
            };
            Call::new(OPERATION, Method::PUT, path).json(&whole)?
        };
        standing.aside.send(call.advice(advice)).await
    }

    /// Checks an answer and puts it on the disk: from here on it is what the folder holds.
    async fn accept(&self, asked: &Asked, answer: &Answer) -> Result<Box<Onboarded>, Error> {
        let keystore = self.shared.keystore.lock().await?;
        let mut state = self.own_state(&keystore)?;
        let is_other = |pending: &Asked| pending.id != asked.id;
        if state.renewal.pending.as_ref().is_none_or(is_other) {
            // Another process had the same answer before, and has taken it in.
            return Ok(state);
        }
        let mut details: ApiInvokerEnrolmentDetails = answer.json()?;
        if details.api_invoker_id.as_ref() != Some(&self.shared.id) {
            return Err(answer.unusable("it is about another API invoker"));
        }
        let terms = RenewalTerms::of(&details.onboarding_information).unwrap_or_default();
        if terms.renewal.is_some_and(|id| id.as_str() != asked.id) {
            return Err(answer.unusable("it is about another renewal"));
        }
        self.check(&keystore, &state, asked, &details)?;
        let now = DateTime(self.shared.clock.now());
        // A core function that says nothing of a secret has left it as it was.
        let secret = details.onboarding_information.onboarding_secret.take();
        let kept = secret.is_none();
        let secret = secret.or_else(|| state.onboarding_secret.clone());
        let former = Former {
            key: std::mem::replace(&mut state.key, asked.key.clone()),
            details: std::mem::replace(&mut state.details, details),
            onboarding_secret: std::mem::replace(&mut state.onboarding_secret, secret),
            secret_expires: state.renewal.secret_expires.clone(),
        };
        let secret_expires = former.secret_expires.clone().filter(|_| kept);
        note(&mut state, &now);
        // It did renew, whatever it lists.
        state.renewal.agreed = true;
        if kept {
            state.renewal.secret_expires = secret_expires;
        }
        state.renewal.pending = None;
        state.renewal.former = Some(former);
        state.renewals = state.renewals.saturating_add(1);
        state.revision = state.revision.saturating_add(1);
        let state = State::Onboarded(state);
        state.store(&keystore)?;
        match state {
            State::Onboarded(state) => Ok(state),
            State::Pending(_) => Err(self.replaced()),
        }
    }

    /// Whether a certificate can be used: for the key, of this invoker, not expired, and vouched for like the one in use.
    fn check(
        &self,
        keystore: &Locked,
        state: &Onboarded,
        asked: &Asked,
        details: &ApiInvokerEnrolmentDetails,
    ) -> Result<(), Error> {
        let wrong = |reason| Error::WrongCertificate {
            address: state.address.clone(),
            who: format!("API invoker {}", self.shared.id),
            reason,
        };
        let certificate = certificate_of(details);
        let key = keystore.key(&asked.key)?;
        let key = key.ok_or_else(|| wrong("the private key for it is gone"))?;
        key.check(
            certificate,
            self.shared.id.as_str(),
            self.shared.clock.now(),
        )
        .map_err(wrong)?;
        let believed = |certificate| key::leads_to(certificate, &state.anchors_pem);
        if believed(certificate_of(&state.details)) && !believed(certificate) {
            return Err(wrong(
                "it does not lead to a root certificate that is believed",
            ));
        }
        Ok(())
    }

    /// Gives up a request that will never have an answer that can be used.
    async fn withdraw(&self, asked: &Asked) -> Result<(), Error> {
        let keystore = self.shared.keystore.lock().await?;
        let mut state = self.own_state(&keystore)?;
        let is_other = |pending: &Asked| pending.id != asked.id;
        if state.renewal.pending.as_ref().is_none_or(is_other) {
            return Ok(());
        }
        state.renewal.pending = None;
        let onboarded = State::Onboarded(state);
        onboarded.store(&keystore)?;
        match &onboarded {
            State::Onboarded(state) => state.clear_keys(&keystore),
            State::Pending(_) => Ok(()),
        }
    }

    /// Works under what the folder holds from now on. What the CAPIF core function has not seen yet it is shown first.
    ///
    /// # Errors
    /// As long as it cannot be shown, the standing in use stays, unless it is at its end.
    pub(super) async fn adopt(&self, state: &Onboarded) -> Result<(), Error> {
        let before = self.standing();
        if state.renewal.former.is_none() {
            return self.take_over(&before);
        }
        let keystore = &self.shared.keystore;
        let next = Standing::of(state, keystore, &self.shared.clock, Some(&before))?;
        match self.ask_status(&next.aside).await {
            Ok(status) => {
                // No call has to wait for the tokens that calls go by just now.
                let (ccf, id, clock) = (&next.ccf, &self.shared.id, &self.shared.clock);
                let secret = next.secret.as_ref();
                next.tokens
                    .warm(&before.tokens, ccf, id, secret, clock)
                    .await;
                self.settle_renewal(&next, status).await
            }
            Err(error) if error.disowns() => {
                if self.restore(state).await? {
                    return Err(error);
                }
                // Neither is accepted: that is not for a renewal to decide.
                self.take_over(&before)?;
                Err(error)
            }
            Err(error) => {
                if before.ends.is_pressing(self.shared.clock.now()) {
                    self.take_over(&before)?;
                }
                Err(error)
            }
        }
    }

    /// Goes back to what was in use before, if the CAPIF core function takes that; says whether it does.
    async fn restore(&self, refused: &Onboarded) -> Result<bool, Error> {
        let mut state = Box::new(refused.clone());
        let Some(former) = state.renewal.former.take() else {
            return Ok(false);
        };
        former.put(&mut state);
        let keystore = &self.shared.keystore;
        let before = Standing::of(&state, keystore, &self.shared.clock, None)?;
        match self.ask_status(&before.aside).await {
            Ok(_) => {}
            Err(error) if error.disowns() => return Ok(false),
            Err(error) => return Err(error),
        }
        let keystore = keystore.lock().await?;
        let mut state = self.own_state(&keystore)?;
        if state.renewals != refused.renewals {
            return Ok(false);
        }
        let Some(former) = state.renewal.former.take() else {
            return Ok(false);
        };
        tracing::warn!(
            invoker = %self.shared.id,
            "the renewed certificate is not accepted: the former one is in use again"
        );
        former.put(&mut state);
        state.revision = state.revision.saturating_add(1);
        let state = State::Onboarded(state);
        state.store(&keystore)?;
        if let State::Onboarded(state) = &state {
            state.clear_keys(&keystore)?;
        }
        drop(keystore);
        self.take_over(&self.standing())?;
        Ok(true)
    }
}

impl Former {
    fn put(self, state: &mut Onboarded) {
        state.key = self.key;
        state.details = self.details;
        state.onboarding_secret = self.onboarding_secret;
        state.renewal.secret_expires = self.secret_expires;
    }
}

/// Whether asking the very same again is of no use.
fn is_final(error: &Error) -> bool {
    match error {
        Error::BadAnswer { .. } | Error::WrongCertificate { .. } => true,
        Error::Refused { status, .. } => matches!(
            *status,
            StatusCode::BAD_REQUEST
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::CONFLICT
                | StatusCode::UNPROCESSABLE_ENTITY
                | StatusCode::NOT_IMPLEMENTED
        ),
        _ => false,
    }
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => {
            "it no longer accepts this certificate, which was replaced, revoked or offboarded: ask the API provider for a new \
             enrolment code"
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            "try again later, which repeats the same request"
        }
        status if status.is_server_error() => {
            "the fault is on its side: try again, which repeats the same request, and tell its operator if it stays"
        }
        _ => "check what was asked for; what is in use goes on counting until it ends",
    }
}

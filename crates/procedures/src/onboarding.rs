//! Onboarding of an API invoker (TS 33.122 clause 6.1, TS 23.222 clause 8.1, TS 29.222 clause 5.5.2.2).
//!
//! The credential is judged first, then the request; [`admit`] then says what may be certified, and
//! [`Admission::complete`] makes the one commit that brings profile, single use and event into the world together.
//! A refusal at any point leaves nothing behind.

mod criteria;
mod grant;
pub mod pending;
mod profile;
pub mod repetition;
mod tally;
pub mod update;

use capif_spec::{
    api_invoker_management::{ApiInvokerEnrolmentDetails, EnrolFailReason},
    common::{ApiInvokerId, DateTime, Redacted, SupportedFeatures, Uri},
    events::CapifEvent,
    vendor::{EnrolmentTerms, RequestName},
};

use self::{
    grant::wanted,
    profile::{Echo, Handed, granted_end, needs_secret, represent},
};
pub use self::{
    grant::{Denial, FailedCriteria},
    tally::Tally,
};
use crate::{
    changes::{Changes, Expect, Revision},
    delivery::{Delivery, agreed_features},
    discovery::Published,
    events::{self, Circle},
    refusal::Refusal,
    rotation::Terms,
    state::{
        ApiReach, Bars, Certificate, CertificateOrder, CredentialUse, Digest, Handover, Invoker,
        PendingEnrolment, PublicKey, RegisteredCredential, Renewal, Role, SealedKey, ServiceApi,
        Subscription,
    },
};

/// Features of the API invoker management API that are served (TS 29.222 table 8.4.6-1): bits 1 and 2, Notification_test_event
/// and Notification_websocket, 3, PatchUpdate, and 4, ExpirationTime.
pub const FEATURES: &str = "F";

/// The number of the feature that brings PATCH.
const PATCH_UPDATE: u32 = 3;

/// The number of the feature that brings `expTime`.
const EXPIRATION_TIME: u32 = 4;

/// How many APIs one request may ask for.
pub const APIS_MAX: usize = 256;

/// Of how many APIs one enrolment is told that it is counted for them.
const COUNTED_MAX: usize = 256;

/// An onboarding credential whose signature, issuer, audience and time were found good, or whose digest the provider had
/// handed over.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Who vouches for the holder.
    pub issuer: String,
    /// What marks it as used.
    pub single_use: Digest,
    /// When it ends.
    pub expires: DateTime,
    /// What its holder may reach.
    pub reach: ApiReach,
    /// The token's own digest when it was handed over in advance: that record goes with its use.
    pub registered: Option<Digest>,
    /// Whether the operator approves its holder.
    pub approval: bool,
}

impl Credential {
    /// The record of its use.
    #[must_use]
    pub fn used(&self) -> CredentialUse {
        CredentialUse {
            id: self.single_use.clone(),
            expires: self.expires.clone(),
        }
    }

    /// Uses it up.
    fn use_up(&self, changes: &mut Changes) {
        changes.put(&self.used(), Expect::Absent);
        if let Some(token) = &self.registered {
            changes.delete::<RegisteredCredential>(token.to_string(), Expect::Present);
        }
    }
}

/// An Onboard_Secret that was made out.
#[derive(Clone, Debug)]
pub struct NewSecret {
    /// The secret, which is in one answer and nowhere else in the clear.
    pub text: Redacted,
    /// Its digest.
    pub digest: Digest,
    /// The secret sealed for whoever asks again, see [`handover_purpose`].
    pub sealed: SealedKey,
}

/// What a secret is sealed for that is to be handed over again: this request of this invoker, and nothing else.
#[must_use]
pub fn handover_purpose(id: &ApiInvokerId, request: &str) -> String {
    format!("Onboard_Secret of {id}, request {request}")
}

/// The decision to onboard, before key and secret are made out.
#[derive(Debug)]
pub struct Admission {
    details: ApiInvokerEnrolmentDetails,
    credential: Credential,
    /// That it waited for the operator, if it did.
    approved: Option<Approved>,
    id: ApiInvokerId,
    order: CertificateOrder,
    reach: ApiReach,
    refused: Vec<EnrolFailReason>,
    failed: Option<FailedCriteria>,
    needs_secret: bool,
    enrolment: EnrolmentTerms,
    delivery: Delivery,
    features: Option<SupportedFeatures>,
    expires: Option<DateTime>,
    terms: Terms,
}

/// That the operator approved an onboarding.
#[derive(Debug)]
struct Approved {
    /// The commit that wrote what waited.
    revision: Revision,
    /// Until when the answer can be had by asking again.
    until: DateTime,
}

/// Who asks to be onboarded, once its credential and its key were judged.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What opens the door.
    pub credential: Credential,
    /// The key to certify.
    pub public_key: PublicKey,
    /// The id that it is to have.
    pub id: ApiInvokerId,
}

/// Decides whether an invoker is onboarded. `apis` are all published APIs.
///
/// # Errors
/// Refuses members that cannot be, and wishes of which nothing can be granted.
pub fn admit<'a>(
    details: ApiInvokerEnrolmentDetails,
    candidate: Candidate,
    apis: impl Published<'a>,
    terms: &Terms,
    now: &DateTime,
) -> Result<Admission, Denial> {
    let Candidate {
        credential,
        public_key,
        id,
    } = candidate;
    if details.api_invoker_id.is_some() {
        return Err(Refusal::incorrect(
            "/apiInvokerId",
            "`apiInvokerId` is given by the CAPIF core function: leave it out",
        )
        .into());
    }
    let enrolment = enrolment_terms(&details)?;
    let criteria = details.onboarding_information.onboarding_criteria.as_ref();
    let grant = grant::grant(
        &credential.reach,
        wanted(details.api_list.as_ref())?,
        criteria.map(Vec::as_slice).unwrap_or_default(),
        apis.clone(),
    )?;
    let features = details
        .supported_features
        .as_ref()
        .map(|wanted| agreed_features(wanted, FEATURES));
    let delivery = Delivery {
        test: details.request_test_notification,
        websocket: details.websock_notif_config.clone(),
    };
    let delivery = delivery.agree(features.as_ref(), None)?;
    let has_time = features
        .as_ref()
        .is_some_and(|features| features.has(EXPIRATION_TIME));
    let asked = details.exp_time.as_ref().filter(|_| has_time);
    let expires = granted_end(asked, terms.enrolment_life, now)?;
    let order = CertificateOrder::new(id.as_str(), Role::ApiInvoker, public_key, Vec::new());
    Ok(Admission {
        needs_secret: needs_secret(&grant.reach, apis),
        order: order.ending(expires.clone()),
        details,
        credential,
        approved: None,
        id,
        reach: grant.reach,
        refused: grant.refused,
        failed: grant.failed,
        enrolment,
        delivery,
        features,
        expires,
        terms: *terms,
    })
}

fn enrolment_terms(details: &ApiInvokerEnrolmentDetails) -> Result<EnrolmentTerms, Refusal> {
    EnrolmentTerms::of(&details.extra)
        .map_err(|violation| Refusal::incorrect(violation.pointer, violation.reason))
}

impl Admission {
    /// What the certificate authority is to sign.
    #[must_use]
    pub fn order(&self) -> &CertificateOrder {
        &self.order
    }

    /// Whether an Onboard_Secret is due.
    #[must_use]
    pub fn needs_secret(&self) -> bool {
        self.needs_secret
    }

    /// Whether the same request can be sent again, and be answered then.
    #[must_use]
    pub fn can_be_fetched(&self) -> bool {
        self.enrolment.attempt.is_some()
    }

    /// Where the invoker is told of the outcome.
    #[must_use]
    pub fn told_at(&self) -> &Uri {
        &self.details.notification_destination
    }

    /// What the requester calls its attempt: the secret is sealed for it.
    #[must_use]
    pub fn attempt(&self) -> Option<&RequestName> {
        self.enrolment.attempt.as_ref()
    }

    /// Makes the commit and the answer. `secret` is the Onboard_Secret, when one is due; `tally` counts the enrolments so far.
    #[must_use]
    pub fn complete<'a>(
        self,
        certificate: Certificate,
        secret: Option<NewSecret>,
        apis: impl Published<'a>,
        subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
        tally: &Tally,
        now: DateTime,
    ) -> (Changes, ApiInvokerEnrolmentDetails) {
        let details = self.details;
        let information = details.onboarding_information;
        let approved = self.approved;
        let agreed = self.enrolment.has_renewal();
        let (text, digest, sealed) = match secret {
            Some(secret) => (Some(secret.text), Some(secret.digest), Some(secret.sealed)),
            None => (None, None, None),
        };
        // A secret that cannot be renewed stays for as long as the enrolment does (TS 33.122 clause 6.1).
        let secret_expires = digest
            .as_ref()
            .filter(|_| agreed)
            .map(|_| ends(now.0.saturating_add(self.terms.secret_life), &self.expires));
        let public_key_text = information.api_invoker_public_key;
        let handover = self.enrolment.attempt.map(|attempt| {
            Box::new(Handover {
                request: attempt.to_string(),
                credential: Some(self.credential.single_use.clone()),
                public_key_text: Digest::of(public_key_text.as_bytes()),
                secret: sealed,
                until: approved.as_ref().map(|approved| approved.until.clone()),
            })
        });
        let invoker = Invoker {
            id: self.id.clone(),
            public_key_text: public_key_text.into(),
            onboard_secret: digest,
            notification_destination: details.notification_destination,
            websocket_uri: self.delivery.websocket_uri().cloned(),
            information: details.api_invoker_information,
            reach: self.reach,
            allowance: Some(self.credential.reach.clone()),
            features: self
                .features
                .clone()
                .unwrap_or_else(|| SupportedFeatures::from("0")),
            onboarded: now.clone(),
            issuer: self.credential.issuer.clone(),
            bars: Bars::default(),
            secret_expires,
            expires: self.expires,
            renewal: Renewal {
                agreed,
                handover,
                ..Renewal::default()
            },
            criteria: information.onboarding_criteria.unwrap_or_default(),
            approval: self.credential.approval,
            certificate,
        };

        let mut changes = Changes::new();
        match approved {
            // The credential was used up when the onboarding began to wait.
            Some(approved) => {
                let held = Expect::At(approved.revision);
                changes.delete::<PendingEnrolment>(self.id.as_str(), held);
            }
            None => self.credential.use_up(&mut changes),
        }
        changes.put(&invoker, Expect::Absent);
        let circle = Circle::of(&invoker.reach, None, apis.clone());
        events::raise(
            &mut changes,
            events::of_invoker(CapifEvent::ApiInvokerOnboarded, &self.id, circle),
            subscriptions.clone(),
            &now,
        );
        if let Some(failed) = &self.failed {
            failed.raise(&mut changes, Some(&self.id), subscriptions.clone(), &now);
        }
        let reached = Reached {
            before: None,
            after: &invoker.reach,
            tally,
        };
        reached.raise(&mut changes, apis.clone(), subscriptions, &now);

        let echo = Echo {
            of_details: details.extra,
            of_information: information.extra,
            asked_features: self.enrolment.features.is_some(),
            features: self.features,
            test: self.delivery.test,
        };
        let answer = represent(&invoker, in_use(&invoker, text), echo, self.refused, apis);
        (changes, answer)
    }
}

/// What an enrolment reaches, and what it reached before.
struct Reached<'a> {
    before: Option<&'a ApiReach>,
    after: &'a ApiReach,
    /// The enrolments without the change.
    tally: &'a Tally,
}

impl Reached<'_> {
    /// Tells those who count enrolments of the APIs that are reached now and were not before
    /// (SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT).
    fn raise<'a>(
        &self,
        changes: &mut Changes,
        apis: impl Published<'a>,
        subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
        now: &DateTime,
    ) {
        let event = CapifEvent::ServiceApiOnboardedByApiInvokersCount;
        let counts =
            |subscription: &&Subscription| subscription.subscription.events.contains(&event);
        let counting: Vec<&Subscription> = subscriptions.filter(counts).collect();
        if counting.is_empty() {
            return;
        }
        let is_new = |api: &&ServiceApi| !self.before.is_some_and(|before| before.includes(api));
        let is_asked_for = |api: &&ServiceApi| {
            let mut counting = counting.iter();
            counting.any(|subscription| subscription.reach.includes(api))
        };
        let counts: Vec<(ServiceApi, u64)> = apis
            .within(self.after)
            .filter(is_new)
            .filter(is_asked_for)
            .take(COUNTED_MAX)
            .map(|api| (api.clone(), self.tally.count(api).saturating_add(1)))
            .collect();
        if !counts.is_empty() {
            let occurrence = events::of_onboarded_counts(counts);
            events::raise(changes, occurrence, counting.into_iter(), now);
        }
    }
}

/// What an invoker uses now, as it is answered.
fn in_use(invoker: &Invoker, secret: Option<Redacted>) -> Handed<'_> {
    Handed {
        public_key_text: &invoker.public_key_text,
        certificate: &invoker.certificate,
        secret,
        secret_expires: invoker.secret_expires.as_ref(),
        renewal: None,
    }
}

/// A time, or the end of the enrolment if that is earlier.
fn ends(time: time::OffsetDateTime, enrolment: &Option<DateTime>) -> DateTime {
    let end = enrolment.as_ref().map_or(time, |end| end.0.min(time));
    DateTime(end)
}

#[cfg(test)]
mod tests;

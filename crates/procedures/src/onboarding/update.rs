//! Update of an enrolment by its API invoker, and with it the renewal of certificate and Onboard_Secret (TS 29.222 clause 5.5.2.5,
//! TS 23.222 clause 8.26, R-U-01).
//!
//! PUT says the whole of the profile, PATCH what is to change. Either way [`plan`] decides what becomes of it and what must be
//! certified, and [`Plan::complete`] makes the commit and the answer.
//!
//! Key, certificate and secret stay what they are (TS 29.222 clause 5.5.2.5.2), unless the invoker agreed to the feature `renewal`
//! of this product's own (D-21). Then another key, or a name for a renewal, asks for new ones. They are handed over beside those in
//! use; [`crate::rotation`] says what counts when. The same request under the same name gets the same answer.

use std::collections::BTreeSet;

use capif_spec::{
    api_invoker_management::{
        ApiInvokerEnrolmentDetails, ApiInvokerEnrolmentDetailsPatch, ApiList, EnrolFailReason,
        OnboardingCriteria, OnboardingInformation,
    },
    common::{ApiInvokerId, DateTime, Extra, Redacted, SupportedFeatures, Uri},
    vendor::{EnrolmentTerms, RenewalTerms, RequestName},
};

use super::{
    Denial, EXPIRATION_TIME, FEATURES, FailedCriteria, NewSecret, PATCH_UPDATE, Reached, Tally,
    grant::{self, Grant, grows},
    pending::{self, Queue},
    profile::{self, Echo, Handed, granted_end, needs_secret},
};
use crate::{
    changes::{Changes, Expect, Versioned},
    delivery::{Delivery, agreed_features},
    discovery::Published,
    events::Circle,
    refusal::Refusal,
    rotation::{self, Around, Ended, Fingerprints, Standing, Terms},
    state::{
        Certificate, CertificateOrder, Digest, Handover, Invoker, PendingEnrolment, PendingWish,
        PublicKey, Role, Subscription, Successor,
    },
};

/// What an update asks for, by whichever operation. What is `None` stays as it is.
#[derive(Clone, Debug)]
pub struct Wish {
    id: Option<ApiInvokerId>,
    information: Option<OnboardingInformation>,
    destination: Option<Uri>,
    api_list: Option<Option<ApiList>>,
    about: Option<Option<String>>,
    ends: Option<Option<DateTime>>,
    features: Option<SupportedFeatures>,
    /// How it wants to be notified.
    delivery: Option<Delivery>,
    is_patch: bool,
    /// Key, certificate and secret stay, whatever the information says.
    keeps: bool,
    extra: Extra,
}

impl From<ApiInvokerEnrolmentDetails> for Wish {
    /// PUT: whatever is left out is taken away.
    fn from(details: ApiInvokerEnrolmentDetails) -> Self {
        Self {
            id: details.api_invoker_id,
            information: Some(details.onboarding_information),
            destination: Some(details.notification_destination),
            api_list: Some(details.api_list),
            about: Some(details.api_invoker_information),
            ends: Some(details.exp_time),
            features: details.supported_features,
            delivery: Some(Delivery {
                test: details.request_test_notification,
                websocket: details.websock_notif_config,
            }),
            is_patch: false,
            keeps: false,
            extra: details.extra,
        }
    }
}

impl From<ApiInvokerEnrolmentDetailsPatch> for Wish {
    /// PATCH: whatever is left out stays (RFC 7396).
    fn from(patch: ApiInvokerEnrolmentDetailsPatch) -> Self {
        Self {
            id: None,
            information: patch.onboarding_information,
            destination: patch.notification_destination,
            api_list: patch.api_list.map(Some),
            about: patch.api_invoker_information.map(Some),
            ends: patch.exp_time,
            features: None,
            delivery: None,
            is_patch: true,
            keeps: false,
            extra: patch.extra,
        }
    }
}

impl Wish {
    /// The same, without a renewal.
    pub(super) fn keeping(self) -> Self {
        Self {
            keeps: true,
            ..self
        }
    }

    /// The request as it may wait: who approves it approves no key, certificate or secret.
    pub(super) fn kept(&self) -> PendingWish {
        let information = self.information.clone().map(|mut information| {
            pending::strip(&mut information);
            information
        });
        let api_list = self.api_list.clone().flatten().map(pending::names_of);
        let about = self.about.clone().flatten();
        match (&self.destination, information) {
            (Some(destination), Some(onboarding_information)) if !self.is_patch => {
                PendingWish::Replacement(Box::new(ApiInvokerEnrolmentDetails {
                    api_invoker_id: self.id.clone(),
                    onboarding_information,
                    notification_destination: destination.clone(),
                    request_test_notification: None,
                    websock_notif_config: self
                        .delivery
                        .as_ref()
                        .and_then(|delivery| delivery.websocket.clone()),
                    api_list,
                    api_invoker_information: about,
                    exp_time: self.ends.clone().flatten(),
                    supported_features: self.features.clone(),
                    failure_reasons: None,
                    extra: self.extra.clone(),
                }))
            }
            (destination, onboarding_information) => {
                PendingWish::Modification(Box::new(ApiInvokerEnrolmentDetailsPatch {
                    onboarding_information,
                    notification_destination: destination.clone(),
                    api_list,
                    api_invoker_information: about,
                    exp_time: self.ends.clone(),
                    extra: self.extra.clone(),
                }))
            }
        }
    }

    /// The criteria that it brings.
    fn criteria(&self) -> Option<Vec<OnboardingCriteria>> {
        let information = self.information.as_ref()?;
        let criteria = information.onboarding_criteria.clone();
        // What a PUT leaves out is taken away, what a PATCH does stays.
        if self.is_patch {
            criteria
        } else {
            Some(criteria.unwrap_or_default())
        }
    }
}

/// Whether the operator approves what asks for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Of the invokers alone whose onboarding was approved.
    AsOnboarded,
    /// Of every invoker.
    Always,
    /// It is given.
    Given,
}

/// A public key that was judged.
#[derive(Clone, Debug)]
pub struct JudgedKey {
    /// The key.
    pub key: PublicKey,
    /// Whether it came as a request that is signed with its private half (R-U-04).
    pub is_proved: bool,
}

/// What the edge does for an update.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Judges the text of a public key.
    pub judge: &'a dyn Fn(&str) -> Result<JudgedKey, Refusal>,
    /// Opens the secret of a handover, see [`super::handover_purpose`]; nothing when it was sealed by another key than the present.
    pub open: &'a dyn Fn(&Handover) -> Option<Redacted>,
    /// What counts when.
    pub terms: &'a Terms,
    /// As what the caller's certificate counts.
    pub standing: &'a Standing,
    /// Whether the operator has a say.
    pub approval: Approval,
    /// What of this invoker waits for the operator.
    pub pending: Option<&'a Versioned<PendingEnrolment>>,
    /// When.
    pub now: &'a DateTime,
}

/// What a commit and an answer are made from: what the authority made out for the plan's order.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: Certificate,
    /// The Onboard_Secret, if one is due.
    pub secret: Option<NewSecret>,
}

/// The decision on an update, before certificate and secret are made out.
#[derive(Debug)]
pub struct Plan {
    before: Versioned<Invoker>,
    updated: Invoker,
    step: Step,
    echo: Echo,
    terms: Terms,
    refused: Vec<EnrolFailReason>,
    failed: Option<FailedCriteria>,
    /// What is to wait for the operator before it is carried out.
    waits: Option<Wish>,
    /// What waited before.
    pending: Option<Versioned<PendingEnrolment>>,
    /// Whether it says anew which APIs are wanted, so that what waited is out of date.
    chooses: bool,
}

/// What becomes of certificate and secret.
#[derive(Debug)]
enum Step {
    /// Nothing.
    Keep,
    /// New ones are made out.
    Renew(Box<Due>),
    /// Those that were handed over last are handed over again, with the secret if there is one.
    Repeat(RequestName, Option<Redacted>),
}

#[derive(Debug)]
struct Due {
    name: RequestName,
    public_key_text: String,
    order: CertificateOrder,
    needs_secret: bool,
}

/// Decides on an update. `apis` are all published ones.
///
/// # Errors
/// Refuses what may not change, what is not agreed on, wishes beyond the credential, and keys that will not do.
pub fn plan<'a>(
    wish: &Wish,
    held: &Versioned<Invoker>,
    apis: impl Published<'a>,
    means: Means<'_>,
) -> Result<Plan, Denial> {
    if *means.standing == Standing::No {
        return Err(Refusal::CertificateUnknown.into());
    }
    let mut updated = held.record.clone();
    if wish.id.as_ref().is_some_and(|id| *id != updated.id) {
        return Err(Refusal::ModificationNotAllowed {
            member: "/apiInvokerId".to_owned(),
        }
        .into());
    }
    if let Some(features) = &wish.features {
        updated.features = agreed_features(features, FEATURES);
    }
    let enrolment = EnrolmentTerms::of(&wish.extra)
        .map_err(|violation| Refusal::incorrect(violation.pointer, violation.reason))?;
    updated.renewal.agreed |= enrolment.has_renewal();
    // Renewal is by PATCH, so that whoever agreed to it agreed to that.
    if wish.is_patch && !updated.features.has(PATCH_UPDATE) && !updated.renewal.agreed {
        return Err(Refusal::FeatureNotAgreed {
            feature: "PatchUpdate",
            member: "/supportedFeatures",
        }
        .into());
    }
    if let Some(destination) = &wish.destination {
        updated.notification_destination = destination.clone();
    }
    let mut test = None;
    if let Some(delivery) = &wish.delivery {
        let websocket = held.record.websocket_uri.as_ref();
        let agreed = delivery.clone().agree(Some(&updated.features), websocket)?;
        updated.websocket_uri = agreed.websocket_uri().cloned();
        test = agreed.test;
    }
    if let Some(about) = &wish.about {
        updated.information = about.clone();
    }
    if let (Some(asked), true) = (&wish.ends, updated.features.has(EXPIRATION_TIME))
        && *asked != updated.expires
    {
        updated.expires = granted_end(asked.as_ref(), means.terms.enrolment_life, means.now)?;
    }
    let grant = choose(wish, &mut updated, apis.clone())?;
    let step = step(wish, &updated, apis, means)?;
    if *means.standing == Standing::Restricted && matches!(step, Step::Keep) {
        return Err(Refusal::RenewalRequired.into());
    }
    let has_a_say = match means.approval {
        Approval::AsOnboarded => updated.approval,
        Approval::Always => true,
        Approval::Given => false,
    };
    let waits = has_a_say && grows(&held.record.reach, &updated.reach);
    if waits && !matches!(step, Step::Keep) {
        return Err(Refusal::incorrect(
            "/apiList",
            "more APIs wait for the operator's approval, and a renewal does not: ask for them in two requests",
        )
        .into());
    }
    let features = if wish.is_patch {
        Some(updated.features.clone())
    } else {
        wish.features.as_ref().map(|_| updated.features.clone())
    };
    let echo = Echo {
        of_details: wish.extra.clone(),
        of_information: wish
            .information
            .as_ref()
            .map(|information| information.extra.clone())
            .unwrap_or_default(),
        asked_features: enrolment.features.is_some(),
        features,
        test,
    };
    Ok(Plan {
        before: held.clone(),
        updated,
        step,
        echo,
        terms: *means.terms,
        refused: grant.refused,
        failed: grant.failed,
        waits: waits.then(|| wish.clone()),
        pending: means.pending.cloned(),
        chooses: wish.api_list.is_some(),
    })
}

/// Chooses anew among what the credential allows. The list that was answered, sent back as it is, changes nothing: what is
/// published later stays within reach.
fn choose<'a>(
    wish: &Wish,
    updated: &mut Invoker,
    apis: impl Published<'a>,
) -> Result<Grant, Denial> {
    let criteria = wish.criteria();
    let same_criteria = criteria
        .as_ref()
        .is_none_or(|criteria| *criteria == updated.criteria);
    let unchanged = |updated: &Invoker| Grant {
        reach: updated.reach.clone(),
        refused: Vec::new(),
        failed: None,
    };
    if wish.api_list.is_none() && same_criteria {
        return Ok(unchanged(updated));
    }
    let list = wish.api_list.as_ref().and_then(Option::as_ref);
    let named = list.and_then(|list| list.service_api_descriptions.as_ref());
    let named: BTreeSet<&String> = named
        .into_iter()
        .flatten()
        .map(|api| &api.api_name)
        .collect();
    let answered: BTreeSet<&String> = apis
        .within(&updated.reach)
        .take(profile::LIST_MAX)
        .map(|api| &api.description.api_name)
        .collect();
    if same_criteria && !named.is_empty() && named == answered {
        return Ok(unchanged(updated));
    }
    let wanted = match (&wish.api_list, &updated.reach.api_names) {
        (None, Some(names)) => names.clone(),
        _ => grant::wanted(list)?,
    };
    if let Some(criteria) = criteria {
        updated.criteria = criteria;
    }
    let allowance = updated.allowance.as_ref().unwrap_or(&updated.reach);
    let grant = grant::grant(allowance, wanted, &updated.criteria, apis)?;
    updated.reach = grant.reach.clone();
    Ok(grant)
}

/// Decides what becomes of certificate and secret.
fn step<'a>(
    wish: &Wish,
    updated: &Invoker,
    apis: impl Published<'a>,
    means: Means<'_>,
) -> Result<Step, Refusal> {
    let Some(information) = wish.information.as_ref().filter(|_| !wish.keeps) else {
        return Ok(Step::Keep);
    };
    let text = &information.api_invoker_public_key;
    let is_same = updated.public_key_text == **text;
    if !updated.renewal.agreed {
        return if is_same && is_unchanged(information, updated) {
            Ok(Step::Keep)
        } else {
            Err(Refusal::OnboardingInformationFixed)
        };
    }
    let terms = RenewalTerms::of(information).map_err(|violation| {
        let pointer = format!("/onboardingInformation{}", violation.pointer);
        Refusal::incorrect(pointer, violation.reason)
    })?;
    let digest = Digest::of(text.as_bytes());
    let handover = updated
        .renewal
        .handover
        .as_ref()
        .filter(|_| rotation::may_repeat(&updated.renewal, means.now));
    let name = match terms.renewal {
        Some(name) => name,
        // Without a name the key names the renewal: so does that of the last one, however it was called.
        None => match handover.filter(|held| held.public_key_text == digest) {
            Some(held) => name(&held.request)?,
            None if is_same => return Ok(Step::Keep),
            None => name(&digest.to_string())?,
        },
    };
    if let Some(held) = handover.filter(|held| held.request == name.as_str()) {
        if held.public_key_text != digest {
            return Err(Refusal::RenewalNameTaken);
        }
        if held.secret.is_none() {
            return Ok(Step::Repeat(name, None));
        }
        // A secret that does not open any more cannot be given again: another one is made.
        if let Some(secret) = (means.open)(held) {
            return Ok(Step::Repeat(name, Some(secret)));
        }
    }
    let key = (means.judge)(text)?;
    check_key(&key, updated)?;
    let order = CertificateOrder::new(updated.id.as_str(), Role::ApiInvoker, key.key, Vec::new());
    Ok(Step::Renew(Box::new(Due {
        name,
        public_key_text: text.clone(),
        order: order.ending(updated.expires.clone()),
        needs_secret: updated.onboard_secret.is_some() || needs_secret(&updated.reach, apis),
    })))
}

fn name(text: &str) -> Result<RequestName, Refusal> {
    text.parse()
        .map_err(|_| Refusal::incorrect("/onboardingInformation", "this renewal needs a name"))
}

/// Whether certificate and secret, where a request repeats them, are those in use (TS 29.222 clause 5.5.2.5.2).
fn is_unchanged(information: &OnboardingInformation, invoker: &Invoker) -> bool {
    let certificate = information.api_invoker_certificate.as_ref();
    let secret = information.onboarding_secret.as_ref();
    let secret = secret.map(|secret| Digest::of(secret.expose().as_bytes()));
    certificate.is_none_or(|text| text.trim() == invoker.certificate.pem.to_string().trim())
        && secret.is_none_or(|digest| Some(digest) == invoker.onboard_secret)
}

/// A key that is not certified now must be proved to be the caller's (R-U-04); one that may be in other hands is certified no more.
fn check_key(judged: &JudgedKey, invoker: &Invoker) -> Result<(), Refusal> {
    let renewal = &invoker.renewal;
    let retiring = renewal.retiring.iter().map(|old| &old.certificate);
    let mut known = std::iter::once(&invoker.certificate).chain(retiring);
    let digest = &judged.key.digest;
    if renewal.is_compromised() && known.any(|held| held.public_key == *digest) {
        return Err(Refusal::PublicKey(
            "it may be in other hands: make a new key pair".to_owned(),
        ));
    }
    if judged.is_proved || invoker.certificate.public_key == *digest {
        Ok(())
    } else {
        Err(Refusal::PublicKey(
            "a new key must come as a `CERTIFICATE REQUEST`, whose signature proves possession of the private key".to_owned(),
        ))
    }
}

impl Plan {
    /// What the certificate authority is to sign, if anything.
    #[must_use]
    pub fn order(&self) -> Option<&CertificateOrder> {
        match &self.step {
            Step::Renew(due) => Some(&due.order),
            Step::Keep | Step::Repeat(..) => None,
        }
    }

    /// What the Onboard_Secret is to be sealed for, if one is due.
    #[must_use]
    pub fn secret_purpose(&self) -> Option<String> {
        match &self.step {
            Step::Renew(due) if due.needs_secret => {
                Some(super::handover_purpose(&self.updated.id, due.name.as_str()))
            }
            _ => None,
        }
    }

    /// Whether certificate and secret are renewed, or handed over again.
    #[must_use]
    pub fn renews(&self) -> bool {
        !matches!(self.step, Step::Keep)
    }

    /// Whether it is to wait for the operator before it is carried out.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.waits.is_some()
    }

    /// Makes it wait; the profile stays as it is. Nothing to write if the same waits already.
    ///
    /// # Errors
    /// Refuses one too many, one too large, and what the operator has rejected before.
    pub fn postpone(self, queue: Queue, now: &DateTime) -> Result<Changes, Refusal> {
        let Some(wish) = &self.waits else {
            return Ok(Changes::new());
        };
        pending::postpone_update(wish, &self.before.record, self.pending.as_ref(), queue, now)
    }

    /// Makes commit and answer; beside them the certificates that ended. `issued` is what was made out for the order. `own` are the
    /// invoker's subscriptions, `around` holds those of everyone.
    ///
    /// # Errors
    /// Refuses when there is an order and nothing was made out for it.
    pub fn complete<'a, S>(
        self,
        issued: Option<Issued>,
        apis: impl Published<'a>,
        own: impl Iterator<Item = &'a Versioned<Subscription>>,
        mut around: Around<'a, S>,
        tally: &Tally,
        now: &DateTime,
    ) -> Result<(Changes, Fingerprints, ApiInvokerEnrolmentDetails), Refusal>
    where
        S: Iterator<Item = &'a Subscription> + Clone,
    {
        let Self {
            before,
            mut updated,
            step,
            echo,
            terms,
            refused,
            failed,
            pending,
            chooses,
            ..
        } = self;
        let mut ended = Vec::new();
        let (name, secret) = match step {
            Step::Keep => (None, None),
            Step::Repeat(name, secret) => (Some(name), secret),
            Step::Renew(due) => {
                let issued = issued.ok_or(Refusal::NotFound {
                    what: "certificate",
                })?;
                let (name, secret, replaced) = renew(&mut updated, *due, issued, &terms, now);
                ended = replaced;
                (Some(name), secret)
            }
        };
        if updated.reach != before.record.reach {
            let circle = Circle::of(&updated.reach, None, apis.clone());
            around.circle = around.circle.join(circle);
        }
        let subscriptions = around.subscriptions.clone();
        let (mut changes, fingerprints) = if updated == before.record {
            (Changes::new(), Vec::new())
        } else {
            rotation::conclude(&before, &updated, &ended, around, now)
        };
        if updated.reach != before.record.reach {
            for held in own {
                let mut subscription = held.record.clone();
                subscription.reach = updated.reach.clone();
                changes.put(&subscription, Expect::At(held.revision));
            }
        }
        if let Some(failed) = &failed {
            failed.raise(&mut changes, Some(&updated.id), subscriptions.clone(), now);
        }
        let reached = Reached {
            before: Some(&before.record.reach),
            after: &updated.reach,
            tally,
        };
        reached.raise(&mut changes, apis.clone(), subscriptions, now);
        if let Some(pending) = pending.filter(|_| chooses) {
            let expect = Expect::At(pending.revision);
            changes.delete::<PendingEnrolment>(pending.record.id.as_str(), expect);
        }
        // What was handed over last is what is answered, whether it is in use by now or not.
        let handed = match (&name, &updated.renewal.successor) {
            (Some(_), Some(next)) => Handed {
                public_key_text: &next.public_key_text,
                certificate: &next.certificate,
                secret,
                secret_expires: next.secret_expires.as_ref(),
                renewal: name.as_ref().map(|name| (name, terms.overlap)),
            },
            _ => Handed {
                renewal: name.as_ref().map(|name| (name, terms.overlap)),
                ..super::in_use(&updated, secret)
            },
        };
        let answer = profile::represent(&updated, handed, echo, refused, apis);
        Ok((changes, fingerprints, answer))
    }
}

fn renew(
    updated: &mut Invoker,
    due: Due,
    issued: Issued,
    terms: &Terms,
    now: &DateTime,
) -> (RequestName, Option<Redacted>, Vec<Ended>) {
    let (text, digest, sealed) = match issued.secret {
        Some(secret) => (Some(secret.text), Some(secret.digest), Some(secret.sealed)),
        None => (None, None, None),
    };
    let handover = Handover {
        request: due.name.to_string(),
        credential: None,
        public_key_text: Digest::of(due.public_key_text.as_bytes()),
        secret: sealed,
        until: None,
    };
    let successor = Successor {
        public_key_text: due.public_key_text.into(),
        certificate: issued.certificate,
        secret_expires: digest
            .as_ref()
            .map(|_| super::ends(now.0.saturating_add(terms.secret_life), &updated.expires)),
        onboard_secret: digest,
    };
    let ended = rotation::hand_over(updated, successor, terms.overlap, now);
    updated.renewal.handover = Some(Box::new(handover));
    (due.name, text, ended)
}

#[cfg(test)]
mod tests;

//! Update of an enrolment by its API invoker, and with it the renewal of certificate and Onboard_Secret (TS 29.222 clause 5.5.2.5,
//! TS 23.222 clause 8.26, R-U-01).
//!
//! PUT says the whole of the profile, PATCH what is to change. Either way [`plan`] decides what becomes of it and what must be
//! certified, and [`Plan::complete`] makes the commit and the answer.
//!
//! Key, certificate and secret stay what they are (TS 29.222 clause 5.5.2.5.2), unless the invoker agreed to the feature `renewal`
//! of this product's own (D-21). Then another key, or a name for a renewal, asks for new ones. They are handed over beside those in
//! use; [`crate::rotation`] says what counts when. The same request under the same name gets the same answer.

use capif_spec::{
    api_invoker_management::{
        ApiInvokerEnrolmentDetails, ApiInvokerEnrolmentDetailsPatch, ApiList, OnboardingInformation,
    },
    common::{ApiInvokerId, DateTime, Extra, Redacted, SupportedFeatures, Uri},
    vendor::{EnrolmentTerms, RenewalTerms, RequestName},
};

use super::{
    EXPIRATION_TIME, FEATURES, NewSecret, PATCH_UPDATE,
    profile::{self, Echo, Handed, granted_end, needs_secret},
};
use crate::{
    changes::{Changes, Expect, Versioned},
    refusal::Refusal,
    rotation::{self, Around, Ended, Fingerprints, Standing, Terms},
    state::{
        Certificate, CertificateOrder, Digest, Handover, Invoker, PublicKey, Role, ServiceApi,
        Subscription, Successor,
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
    is_patch: bool,
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
            is_patch: false,
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
            is_patch: true,
            extra: patch.extra,
        }
    }
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
    apis: impl Iterator<Item = &'a ServiceApi> + Clone,
    means: Means<'_>,
) -> Result<Plan, Refusal> {
    if *means.standing == Standing::No {
        return Err(Refusal::CertificateUnknown);
    }
    let mut updated = held.record.clone();
    if wish.id.as_ref().is_some_and(|id| *id != updated.id) {
        return Err(Refusal::ModificationNotAllowed {
            member: "/apiInvokerId".to_owned(),
        });
    }
    if let Some(features) = &wish.features {
        updated.features = features.intersect(&SupportedFeatures::from(FEATURES));
    }
    let enrolment = EnrolmentTerms::of(&wish.extra)
        .map_err(|violation| Refusal::incorrect(violation.pointer, violation.reason))?;
    updated.renewal.agreed |= enrolment.has_renewal();
    // Renewal is by PATCH, so that whoever agreed to it agreed to that.
    if wish.is_patch && !updated.features.has(PATCH_UPDATE) && !updated.renewal.agreed {
        return Err(Refusal::FeatureNotAgreed {
            feature: "PatchUpdate",
        });
    }
    if let Some(destination) = &wish.destination {
        updated.notification_destination = destination.clone();
    }
    if let Some(about) = &wish.about {
        updated.information = about.clone();
    }
    if let (Some(asked), true) = (&wish.ends, updated.features.has(EXPIRATION_TIME))
        && *asked != updated.expires
    {
        updated.expires = granted_end(asked.as_ref(), means.terms.enrolment_life, means.now)?;
    }
    if let Some(list) = &wish.api_list {
        narrow(&mut updated, list.as_ref(), apis.clone())?;
    }
    let step = step(wish, &updated, apis, means)?;
    if *means.standing == Standing::Restricted && matches!(step, Step::Keep) {
        return Err(Refusal::RenewalRequired);
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
    };
    Ok(Plan {
        before: held.clone(),
        updated,
        step,
        echo,
        terms: *means.terms,
    })
}

/// Chooses anew among what the credential allows. The list that was answered, sent back as it is, changes nothing: what is
/// published later stays within reach.
fn narrow<'a>(
    updated: &mut Invoker,
    list: Option<&ApiList>,
    apis: impl Iterator<Item = &'a ServiceApi>,
) -> Result<(), Refusal> {
    let wanted = profile::wanted(list)?;
    let answered = apis
        .filter(|api| updated.reach.includes(api))
        .map(|api| &api.description.api_name);
    if !wanted.is_empty()
        && wanted.iter().collect::<std::collections::BTreeSet<_>>() == answered.collect()
    {
        return Ok(());
    }
    let allowance = updated.allowance.as_ref().unwrap_or(&updated.reach);
    updated.reach = profile::reach(allowance, wanted)?;
    Ok(())
}

/// Decides what becomes of certificate and secret.
fn step<'a>(
    wish: &Wish,
    updated: &Invoker,
    apis: impl Iterator<Item = &'a ServiceApi>,
    means: Means<'_>,
) -> Result<Step, Refusal> {
    let Some(information) = &wish.information else {
        return Ok(Step::Keep);
    };
    let text = &information.api_invoker_public_key;
    let is_same = *text == updated.public_key_text;
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
            None => name(digest.as_str())?,
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
    certificate.is_none_or(|text| text.trim() == invoker.certificate.pem.trim())
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

    /// Makes commit and answer; beside them the certificates that ended. `issued` is what was made out for the order. `own` are the
    /// invoker's subscriptions, `around` holds those of everyone.
    ///
    /// # Errors
    /// Refuses when there is an order and nothing was made out for it.
    pub fn complete<'a, S>(
        self,
        issued: Option<Issued>,
        apis: impl Iterator<Item = &'a ServiceApi>,
        own: impl Iterator<Item = &'a Versioned<Subscription>>,
        around: Around<'a, S>,
        now: &DateTime,
    ) -> Result<(Changes, Fingerprints, ApiInvokerEnrolmentDetails), Refusal>
    where
        S: Iterator<Item = &'a Subscription>,
    {
        let Self {
            before,
            mut updated,
            step,
            echo,
            terms,
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
        let answer = profile::represent(&updated, handed, echo, apis);
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
    };
    let successor = Successor {
        public_key_text: due.public_key_text,
        certificate: issued.certificate,
        secret_expires: digest
            .as_ref()
            .map(|_| super::ends(now.0.saturating_add(terms.secret_life), &updated.expires)),
        onboard_secret: digest,
    };
    let ended = rotation::hand_over(updated, successor, terms.overlap, now);
    updated.renewal.handover = Some(handover);
    (due.name, text, ended)
}

#[cfg(test)]
mod tests;

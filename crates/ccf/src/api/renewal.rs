//! Renewal as the edge sees it: what is used for the first time takes effect, secrets that are handed over, and the status that
//! whoever holds a certificate asks for (R-U-01, R-U-02).

use base64::{Engine, prelude::BASE64_STANDARD};
use capif_procedures::{
    changes::Versioned,
    onboarding::{NewSecret, handover_purpose},
    refusal::Refusal,
    registration,
    rotation::{self, Around, Fingerprints, Lives, Standing},
    state::{
        Certificate, Demand, DemandReason, Digest, Handover, Invoker, ProviderFunction, Role,
        SealedKey,
    },
};
use capif_spec::{
    api_invoker_management::ApiInvokerEnrolmentDetails,
    common::{ApiInvokerId, DateTime, Redacted},
    renewal::{RenewalDemand, RenewalReason, RenewalStatus, Superseded, TrustList},
    vendor::EnrolmentTerms,
};
use http::StatusCode;

use super::{
    Answer, Call, RequestLine,
    identity::{Caller, Identified},
    json_answer,
    problem::ApiError,
};
use crate::{audit::Act, core::Core, random, sealing, view::Records};

/// The word of the audit trail for material that takes effect.
const ACTIVATION: &str = "activate-renewal";

/// Has what a caller shows for the first time take effect before its request is served. Whether anything changed. Of several
/// requests at once one does it, and the others find it done.
pub(super) async fn takes_effect(
    core: &Core,
    found: &Identified,
    line: &RequestLine,
) -> Result<bool, ApiError> {
    let Some(shown) = &found.shown else {
        return Ok(false);
    };
    let act = |id: &str| Act::by_caller(&found.caller, ACTIVATION, &line.request_id, id);
    match &found.caller {
        Caller::Anonymous => Ok(false),
        Caller::Invoker(invoker) if shown.standing == Standing::Successor => {
            let id = &invoker.record.id;
            activate(core, &act(id.as_str()), id, |invoker, now| {
                let terms = core.terms();
                rotation::standing(invoker, &shown.fingerprint, &terms, now) == Standing::Successor
            })
            .await?;
            Ok(true)
        }
        Caller::Invoker(invoker) => settle(core, invoker).await,
        Caller::Function(function) if shown.standing == Standing::Successor => {
            let id = function.record.id.as_str();
            activate_function(core, &act(id), &function.record, &shown.fingerprint).await?;
            Ok(true)
        }
        Caller::Function(_) => Ok(false),
    }
}

/// Has a new Onboard_Secret take effect that is used for the first time.
pub(super) async fn secret_takes_effect(
    call: &Call,
    invoker: &Versioned<Invoker>,
    secret: &Digest,
) -> Result<(), ApiError> {
    let core = &call.core;
    let terms = core.terms();
    let is_new = |invoker: &Invoker, now: &DateTime| {
        rotation::judge_secret(invoker, secret, &terms, now).0 == Standing::Successor
    };
    if !is_new(&invoker.record, &call.now) {
        return Ok(());
    }
    let id = &invoker.record.id;
    let act = Act::by_caller(&call.caller, ACTIVATION, &call.request_id, id.as_str());
    activate(core, &act, id, is_new).await
}

async fn activate(
    core: &Core,
    act: &Act,
    id: &ApiInvokerId,
    is_new: impl Fn(&Invoker, &DateTime) -> bool,
) -> Result<(), ApiError> {
    let ended = core
        .transact(act, |records| {
            let now = core.now();
            let invoker = records
                .invoker(id.as_str())
                .ok_or(Refusal::CertificateUnknown)?;
            if !is_new(&invoker.record, &now) {
                return Ok(Default::default());
            }
            let around = around(records, id);
            let overlap = core.terms().overlap;
            Ok(rotation::activate(invoker, around, overlap, &now).unwrap_or_default())
        })
        .await?;
    core.close_connections_under(&ended);
    Ok(())
}

async fn activate_function(
    core: &Core,
    act: &Act,
    function: &ProviderFunction,
    fingerprint: &Digest,
) -> Result<(), ApiError> {
    let ended: Fingerprints = core
        .transact(act, |records| {
            let now = core.now();
            let held = records
                .function(function.id.as_str())
                .ok_or(Refusal::CertificateUnknown)?;
            let of = &held.record;
            if rotation::accepts(&of.certificate, &of.renewal, fingerprint, &now)
                != Standing::Successor
            {
                return Ok(Default::default());
            }
            let overlap = core.terms().overlap;
            Ok(registration::activate(held, overlap, &now).unwrap_or_default())
        })
        .await?;
    core.close_connections_under(&ended);
    Ok(())
}

/// Forgets what an onboarding could be answered again from, once what it handed out is used.
async fn settle(core: &Core, invoker: &Versioned<Invoker>) -> Result<bool, ApiError> {
    if rotation::settle(invoker, &core.now()).is_none() {
        return Ok(false);
    }
    let id = invoker.record.id.as_str();
    core.tend(|records| {
        let invoker = records.invoker(id).ok_or(Refusal::CertificateUnknown)?;
        let changes = rotation::settle(invoker, &core.now());
        Ok((changes.unwrap_or_default(), ()))
    })
    .await?;
    Ok(true)
}

/// What there is besides an invoker that its renewal touches.
pub(super) fn around<'a>(
    records: &'a Records,
    id: &ApiInvokerId,
) -> Around<'a, impl Iterator<Item = &'a capif_procedures::state::Subscription> + Clone + use<'a>> {
    Around {
        context: records.context(id.as_str()).map(AsRef::as_ref),
        circle: records.circle(id.as_str()),
        subscriptions: records.listeners(id.as_str()),
    }
}

/// Makes an Onboard_Secret, sealed for whoever asks again.
pub(super) fn new_secret(core: &Core, purpose: &str) -> Result<NewSecret, ApiError> {
    let octets = random::secret()?;
    let text = random::secret_text(&octets);
    let sealed = core.sealing.seal(&octets, purpose);
    Ok(NewSecret {
        digest: Digest::of(text.expose().as_bytes()),
        text,
        sealed: SealedKey::new(sealed.ok_or(ApiError::Internal("a secret was not sealed"))?),
    })
}

/// Opens an Onboard_Secret that is to be handed over again.
pub(super) fn open_secret(core: &Core, id: &ApiInvokerId, handover: &Handover) -> Option<Redacted> {
    let sealed = handover.secret.as_ref()?;
    let purpose = handover_purpose(id, &handover.request);
    let opened = core.sealing.open(sealed.as_str(), &purpose);
    if opened.is_none() {
        tracing::error!(
            invoker = %id,
            "an Onboard_Secret does not open: {} was changed since",
            sealing::FILE
        );
    }
    Some(random::secret_text(&*opened?))
}

/// `GET capif-renewal/v1/{entityId}`.
pub(super) fn status(call: Call) -> Answer {
    Box::pin(async move {
        let core = &call.core;
        let now = &call.now;
        let held = match &call.caller {
            Caller::Anonymous => return Err(Refusal::CertificateRequired.into()),
            Caller::Invoker(invoker) => {
                let invoker = &invoker.record;
                Held {
                    certificate: &invoker.certificate,
                    secret_expires: invoker.secret_expires.as_ref(),
                    enrolment_expires: invoker.expires.as_ref(),
                    since: invoker.onboarded.clone(),
                    demand: invoker.renewal.demand.as_deref(),
                }
            }
            Caller::Function(function) => {
                let function = &function.record;
                let records = core.view.read();
                let domain = records.domain(function.domain_id.as_str());
                Held {
                    certificate: &function.certificate,
                    secret_expires: None,
                    enrolment_expires: None,
                    since: domain
                        .map_or_else(|| now.clone(), |domain| domain.record.registered.clone()),
                    demand: function.renewal.demand.as_deref(),
                }
            }
        };
        let shown = call.shown.as_ref().map(|shown| &shown.standing);
        let superseded = match shown {
            Some(Standing::Retiring { until }) => Some(Superseded {
                since: held
                    .certificate
                    .issued
                    .clone()
                    .unwrap_or(held.since.clone()),
                until: until.clone(),
                extra: Default::default(),
            }),
            _ => None,
        };
        let status = RenewalStatus {
            superseded,
            ocsp_response: staple(core, &call.caller).await,
            ..held.status(core, now)
        };
        json_answer(StatusCode::OK, &status)
    })
}

/// What an entity holds.
struct Held<'a> {
    certificate: &'a Certificate,
    secret_expires: Option<&'a DateTime>,
    enrolment_expires: Option<&'a DateTime>,
    since: DateTime,
    demand: Option<&'a Demand>,
}

impl Held<'_> {
    fn status(&self, core: &Core, now: &DateTime) -> RenewalStatus {
        // A demand of the authority's is written down nowhere: it follows from the certificate.
        let of_authority = core.authorities.demand(self.certificate);
        let demand = self.demand.or(of_authority.as_ref());
        let lives = Lives {
            certificate: self.certificate,
            secret_expires: self.secret_expires,
            since: &self.since,
            demand,
        };
        RenewalStatus {
            certificate_expires: self.certificate.not_after.clone(),
            secret_expires: self.secret_expires.cloned(),
            enrolment_expires: self.enrolment_expires.cloned(),
            renew_after: rotation::renew_after(lives, now),
            demand: demand.map(|demand| RenewalDemand {
                reason: reason(demand.reason),
                deadline: demand.deadline.clone(),
                extra: Default::default(),
            }),
            superseded: None,
            trust: trust(core, now),
            ocsp_response: None,
            extra: Default::default(),
        }
    }
}

/// What an AEF staples to its own certificate; without it, the certificate counts all the same.
async fn staple(core: &Core, caller: &Caller) -> Option<String> {
    let Caller::Function(function) = caller else {
        return None;
    };
    let function = &function.record;
    if function.role != Role::Aef {
        return None;
    }
    match core.revocation.staple(&function.certificate).await {
        Ok(staple) => staple.map(|staple| BASE64_STANDARD.encode(&staple.response)),
        Err(error) => {
            tracing::warn!(%error, "there is no OCSP response for an AEF");
            None
        }
    }
}

/// An answer to an onboarding with whom to believe, for who renews: while the authority is being replaced, the root that the
/// enrolment began with is not the only one, and an AEF may still show a certificate of the one before.
pub(super) fn with_trust(
    core: &Core,
    mut answer: ApiInvokerEnrolmentDetails,
    now: &DateTime,
) -> ApiInvokerEnrolmentDetails {
    let trust = trust(core, now);
    if let Ok(mut terms) = EnrolmentTerms::of(&answer.extra)
        && terms.has_renewal()
        && trust.anchors.len() > 1
    {
        terms.trust = Some(trust);
        terms.write(&mut answer.extra);
    }
    answer
}

/// Whom everyone is to trust.
fn trust(core: &Core, now: &DateTime) -> TrustList {
    core.authorities.trust(now)
}

fn reason(reason: DemandReason) -> RenewalReason {
    match reason {
        DemandReason::Policy => RenewalReason::Policy,
        DemandReason::Operator => RenewalReason::Operator,
        DemandReason::Compromise => RenewalReason::Compromise,
        DemandReason::Authority => RenewalReason::Authority,
    }
}

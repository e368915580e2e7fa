//! What an invoker shows and believes at one time: certificate, Onboard_Secret, trust anchors, and the clients made of them.
//!
//! A renewal, or a change of trust, puts another standing in its place. Whoever works under the old one finishes with it; its
//! connections end when nobody does.

use std::sync::{Arc, Mutex};

use capif_spec::{
    api_invoker_management::ApiInvokerEnrolmentDetails,
    common::{DateTime, Redacted},
    renewal::RenewalReason,
};
use capif_transport::{Anchors, Identity, SharedClock};
use time::{Duration, OffsetDateTime};

use super::{
    aefs::Aefs,
    outlook::RenewalStatus,
    state::{NAME, Onboarded, State},
    trust::Trust,
};
use crate::{
    address::Address,
    ccf::Ccf,
    error::Error,
    key,
    keystore::{Keystore, KeystoreError},
    token::Tokens,
    whereabouts::Whereabouts,
};

/// How long before its end material is at its end: from then on a renewal is waited for.
const MARGIN: Duration = Duration::minutes(5);

/// The part of a short life that is left then: a tenth.
const MARGIN_PART: i32 = 10;

/// How often the folder is read when another process changes it at the very moment.
const READS_MAX: u32 = 5;

/// One standing.
pub(super) struct Standing {
    /// Grows with each.
    pub(super) revision: u64,
    /// How often certificate and secret were replaced before.
    pub(super) renewals: u64,
    pub(super) details: Arc<ApiInvokerEnrolmentDetails>,
    pub(super) secret: Option<Redacted>,
    /// Over CAPIF-1/1e, with our certificate.
    pub(super) ccf: Ccf,
    /// The same for what is done beside the calls: a connection that breaks there is none of theirs.
    pub(super) aside: Ccf,
    /// The same for negotiations, each over a session of its own.
    pub(super) negotiator: Ccf,
    pub(super) negotiator_tls12: Ccf,
    /// Over CAPIF-2/2e.
    pub(super) aefs: Aefs,
    /// Fetched with this secret under this certificate.
    pub(super) tokens: Arc<Tokens>,
    pub(super) trust: Trust,
    /// Where the core function is.
    pub(super) whereabouts: Whereabouts,
    pub(super) ends: Ends,
}

/// Until when all of it counts, and what is to be done about it.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    begins: OffsetDateTime,
    certificate: OffsetDateTime,
    secret: Option<DateTime>,
    pub(super) status: RenewalStatus,
}

impl Ends {
    fn of(state: &Onboarded) -> Result<Self, &'static str> {
        let (begins, certificate) = key::life(certificate_of(&state.details))?;
        let record = &state.renewal;
        let first = record
            .secret_expires
            .as_ref()
            .map_or(certificate, |secret| secret.0.min(certificate));
        let renew_after = record
            .renew_after
            .clone()
            .unwrap_or_else(|| DateTime(two_thirds(begins, first)));
        Ok(Self {
            begins,
            certificate,
            secret: record.secret_expires.clone(),
            status: RenewalStatus {
                agreed: record.agreed || record.told,
                certificate_expires: DateTime(certificate),
                secret_expires: record.secret_expires.clone(),
                enrolment_expires: state.details.exp_time.clone(),
                renew_after,
                demand: record.demand.clone(),
                pending: record.pending.is_some(),
                unconfirmed: record.former.is_some(),
                asked: record.looked.clone(),
            },
        })
    }

    fn first(&self) -> OffsetDateTime {
        let secret = self.secret.as_ref().map(|secret| secret.0);
        secret.map_or(self.certificate, |secret| secret.min(self.certificate))
    }

    /// Whether a renewal is wanted: it is time, somebody asks for it, or one was begun.
    pub(super) fn is_due(&self, now: OffsetDateTime) -> bool {
        self.status.is_due(now) || self.is_pressing(now)
    }

    /// Whether there is anything to be done that a call need not wait for.
    pub(super) fn wants_care(&self, now: OffsetDateTime) -> bool {
        self.status.unconfirmed || (self.status.agreed && self.is_due(now))
    }

    /// Whether there is no time left: what is in use ends now, or has ended.
    pub(super) fn is_pressing(&self, now: OffsetDateTime) -> bool {
        let end = self.first();
        let margin = ((end - self.begins) / MARGIN_PART).clamp(Duration::ZERO, MARGIN);
        now >= end - margin
    }

    /// Whether the certificate can count no longer: its time is over, or that of the authority that signed it.
    pub(super) fn is_over(&self, now: OffsetDateTime) -> bool {
        let demand = self.status.demand.as_ref();
        let authority = demand.is_some_and(|demand| {
            demand.reason == RenewalReason::Authority && now >= demand.deadline.0
        });
        authority || now >= self.certificate
    }

    /// When the certificate ended, if it has.
    pub(super) fn ended(&self, now: OffsetDateTime) -> Option<DateTime> {
        (now >= self.certificate).then_some(DateTime(self.certificate))
    }
}

/// When two thirds of a life have passed.
pub(super) fn two_thirds(begins: OffsetDateTime, ends: OffsetDateTime) -> OffsetDateTime {
    begins + (ends - begins).max(Duration::ZERO) / 3 * 2
}

impl Standing {
    /// The standing that a state describes. Tokens fetched under the same certificate go on counting.
    pub(super) fn of(
        state: &Onboarded,
        keystore: &Keystore,
        clock: &SharedClock,
        before: Option<&Self>,
    ) -> Result<Self, Error> {
        let damaged = |reason: &str| KeystoreError::Damaged {
            path: keystore.folder().to_owned(),
            reason: reason.to_owned(),
        };
        let key = keystore
            .key(&state.key)?
            .ok_or_else(|| damaged("the private key is missing"))?;
        let certificate = certificate_of(&state.details);
        let identity = Identity::from_pem(certificate, key.pem())
            .map_err(|_| damaged("private key and certificate do not belong together"))?;
        let ends = Ends::of(state).map_err(damaged)?;
        let trust = Trust::of(state);
        let anchors = trust.anchors()?;
        let whereabouts = Whereabouts::from(state.address.parse::<Address>()?);
        let negotiator = |tls12_only| {
            Ccf::negotiating(
                whereabouts.clone(),
                anchors.clone(),
                identity.clone(),
                clock.clone(),
                tls12_only,
            )
        };
        let tokens = before
            .filter(|before| before.renewals == state.renewals)
            .map_or_else(Arc::default, |before| Arc::clone(&before.tokens));
        Ok(Self {
            revision: state.revision,
            renewals: state.renewals,
            details: Arc::new(state.details.clone()),
            secret: state.onboarding_secret.clone(),
            negotiator: negotiator(false)?,
            negotiator_tls12: negotiator(true)?,
            ccf: reach(&whereabouts, &anchors, &identity, clock)?,
            aside: reach(&whereabouts, &anchors, &identity, clock)?,
            aefs: Aefs {
                anchors,
                identity,
                clock: clock.clone(),
                clients: Mutex::default(),
            },
            tokens,
            trust,
            whereabouts,
            ends,
        })
    }

    /// The CAPIF core function as this invoker would see it with other anchors.
    pub(super) fn with_anchors(&self, anchors: &Anchors) -> Result<Ccf, Error> {
        let aefs = &self.aefs;
        reach(&self.whereabouts, anchors, &aefs.identity, &aefs.clock)
    }
}

fn reach(
    whereabouts: &Whereabouts,
    anchors: &Anchors,
    identity: &Identity,
    clock: &SharedClock,
) -> Result<Ccf, Error> {
    let identity = Some(identity.clone());
    Ccf::new(
        whereabouts.clone(),
        anchors.clone(),
        identity,
        clock.clone(),
    )
}

pub(super) fn certificate_of(details: &ApiInvokerEnrolmentDetails) -> &str {
    let information = &details.onboarding_information;
    let certificate = information.api_invoker_certificate.as_deref();
    certificate.unwrap_or_default()
}

/// What a folder holds, with the standing that it describes. A process that replaces key and state together may be at it just
/// now: then it is read again.
pub(super) fn read(
    keystore: &Keystore,
    clock: &SharedClock,
    before: Option<&Standing>,
) -> Result<Option<(Box<Onboarded>, Standing)>, Error> {
    let mut reads = 0;
    loop {
        let version = keystore.version(NAME)?;
        let Some(State::Onboarded(state)) = State::load(keystore)? else {
            return Ok(None);
        };
        reads += 1;
        match Standing::of(&state, keystore, clock, before) {
            Ok(standing) => return Ok(Some((state, standing))),
            Err(error) if reads >= READS_MAX || keystore.version(NAME)? == version => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
}

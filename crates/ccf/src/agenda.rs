//! What time does to whom, in order, so that looking for what is due costs nothing however many entities there are.
//!
//! Fed by the view, entity by entity. What is to be done stays until the record no longer asks for it: doing it twice is harmless,
//! and what came due while nobody ran is found at the next start.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

use capif_procedures::{
    changes::Kind,
    rotation,
    state::{Certificate, Invoker, PendingEnrolment, ProviderFunction, Renewal},
};
use capif_spec::common::DateTime;
use time::{Duration, OffsetDateTime};

/// What is to be done when a moment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// Old material counts no more.
    Retirement,
    /// An enrolment ends, or has waited too long for the operator.
    Expiry,
    /// A demand was not followed, and nothing was done about it.
    Deadline,
    /// A demand was not followed by one that can do nothing else already.
    Lapse,
    /// A person should know of it.
    Warning,
}

/// An entity and a moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When.
    pub at: OffsetDateTime,
    /// API invoker, provider function, or what waits for the operator.
    pub kind: Kind,
    /// Its id.
    pub id: Arc<str>,
}

/// All moments of all entities.
#[derive(Debug, Default)]
pub struct Agenda {
    retirements: BTreeSet<Due>,
    expiries: BTreeSet<Due>,
    deadlines: BTreeSet<Due>,
    lapses: BTreeSet<Due>,
    warnings: BTreeSet<Due>,
}

impl Agenda {
    /// What is due in a matter, the oldest first.
    pub fn due(&self, matter: Matter, now: OffsetDateTime) -> impl Iterator<Item = &Due> {
        let moments = self.of(matter).iter();
        moments.take_while(move |due| due.at <= now)
    }

    /// What came due in a matter since a moment, of which itself was looked at before.
    pub fn due_since(
        &self,
        matter: Matter,
        since: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> impl Iterator<Item = &Due> {
        // An instant after every entity of that moment: entities compare after times.
        let from = since.map_or(Unbounded, |since| {
            Included(Due {
                at: since.saturating_add(Duration::nanoseconds(1)),
                kind: Kind::CredentialUse,
                id: Arc::from(""),
            })
        });
        let to = Excluded(Due {
            at: now.saturating_add(Duration::nanoseconds(1)),
            kind: Kind::CredentialUse,
            id: Arc::from(""),
        });
        let is_empty = since.is_some_and(|since| since >= now);
        let range = (!is_empty).then(|| self.of(matter).range((from, to)));
        range.into_iter().flatten()
    }

    /// The first moment of all that is to be done.
    #[must_use]
    pub fn first(&self) -> Option<OffsetDateTime> {
        [
            &self.retirements,
            &self.expiries,
            &self.deadlines,
            &self.lapses,
            &self.warnings,
        ]
        .into_iter()
        .filter_map(|moments| moments.first().map(|due| due.at))
        .min()
    }

    pub(crate) fn add_invoker(&mut self, invoker: &Invoker) {
        self.each_of_invoker(invoker, |moments, due| moments.insert(due));
    }

    pub(crate) fn remove_invoker(&mut self, invoker: &Invoker) {
        self.each_of_invoker(invoker, |moments, due| moments.remove(&due));
    }

    pub(crate) fn add_pending(&mut self, pending: &PendingEnrolment) {
        self.expiries.insert(of_pending(pending));
    }

    pub(crate) fn remove_pending(&mut self, pending: &PendingEnrolment) {
        self.expiries.remove(&of_pending(pending));
    }

    pub(crate) fn add_function(&mut self, function: &ProviderFunction) {
        self.each_of_function(function, |moments, due| moments.insert(due));
    }

    pub(crate) fn remove_function(&mut self, function: &ProviderFunction) {
        self.each_of_function(function, |moments, due| moments.remove(&due));
    }

    fn each_of_invoker(
        &mut self,
        invoker: &Invoker,
        each: impl Fn(&mut BTreeSet<Due>, Due) -> bool,
    ) {
        let id = invoker.id.share();
        let due = |at: OffsetDateTime| Due {
            at,
            kind: Kind::Invoker,
            id: Arc::clone(&id),
        };
        self.each_renewal(&invoker.renewal, &due, &each);
        if let Some(expires) = &invoker.expires {
            let _known = each(&mut self.expiries, due(expires.0));
            for at in warnings(invoker.onboarded.0, expires.0) {
                let _known = each(&mut self.warnings, due(at));
            }
        }
        if let Some(demand) = &invoker.renewal.demand {
            let moments = match invoker.renewal.suspended {
                None => &mut self.deadlines,
                Some(_) => &mut self.lapses,
            };
            let _known = each(moments, due(demand.deadline.0));
        }
        let ends = first_end(&invoker.certificate, invoker.secret_expires.as_ref());
        if let Some(issued) = &invoker.certificate.issued {
            for at in warnings(issued.0, ends.0) {
                let _known = each(&mut self.warnings, due(at));
            }
        }
    }

    fn each_of_function(
        &mut self,
        function: &ProviderFunction,
        each: impl Fn(&mut BTreeSet<Due>, Due) -> bool,
    ) {
        let id = function.id.share();
        let due = |at: OffsetDateTime| Due {
            at,
            kind: Kind::ProviderFunction,
            id: Arc::clone(&id),
        };
        self.each_renewal(&function.renewal, &due, &each);
        if let Some(issued) = &function.certificate.issued {
            for at in warnings(issued.0, function.certificate.not_after.0) {
                let _known = each(&mut self.warnings, due(at));
            }
        }
    }

    fn each_renewal(
        &mut self,
        renewal: &Renewal,
        due: &impl Fn(OffsetDateTime) -> Due,
        each: &impl Fn(&mut BTreeSet<Due>, Due) -> bool,
    ) {
        if let Some(until) = rotation::retires(renewal) {
            let _known = each(&mut self.retirements, due(until.0));
        }
        if let Some(demand) = &renewal.demand {
            let _known = each(&mut self.warnings, due(demand.deadline.0));
        }
    }

    fn of(&self, matter: Matter) -> &BTreeSet<Due> {
        match matter {
            Matter::Retirement => &self.retirements,
            Matter::Expiry => &self.expiries,
            Matter::Deadline => &self.deadlines,
            Matter::Lapse => &self.lapses,
            Matter::Warning => &self.warnings,
        }
    }
}

fn of_pending(pending: &PendingEnrolment) -> Due {
    Due {
        at: pending.expires.0,
        kind: Kind::PendingEnrolment,
        id: pending.id.share(),
    }
}

/// What ends first of certificate and secret: they are renewed together.
#[must_use]
pub fn first_end<'a>(certificate: &'a Certificate, secret: Option<&'a DateTime>) -> &'a DateTime {
    let certificate = &certificate.not_after;
    secret.map_or(certificate, |secret| secret.min(certificate))
}

/// When it is said of something that it ends: with three tenths of its life left, and with one. Who renews of itself does so when a
/// third is left, and is not spoken of.
#[must_use]
pub fn warnings(begins: OffsetDateTime, ends: OffsetDateTime) -> [OffsetDateTime; 2] {
    let life = (ends - begins).max(Duration::ZERO);
    [ends - life * 3 / 10, ends - life / 10]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::hours(hour)
    }

    fn due(hour: i64, id: &str) -> Due {
        Due {
            at: at(hour),
            kind: Kind::Invoker,
            id: Arc::from(id),
        }
    }

    fn ids<'a>(found: impl Iterator<Item = &'a Due>) -> Vec<&'a str> {
        found.map(|due| due.id.as_ref()).collect()
    }

    /// What is due is due from its very moment on; what was looked at since a moment begins right after it.
    #[test]
    fn moments_are_exact() {
        let agenda = Agenda {
            warnings: [due(1, "a"), due(1, "b"), due(2, "c")].into(),
            expiries: [due(3, "d")].into(),
            ..Agenda::default()
        };
        let instant = Duration::nanoseconds(1);
        let warned =
            |since: Option<OffsetDateTime>, now| ids(agenda.due_since(Matter::Warning, since, now));
        assert_eq!(warned(None, at(1) - instant), [] as [&str; 0]);
        assert_eq!(warned(None, at(1)), ["a", "b"]);
        assert_eq!(warned(Some(at(1) - instant), at(2)), ["a", "b", "c"]);
        assert_eq!(warned(Some(at(1)), at(2)), ["c"]);
        assert_eq!(warned(Some(at(2)), at(2)), [] as [&str; 0]);
        assert_eq!(
            warned(Some(at(9)), at(2)),
            [] as [&str; 0],
            "a clock that was set back"
        );
        assert_eq!(
            ids(agenda.due(Matter::Expiry, at(3) - instant)),
            [] as [&str; 0]
        );
        assert_eq!(ids(agenda.due(Matter::Expiry, at(3))), ["d"]);
        assert_eq!(agenda.first(), Some(at(1)));
    }

    #[test]
    fn warnings_leave_time() {
        assert_eq!(warnings(at(0), at(1000)), [at(700), at(900)]);
        assert_eq!(warnings(at(9), at(3)), [at(3), at(3)], "no life at all");
    }

    /// An invoker whose certificate lives from hour 0 to hour 1000.
    fn invoker(change: serde_json::Value) -> Invoker {
        let mut document = serde_json::json!({
            "id": "INV",
            "public_key_text": "key",
            "certificate": certificate(1000),
            "onboard_secret": null,
            "notification_destination": "https://invoker.example",
            "information": null,
            "reach": {},
            "features": "0",
            "onboarded": time(0),
            "issuer": "operator",
        });
        let members = change.as_object().unwrap().clone();
        document.as_object_mut().unwrap().extend(members);
        serde_json::from_value(document).unwrap()
    }

    fn time(hour: i64) -> String {
        DateTime(at(hour)).to_string()
    }

    fn certificate(ends: i64) -> serde_json::Value {
        serde_json::json!({
            "pem": "",
            "fingerprint": "00".repeat(32),
            "public_key": "00".repeat(32),
            "issued": time(0),
            "not_after": time(ends),
        })
    }

    fn moments(agenda: &Agenda, matter: Matter) -> Vec<OffsetDateTime> {
        agenda.of(matter).iter().map(|due| due.at).collect()
    }

    /// Each entity stands where its record says, and nowhere once it is gone.
    #[test]
    fn entities_come_and_go() {
        let retiring =
            |until| serde_json::json!({ "certificate": certificate(900), "until": time(until) });
        let busy = invoker(serde_json::json!({
            "secret_expires": time(500),
            "expires": time(2000),
            "renewal": {
                "agreed": true,
                "retiring": [retiring(30), retiring(20)],
                "demand": { "reason": "OPERATOR", "since": time(1), "deadline": time(50) },
            },
        }));
        let mut agenda = Agenda::default();
        agenda.add_invoker(&busy);
        assert_eq!(
            moments(&agenda, Matter::Retirement),
            [at(20)],
            "the first alone"
        );
        assert_eq!(moments(&agenda, Matter::Expiry), [at(2000)]);
        assert_eq!(moments(&agenda, Matter::Deadline), [at(50)]);
        assert!(moments(&agenda, Matter::Lapse).is_empty());
        // The deadline; the secret, which ends before the certificate; the enrolment.
        assert_eq!(
            moments(&agenda, Matter::Warning),
            [at(50), at(350), at(450), at(1400), at(1800)]
        );

        // What is done about a deadline is not due again.
        let mut suspended = busy.clone();
        suspended.renewal.suspended = Some(DateTime(at(50)));
        agenda.remove_invoker(&busy);
        agenda.add_invoker(&suspended);
        assert!(moments(&agenda, Matter::Deadline).is_empty());
        assert_eq!(moments(&agenda, Matter::Lapse), [at(50)]);
        agenda.remove_invoker(&suspended);
        assert_eq!(agenda.first(), None);

        agenda.add_invoker(&invoker(serde_json::json!({})));
        assert_eq!(moments(&agenda, Matter::Warning), [at(700), at(900)]);
        assert!(moments(&agenda, Matter::Expiry).is_empty());
    }

    /// Functions have no secret and no enrolment, and are offboarded by nobody for being late.
    #[test]
    fn functions_retire_and_are_warned_of() {
        let function: ProviderFunction = serde_json::from_value(serde_json::json!({
            "id": "AEF",
            "domain_id": "DOM",
            "role": "AEF",
            "public_key_text": "key",
            "certificate": certificate(1000),
            "information": null,
            "renewal": {
                "retiring": [{ "certificate": certificate(900), "until": time(20) }],
                "demand": { "reason": "COMPROMISE", "since": time(1), "deadline": time(50) },
            },
        }))
        .unwrap();
        let mut agenda = Agenda::default();
        agenda.add_function(&function);
        assert_eq!(moments(&agenda, Matter::Retirement), [at(20)]);
        assert!(moments(&agenda, Matter::Deadline).is_empty());
        assert_eq!(
            moments(&agenda, Matter::Warning),
            [at(50), at(700), at(900)]
        );
        agenda.remove_function(&function);
        assert_eq!(agenda.first(), None);
    }
}

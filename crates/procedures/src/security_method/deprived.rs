//! Who hears of a negotiation.

use std::collections::BTreeSet;

use capif_spec::{
    common::{AefId, DateTime},
    security::{SecurityInformation, ServiceSecurity},
};

use super::offers::same_interface;
use crate::{
    changes::Changes,
    events,
    state::{SecurityContext, Subscription},
};

/// Has the AEFs told from which a negotiation took something away: what they remember of the invoker counts no more (TS 33.122
/// clause 6.3).
///
/// Choice: TS 29.222 has no event for it; API_INVOKER_UPDATED comes nearest, and goes to these AEFs alone.
pub fn tell_deprived<'a>(
    changes: &mut Changes,
    held: &SecurityContext,
    answer: &ServiceSecurity,
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) {
    let is_kept = |before: &SecurityInformation| {
        answer.security_info.iter().any(|now| {
            now.aef_id == before.aef_id
                && now.api_id == before.api_id
                && same_interface(now, before)
                && now.sel_security_method == before.sel_security_method
        })
    };
    let deprived: BTreeSet<&AefId> = held
        .entries
        .iter()
        .filter(|before| before.information.sel_security_method.is_some())
        .filter(|before| !is_kept(&before.information))
        .map(|before| &before.aef_id)
        .collect();
    for aef_id in deprived {
        let occurrence = events::of_negotiation(&held.invoker_id, aef_id);
        events::raise(changes, occurrence, subscriptions.clone(), now);
    }
}

#[cfg(test)]
mod tests {
    use capif_spec::publish_service::SecurityMethod;

    use super::*;
    use crate::{
        fixtures::{context, entry_at, entry_for, notified, now, subscription, wire},
        state::{Role, SecurityEntry},
    };

    fn answer(entries: &[SecurityEntry]) -> ServiceSecurity {
        let entries: Vec<_> = entries.iter().map(|entry| &entry.information).collect();
        wire(serde_json::json!({
            "securityInfo": entries,
            "notificationDestination": "https://invoker.example/notify",
        }))
    }

    fn told(held: Vec<SecurityEntry>, now_held: &[SecurityEntry]) -> Vec<(String, String)> {
        let subscriptions = ["AEF1", "AEF2", "AEF3"]
            .map(|aef| subscription(aef, Role::Aef, &["API_INVOKER_UPDATED"]));
        let mut changes = Changes::new();
        tell_deprived(
            &mut changes,
            &context("amy", held),
            &answer(now_held),
            subscriptions.iter(),
            &now(),
        );
        let notified = notified(&changes).into_iter();
        notified
            .map(|(subscriber, event, _)| (subscriber, event))
            .collect()
    }

    #[test]
    fn an_aef_hears_when_something_of_its_own_is_taken() {
        let pki = || Some(SecurityMethod::Pki);
        let before = || vec![entry_at("AEF1", pki()), entry_at("AEF2", pki())];
        assert_eq!(told(before(), &before()), []);

        let changed = [
            entry_at("AEF1", Some(SecurityMethod::Oauth)),
            entry_at("AEF2", pki()),
        ];
        let event = |aef: &str| (aef.to_owned(), "API_INVOKER_UPDATED".to_owned());
        assert_eq!(told(before(), &changed), [event("AEF1")]);
        assert_eq!(told(before(), &[entry_at("AEF1", pki())]), [event("AEF2")]);
        assert_eq!(
            told(before(), &[entry_for("AEF1", "API1", SecurityMethod::Pki)]),
            [event("AEF1"), event("AEF2")]
        );
    }

    #[test]
    fn who_had_nothing_loses_nothing() {
        let pki = [entry_at("AEF1", Some(SecurityMethod::Pki))];
        assert_eq!(told(vec![entry_at("AEF1", None)], &pki), []);
        assert_eq!(told(Vec::new(), &pki), []);
    }
}

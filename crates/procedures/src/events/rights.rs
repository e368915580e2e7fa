//! Who may subscribe to which event (TS 29.222 clause 5.4.2.2): a table, and what it says.
//!
//! An invoker hears of the APIs that it reaches and of itself. A function hears of the APIs of its domain, of the invokers around
//! them, and of what is its own task: calls are for those that take or watch them, policies and hidden topology for the AEFs that
//! carry them out.

use capif_spec::events::CapifEvent;

use super::TRUST_UPDATED;
use crate::state::Role;

const YES: bool = true;
const NO: bool = false;

/// Each event with who may see it: invoker, AEF, APF, AMF.
static TABLE: [(CapifEvent, [bool; 4]); 16] = [
    (CapifEvent::ServiceApiAvailable, [YES, YES, YES, YES]),
    (CapifEvent::ServiceApiUnavailable, [YES, YES, YES, YES]),
    (CapifEvent::ServiceApiUpdate, [YES, YES, YES, YES]),
    (CapifEvent::ApiInvokerOnboarded, [NO, YES, YES, YES]),
    (CapifEvent::ApiInvokerOffboarded, [NO, YES, YES, YES]),
    (CapifEvent::ServiceApiInvocationSuccess, [NO, YES, NO, YES]),
    (CapifEvent::ServiceApiInvocationFailure, [NO, YES, NO, YES]),
    (CapifEvent::AccessControlPolicyUpdate, [NO, YES, NO, NO]),
    (
        CapifEvent::AccessControlPolicyUnavailable,
        [NO, YES, NO, NO],
    ),
    (
        CapifEvent::ApiInvokerAuthorizationRevoked,
        [YES, YES, YES, YES],
    ),
    (CapifEvent::ApiInvokerUpdated, [YES, YES, YES, YES]),
    (CapifEvent::ApiTopologyHidingCreated, [NO, YES, NO, NO]),
    (CapifEvent::ApiTopologyHidingRevoked, [NO, YES, NO, NO]),
    (
        CapifEvent::ApiInvokerOnboardingCriteriaFailed,
        [NO, NO, YES, YES],
    ),
    (
        CapifEvent::ServiceApiOnboardedByApiInvokersCount,
        [NO, NO, YES, YES],
    ),
    (
        CapifEvent::ServiceApiDiscoveryByApiInvokersCount,
        [NO, NO, YES, YES],
    ),
];

/// Who may see an event, in words.
pub(super) fn seers(event: &CapifEvent) -> String {
    let all = [Role::ApiInvoker, Role::Aef, Role::Apf, Role::Amf];
    let seers = all.into_iter().filter(|role| may_see(*role, event));
    let seers: Vec<&str> = seers.map(Role::as_str).collect();
    match seers.is_empty() {
        true => "nobody".to_owned(),
        false => seers.join(", "),
    }
}

/// Whether who plays this part may see an event. Of those that the standard does not name there is one: only who takes calls has
/// something to do about it.
pub(super) fn may_see(role: Role, event: &CapifEvent) -> bool {
    let Some((_, [invoker, aef, apf, amf])) = TABLE.iter().find(|(known, _)| known == event) else {
        return role == Role::Aef && event.as_str() == TRUST_UPDATED;
    };
    match role {
        Role::ApiInvoker => *invoker,
        Role::Aef => *aef,
        Role::Apf => *apf,
        Role::Amf => *amf,
        Role::Ccf => false,
    }
}

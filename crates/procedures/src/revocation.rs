//! Revocation of an invoker's authorization by an AEF (TS 23.222 clause 8.23, TS 29.222 clause 5.6.2.5).
//!
//! An AEF takes away what concerns itself, never more (R-REV-05). Tokens issued before are of an older generation then.

use capif_spec::{
    common::{AefId, DateTime, ServiceApiId},
    events::CapifEvent,
};

use crate::{
    changes::{Changes, Expect, Versioned},
    events,
    refusal::Refusal,
    state::{Invoker, SecurityContext, Subscription},
};

/// Takes away what an invoker may do at an AEF: all of it, or the APIs listed.
///
/// # Errors
/// Refuses when the invoker has nothing there, in the same words as for an unknown invoker.
pub fn revoke<'a>(
    aef_id: &AefId,
    apis: Option<&[ServiceApiId]>,
    held: &Versioned<SecurityContext>,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) -> Result<Changes, Refusal> {
    let mut context = held.record.clone();
    let before = context.entries.len();
    context.entries.retain(|entry| {
        let concerned = match (apis, &entry.api_id) {
            (None, _) => true,
            (Some(listed), Some(api_id)) => listed.contains(api_id),
            // An entry for the whole AEF cannot lose a part: the invoker negotiates the rest anew.
            (Some(_), None) => true,
        };
        !(entry.aef_id == *aef_id && concerned)
    });
    if context.entries.len() == before {
        return Err(Refusal::NotFound {
            what: "security context",
        });
    }
    // The context stays even without entries: its number must outlive the tokens issued before.
    context.generation = context.generation.saturating_add(1);
    let mut changes = Changes::new();
    changes.require::<Invoker>(context.invoker_id.as_str(), Expect::Present);
    changes.put(&context, Expect::At(held.revision));
    let occurrence = events::of_invoker(
        CapifEvent::ApiInvokerAuthorizationRevoked,
        &context.invoker_id,
    );
    events::raise(&mut changes, occurrence, subscriptions, now);
    Ok(changes)
}

#[cfg(test)]
mod tests;

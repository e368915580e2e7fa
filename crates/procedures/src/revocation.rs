//! Revocation of an invoker's authorization (TS 23.222 clause 8.23, TS 29.222 clauses 5.6.2.5 and 6.2.2.3).
//!
//! An AEF takes away what concerns itself, never more (R-REV-05), and the invoker may negotiate anew. The operator takes
//! away whatever it wants and shuts the invoker out of it until [`permit`]; every AEF concerned is told and acknowledges.
//! Whoever it was: tokens issued before are of an older generation then, and the invoker is told where it asked for it.

use capif_spec::{
    aef_security::RevokeAuthorizationReq,
    common::{AefId, ApiInvokerId, DateTime, ServiceApiId, SupportedFeatures},
    publish_service::InterfaceDescription,
    security::{Cause, SecurityNotification},
};

use crate::{
    aefpsk,
    changes::{Changes, Expect, Versioned},
    events::{self, Circle},
    refusal::Refusal,
    security_method::exposed,
    state::{
        Callback, Invoker, Revocation, SecurityContext, SecurityEntry, ServiceApi, Subscription,
        Tidings,
    },
};

/// How many interfaces of one AEF are told of a revocation.
pub const INTERFACES_MAX: usize = 16;

/// What is taken away, and why.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// These APIs; everything if absent.
    pub apis: Option<&'a [ServiceApiId]>,
    /// Why.
    pub cause: Cause,
    /// Whether the invoker is told at the destination of its context: where the operator lets callbacks go.
    pub callback: bool,
    /// When.
    pub now: &'a DateTime,
}

/// What an invoker loses at each AEF.
#[derive(Debug, Default)]
pub(crate) struct Losses(pub(crate) Vec<(AefId, Vec<ServiceApiId>)>);

impl Losses {
    /// Adds APIs at an AEF, each once.
    pub(crate) fn add(&mut self, aef_id: &AefId, apis: impl IntoIterator<Item = ServiceApiId>) {
        let here = match self.0.iter_mut().position(|(known, _)| known == aef_id) {
            Some(place) => self.0.get_mut(place),
            None => {
                self.0.push((aef_id.clone(), Vec::new()));
                self.0.last_mut()
            }
        };
        let Some((_, here)) = here else { return };
        for id in apis {
            if !here.contains(&id) {
                here.push(id);
            }
        }
    }

    /// The APIs at all AEFs together, each once.
    fn apis(&self) -> Vec<ServiceApiId> {
        let mut all: Vec<ServiceApiId> = Vec::new();
        for id in self.0.iter().flat_map(|(_, lost)| lost) {
            if !all.contains(id) {
                all.push(id.clone());
            }
        }
        all
    }
}

/// Takes away what an invoker may do at an AEF: all of it, or the APIs listed. Other APIs of an entry about the whole AEF go on.
///
/// # Errors
/// Refuses when the invoker has nothing there, in the same words as for an unknown invoker.
pub fn revoke<'a>(
    aef_id: &AefId,
    order: &Order<'_>,
    invoker: &Invoker,
    held: &Versioned<SecurityContext>,
    apis: impl Iterator<Item = &'a ServiceApi> + Clone,
    subscriptions: impl Iterator<Item = &'a Subscription>,
) -> Result<Changes, Refusal> {
    let mut context = held.record.clone();
    let here = |entry: &SecurityEntry| entry.aef_id == *aef_id;
    let losses =
        take(&mut context, invoker, order.apis, here, apis.clone()).ok_or(Refusal::NotFound {
            what: "security context",
        })?;
    let mut changes = Changes::new();
    changes.require::<Invoker>(invoker.id.as_str(), Expect::Present);
    write(
        &mut changes,
        held,
        context,
        &losses,
        order,
        apis,
        subscriptions,
    );
    Ok(changes)
}

/// Takes away what an invoker may do anywhere, and shuts it out: of everything, or of the APIs listed. Answers beside the changes
/// which AEFs are told.
pub fn revoke_and_bar<'a>(
    order: &Order<'_>,
    invoker: &Versioned<Invoker>,
    held: Option<&Versioned<SecurityContext>>,
    apis: impl Iterator<Item = &'a ServiceApi> + Clone,
    subscriptions: impl Iterator<Item = &'a Subscription>,
) -> (Changes, Vec<AefId>) {
    let mut changes = Changes::new();
    let mut barred = invoker.record.clone();
    match order.apis {
        None => barred.bars.all = true,
        Some(listed) => barred.bars.apis.extend(listed.iter().cloned()),
    }
    changes.put(&barred, Expect::At(invoker.revision));
    let mut told = Vec::new();
    if let Some(held) = held {
        let mut context = held.record.clone();
        // As the invoker was before: what it is shut out of by now is what it loses.
        if let Some(losses) = take(
            &mut context,
            &invoker.record,
            order.apis,
            |_| true,
            apis.clone(),
        ) {
            for (aef_id, lost) in &losses.0 {
                tell(&mut changes, aef_id, &barred.id, lost, order, apis.clone());
            }
            told = losses.0.iter().map(|(aef_id, _)| aef_id.clone()).collect();
            write(
                &mut changes,
                held,
                context,
                &losses,
                order,
                apis,
                subscriptions,
            );
        }
    }
    (changes, told)
}

/// Lets an invoker back in: to the APIs listed, or to everything. It has to negotiate anew. Answers beside the changes whether it
/// was shut out at all.
///
/// # Errors
/// Refuses single APIs while the invoker is shut out of everything.
pub fn permit(
    invoker: &Versioned<Invoker>,
    apis: Option<&[ServiceApiId]>,
) -> Result<(Changes, bool), Refusal> {
    let mut permitted = invoker.record.clone();
    match apis {
        None => permitted.bars = Default::default(),
        Some(_) if permitted.bars.all => {
            return Err(Refusal::incorrect(
                "/api",
                "this API invoker is shut out of everything: permit it as a whole first, then revoke single APIs",
            ));
        }
        Some(listed) => permitted.bars.apis.retain(|api| !listed.contains(api)),
    }
    let was_barred = permitted.bars != invoker.record.bars;
    let mut changes = Changes::new();
    if was_barred {
        changes.put(&permitted, Expect::At(invoker.revision));
    }
    Ok((changes, was_barred))
}

/// Queues the call of `revoke-authorization` for every interface of an AEF (TS 29.222 clause 6.2.2.3).
pub(crate) fn tell<'a>(
    changes: &mut Changes,
    aef_id: &AefId,
    invoker: &ApiInvokerId,
    lost: &[ServiceApiId],
    order: &Order<'_>,
    apis: impl Iterator<Item = &'a ServiceApi>,
) {
    if lost.is_empty() {
        return;
    }
    for authority in authorities(aef_id, apis) {
        let revocation = Revocation {
            aef_id: aef_id.clone(),
            request: RevokeAuthorizationReq {
                revoke_info: notification(invoker, Some(aef_id), lost, order.cause.clone()),
                supported_features: SupportedFeatures::from("0"),
                extra: Default::default(),
            },
            raised: order.now.clone(),
            authority,
        };
        let lane = Revocation::lane(aef_id.as_str(), &revocation.authority);
        changes.append(lane, &revocation);
    }
}

/// Takes APIs out of those entries that `here` names; `None` when there was nothing to take.
fn take<'a>(
    context: &mut SecurityContext,
    invoker: &Invoker,
    listed: Option<&[ServiceApiId]>,
    here: impl Fn(&SecurityEntry) -> bool,
    apis: impl Iterator<Item = &'a ServiceApi> + Clone,
) -> Option<Losses> {
    let mut losses = Losses::default();
    let mut left = Vec::new();
    let mut taken = false;
    for mut entry in std::mem::take(&mut context.entries) {
        let open = exposed(&entry, invoker, apis.clone()).map(|api| api.id.clone());
        let (lost, kept): (Vec<_>, Vec<_>) =
            open.partition(|id| listed.is_none_or(|listed| listed.contains(id)));
        let named = match (listed, &entry.api_id) {
            (None, _) => true,
            (Some(listed), Some(api_id)) => listed.contains(api_id),
            (Some(_), None) => !lost.is_empty(),
        };
        if !here(&entry) || !named {
            left.push(entry);
            continue;
        }
        taken = true;
        losses.add(&entry.aef_id, lost.iter().cloned());
        // An entry for the whole AEF goes on for the APIs that are left there.
        if listed.is_some() && entry.api_id.is_none() && !kept.is_empty() {
            entry.revoked.extend(lost);
            left.push(entry);
        }
    }
    context.entries = left;
    taken.then_some(losses)
}

/// Writes what is left of a context, raises the event, and queues what the invoker is told.
fn write<'a>(
    changes: &mut Changes,
    held: &Versioned<SecurityContext>,
    mut context: SecurityContext,
    losses: &Losses,
    order: &Order<'_>,
    apis: impl Iterator<Item = &'a ServiceApi>,
    subscriptions: impl Iterator<Item = &'a Subscription>,
) {
    // The context stays even without entries: its number must outlive the tokens issued before.
    context.generation = context.generation.saturating_add(1);
    changes.put(&context, Expect::At(held.revision));
    let lost = losses.apis();
    let described: Vec<&ServiceApi> = apis.filter(|api| lost.contains(&api.id)).collect();
    let aefs = losses.0.iter().map(|(aef_id, _)| aef_id);
    let circle = Circle::around(aefs, described.iter().copied());
    let named = (order.apis.is_some() && !lost.is_empty())
        .then(|| described.into_iter().cloned().collect());
    let occurrence = events::of_revocation(&context.invoker_id, named, circle);
    events::raise(changes, occurrence, subscriptions, order.now);
    if order.callback && !lost.is_empty() {
        let only = match losses.0.as_slice() {
            [(aef_id, _)] => Some(aef_id),
            _ => None,
        };
        let callback = Callback {
            notification: Tidings::Revocation(notification(
                &context.invoker_id,
                only,
                &lost,
                order.cause.clone(),
            )),
            destination: context.told_at().clone(),
            raised: order.now.clone(),
            invoker_id: context.invoker_id,
        };
        changes.append(callback.lane(), &callback);
    }
}

fn notification(
    invoker: &ApiInvokerId,
    aef_id: Option<&AefId>,
    apis: &[ServiceApiId],
    cause: Cause,
) -> SecurityNotification {
    SecurityNotification {
        api_invoker_id: invoker.clone(),
        aef_id: aef_id.cloned(),
        api_ids: apis.to_vec(),
        access_token: None,
        cause,
        extra: Default::default(),
    }
}

/// Host and port of every interface at which an AEF exposes something, as far as they can be read.
fn authorities<'a>(aef_id: &AefId, apis: impl Iterator<Item = &'a ServiceApi>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let profiles = apis
        .flat_map(|api| api.description.aef_profiles.iter().flatten())
        .filter(|profile| profile.aef_id == *aef_id);
    for profile in profiles {
        let domain = profile
            .domain_name
            .as_ref()
            .map(|name| InterfaceDescription {
                fqdn: Some(name.clone()),
                ..InterfaceDescription::default()
            });
        let interfaces = profile.interface_descriptions.iter().flatten();
        for interface in interfaces.chain(&domain) {
            if let Some(authority) = authority(interface)
                && !found.contains(&authority)
                && found.len() < INTERFACES_MAX
            {
                found.push(authority);
            }
        }
    }
    found
}

/// AEF_Security_API stands at the root of an interface, whatever prefix the service API has there.
fn authority(interface: &InterfaceDescription) -> Option<String> {
    let root = InterfaceDescription {
        api_prefix: None,
        ..interface.clone()
    };
    let uri = aefpsk::interface_information(&root)?;
    uri.strip_prefix("https://").map(str::to_owned)
}

#[cfg(test)]
mod tests;

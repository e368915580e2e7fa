//! The immediate report (`immRep`): what is the case when a subscription is made, in the commit that makes it.
//!
//! Told is what events are about that say how things stand: which APIs are published, active or not, which invokers are onboarded,
//! which access control policies there are, what an AEF hides. Events that only say that something happened have nothing to tell.

use std::collections::BTreeMap;

use capif_spec::{
    access_control_policy::ApiInvokerPolicy,
    common::{AefId, DateTime},
    events::{CapifEvent, TopologyHiding},
};

use super::{
    API_STATUS_MONITORING, ENHANCED_EVENT_REPORT,
    circle::Circle,
    occurrence::{Occurrence, bare, of_api, of_hiding, of_invoker, of_policies},
    raising::{has, heard, notification},
};
use crate::{
    changes::Changes,
    state::{Invoker, Notification, Role, SecurityContext, ServiceApi, Subscription},
};

/// How many APIs, and how many invokers, an immediate report tells of at most.
const PRESENT_MAX: usize = 1000;

/// How many of them one notification tells of.
const TOGETHER_MAX: usize = 100;

/// The same where descriptions come along.
const DESCRIBED_MAX: usize = 10;

/// The access control policies of an API as one of its AEFs is told them.
pub type PoliciesOf<'a> = Box<dyn Fn(&ServiceApi, &AefId) -> Option<Vec<ApiInvokerPolicy>> + 'a>;

/// What is hidden of an API, and by which AEF.
pub type HiddenOf<'a> = Box<dyn Fn(&ServiceApi) -> Option<(AefId, TopologyHiding)> + 'a>;

/// What is the case.
pub struct Present<'a, A, I> {
    /// The published APIs.
    pub apis: A,
    /// The onboarded invokers with their security contexts.
    pub invokers: I,
    /// The access control policies of an API as one of its AEFs is told them; `None` if there are none.
    pub policies: PoliciesOf<'a>,
    /// What is hidden of an API, and by which AEF.
    pub hidden: HiddenOf<'a>,
}

/// Appends the immediate report of a subscription, if it asks for one.
pub fn tell_present<'a, A, I>(
    changes: &mut Changes,
    subscription: &Subscription,
    present: Present<'a, A, I>,
    now: &DateTime,
) where
    A: Iterator<Item = &'a ServiceApi> + Clone,
    I: Iterator<Item = (&'a Invoker, Option<&'a SecurityContext>)>,
{
    let wish = subscription.subscription.event_req.as_ref();
    let is_wanted = wish.is_some_and(|wish| wish.imm_rep == Some(true));
    if !is_wanted || !has(subscription, ENHANCED_EVENT_REPORT) {
        return;
    }
    let asks = |event: &CapifEvent| subscription.subscription.events.contains(event);
    let reach = &subscription.reach;
    let own: Vec<&ServiceApi> = present
        .apis
        .clone()
        .filter(|api| reach.includes(api))
        .collect();
    let mut report = Report {
        changes,
        subscription,
        now,
    };
    let active = CapifEvent::ServiceApiAvailable;
    if asks(&active) {
        let hears = |api: &&&ServiceApi| hears_of(subscription, &active, api);
        let apis = own.iter().filter(|api| api.is_active()).filter(hears);
        report.tell(apis.map(|api| of_api(active.clone(), api)));
    }
    let inactive = CapifEvent::ServiceApiUnavailable;
    if asks(&inactive) {
        let hears = |api: &&&ServiceApi| hears_of(subscription, &inactive, api);
        let apis = own.iter().filter(|api| !api.is_active()).filter(hears);
        report.tell(apis.map(|api| of_api(inactive.clone(), api)));
    }
    let onboarded = CapifEvent::ApiInvokerOnboarded;
    if asks(&onboarded) && subscription.role != Role::ApiInvoker {
        let by_name = own
            .iter()
            .map(|api| (api.description.api_name.as_str(), *api));
        let by_name: BTreeMap<&str, &ServiceApi> = by_name.collect();
        report.tell(present.invokers.map(|(invoker, context)| {
            let names = invoker.reach.api_names.iter().flatten();
            // The APIs of the subscriber's own domain are all that matter here.
            let reached = names.filter_map(|name| by_name.get(name.as_str()).copied());
            let circle = Circle::of(&invoker.reach, context, reached);
            of_invoker(onboarded.clone(), &invoker.id, circle)
        }));
    }
    if subscription.role != Role::Aef {
        return;
    }
    let aef = AefId::from(subscription.subscriber.as_str());
    let controlled = CapifEvent::AccessControlPolicyUpdate;
    if asks(&controlled) {
        let lists = own.iter().filter_map(|api| {
            let list = (present.policies)(api, &aef)?;
            Some(of_policies(controlled.clone(), api, &aef, None, Some(list)))
        });
        report.tell_each(lists);
    }
    let hidden = CapifEvent::ApiTopologyHidingCreated;
    if asks(&hidden) {
        let hidings = present.apis.filter_map(|api| {
            let (of, hiding) = (present.hidden)(api)?;
            (of == aef).then(|| of_hiding(hidden.clone(), api, &aef, hiding))
        });
        report.tell_each(hidings);
    }
}

/// Whether a subscription hears of an API: found out before the API is described, since there may be very many.
fn hears_of(subscription: &Subscription, event: &CapifEvent, api: &ServiceApi) -> bool {
    heard(subscription, &bare(event.clone(), api))
        .next()
        .is_some()
}

struct Report<'a> {
    changes: &'a mut Changes,
    subscription: &'a Subscription,
    now: &'a DateTime,
}

impl Report<'_> {
    /// Tells of things that stand each for itself.
    fn tell_each(&mut self, all: impl Iterator<Item = Occurrence>) {
        for one in all.take(TOGETHER_MAX) {
            self.tell(std::iter::once(one));
        }
    }

    /// Tells of things of one kind, many together.
    fn tell(&mut self, all: impl Iterator<Item = Occurrence>) {
        let describes = has(self.subscription, API_STATUS_MONITORING);
        let together_max = if describes {
            DESCRIBED_MAX
        } else {
            TOGETHER_MAX
        };
        let heard = all.filter(|one| notification(self.subscription, one, self.now).is_some());
        let mut together: Option<Occurrence> = None;
        let mut left = Vec::new();
        for one in heard.take(PRESENT_MAX) {
            match together.as_mut() {
                // Each alone is for this subscriber, so that all of them together are.
                Some(whole) if whole.items.len() < together_max => {
                    whole.items.extend(one.items);
                }
                _ => left.extend(together.replace(one)),
            }
        }
        left.extend(together);
        for occurrence in left {
            if let Some(mut waiting) = notification(self.subscription, &occurrence, self.now) {
                waiting.at_once = true;
                let prefix = Notification::prefix(&waiting.subscriber, &self.subscription.id);
                self.changes.append(prefix, &waiting);
            }
        }
    }
}

//! Whom what happens to an API invoker concerns.

use std::collections::BTreeSet;

use capif_spec::common::{AefId, ApiProviderDomainId};

use crate::{
    discovery::Published,
    state::{ApiReach, Role, SecurityContext, ServiceApi, Subscription},
};

/// Those who hear of an API invoker besides itself: the functions of the provider domains whose APIs it reaches, and the AEFs
/// with which it has an agreement. Nobody else's functions learn that it exists (TS 23.222 AR-4.3.3-c).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Circle {
    /// It reaches whatever anyone publishes.
    everywhere: bool,
    domains: BTreeSet<ApiProviderDomainId>,
    aefs: BTreeSet<AefId>,
}

impl Circle {
    /// The circle of an invoker with this reach and these agreements. `apis` are all published APIs: where the reach is one of
    /// names, it is who publishes under these names now.
    #[must_use]
    pub fn of<'a>(
        reach: &ApiReach,
        context: Option<&SecurityContext>,
        apis: impl Published<'a>,
    ) -> Self {
        let entries = context.iter().flat_map(|context| &context.entries);
        let mut circle = Self {
            aefs: entries.map(|entry| entry.aef_id.clone()).collect(),
            ..Self::default()
        };
        match (&reach.domain, &reach.api_names) {
            (Some(domain), None) => drop(circle.domains.insert(domain.clone())),
            (None, None) => circle.everywhere = true,
            (_, Some(_)) => {
                for api in apis.within(reach) {
                    if !circle.domains.contains(&api.domain_id) {
                        circle.domains.insert(api.domain_id.clone());
                    }
                }
            }
        }
        circle
    }

    /// Some AEFs, and the domains of some APIs.
    pub(crate) fn around<'a>(
        aefs: impl Iterator<Item = &'a AefId>,
        apis: impl Iterator<Item = &'a ServiceApi>,
    ) -> Self {
        Self {
            everywhere: false,
            domains: apis.map(|api| api.domain_id.clone()).collect(),
            aefs: aefs.cloned().collect(),
        }
    }

    /// Whoever is in one circle or the other: for what changes the reach itself.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.everywhere |= other.everywhere;
        self.domains.extend(other.domains);
        self.aefs.extend(other.aefs);
        self
    }

    /// Whether the function that subscribed belongs to it.
    pub(super) fn includes(&self, subscription: &Subscription) -> bool {
        let domain = subscription.reach.domain.as_ref();
        self.everywhere
            || domain.is_some_and(|domain| self.domains.contains(domain))
            || (subscription.role == Role::Aef
                && self
                    .aefs
                    .contains(&AefId::from(subscription.subscriber.as_str())))
    }
}

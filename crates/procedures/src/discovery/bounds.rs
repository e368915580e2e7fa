//! What an API offers at best, in a few octets: enough to see that it does not come into question without looking at it.
//!
//! Some criteria are about amounts and ranges, for which there is no list of values. A search for nothing else has to look at all
//! APIs; it looks at their bounds, which lie close together, and only then at those that may meet it.

use std::net::IpAddr;

use capif_spec::publish_service::{AefProfile, ServiceKpis};

use super::{Criteria, kpis};
use crate::state::ServiceApi;

/// Amounts of which more is better; what is not offered is less than all.
type Amounts = [f32; 8];

/// The best of all profiles of an API. Rounded, but in one direction for all: what is enough never looks too little.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    amounts: Amounts,
    /// The lowest and the highest IPv4 address of users that are served.
    v4: (u32, u32),
    /// The upper halves of the lowest and the highest IPv6 address.
    v6: (u64, u64),
}

impl Bounds {
    /// The bounds of an API.
    pub(super) fn of(api: &ServiceApi) -> Self {
        let mut bounds = Self {
            amounts: [f32::NEG_INFINITY; 8],
            v4: (u32::MAX, 0),
            v6: (u64::MAX, 0),
        };
        for profile in api.description.aef_profiles.iter().flatten() {
            bounds.widen(profile);
        }
        bounds
    }

    fn widen(&mut self, profile: &AefProfile) {
        if let Some(offered) = &profile.service_kpis {
            for (best, offered) in self.amounts.iter_mut().zip(amounts(offered)) {
                *best = best.max(offered);
            }
        }
        let Some(ranges) = &profile.ue_ip_range else {
            // Every user is served.
            (self.v4, self.v6) = ((0, u32::MAX), (0, u64::MAX));
            return;
        };
        for range in ranges.ue_ipv4_addr_ranges.iter().flatten() {
            if let (Some(IpAddr::V4(start)), Some(IpAddr::V4(end))) =
                (address(&range.start), address(&range.end))
            {
                self.v4 = (self.v4.0.min(start.into()), self.v4.1.max(end.into()));
            }
        }
        for range in ranges.ue_ipv6_addr_ranges.iter().flatten() {
            if let (Some(start), Some(end)) = (address(&range.start), address(&range.end)) {
                let (start, end) = (upper_half(start), upper_half(end));
                self.v6 = (self.v6.0.min(start), self.v6.1.max(end));
            }
        }
    }

    /// Whether the API may meet the criteria.
    pub(super) fn may_meet(&self, wanted: &Wanted) -> bool {
        let enough = self.amounts.iter().zip(&wanted.amounts);
        enough.fold(true, |all, (best, wanted)| all & (best >= wanted))
            && match wanted.user {
                None => true,
                Some(IpAddr::V4(user)) => (self.v4.0..=self.v4.1).contains(&user.into()),
                Some(user) => (self.v6.0..=self.v6.1).contains(&upper_half(user)),
            }
    }
}

/// What bounds are held against.
#[derive(Debug)]
pub(super) struct Wanted {
    amounts: Amounts,
    user: Option<IpAddr>,
}

impl Wanted {
    /// What is wanted of bounds.
    pub(super) fn of(criteria: &Criteria) -> Self {
        let wanted = criteria.service_kpis.as_ref().map(amounts);
        Self {
            amounts: wanted.unwrap_or([f32::NEG_INFINITY; 8]).map(|amount| {
                // The same quantity may be written in several units, which round differently.
                if amount > 0.0 { amount * 0.999 } else { amount }
            }),
            user: criteria.ue_ip_addr,
        }
    }
}

fn amounts(kpis: &ServiceKpis) -> Amounts {
    let count = |count: Option<u64>| count.map_or(f32::NEG_INFINITY, |count| count as f32);
    let quantity = |text: &Option<String>| {
        text.as_deref()
            .and_then(kpis::roughly)
            .unwrap_or(f32::NEG_INFINITY)
    };
    [
        count(kpis.max_req_rate),
        // Of time less is better.
        kpis.max_restime
            .map_or(f32::NEG_INFINITY, |it| -(it as f32)),
        count(kpis.availability),
        quantity(&kpis.aval_comp),
        quantity(&kpis.aval_gra_comp),
        quantity(&kpis.aval_mem),
        quantity(&kpis.aval_stor),
        count(kpis.con_band),
    ]
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn upper_half(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}

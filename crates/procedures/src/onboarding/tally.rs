//! How many API invokers are enrolled for an API (SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT, TS 29.222 clause 8.3.5.3.3).
//!
//! Reaches are counted by what they are made of, domain and names, so that neither an onboarding nor a question looks at every
//! invoker.

use std::collections::HashMap;

use capif_spec::common::ApiProviderDomainId;

use crate::state::{ApiReach, ServiceApi};

/// A domain and an API name, either of which may be left open.
type Part = (Option<ApiProviderDomainId>, Option<String>);

/// The reaches of all invokers, counted.
#[derive(Debug, Default)]
pub struct Tally {
    counts: HashMap<Part, u64>,
}

impl Tally {
    /// Counts the reach of one invoker more.
    pub fn add(&mut self, reach: &ApiReach) {
        for part in parts(reach) {
            let count = self.counts.entry(part).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Counts it no more.
    pub fn remove(&mut self, reach: &ApiReach) {
        for part in parts(reach) {
            if let Some(count) = self.counts.get_mut(&part) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.counts.remove(&part);
                }
            }
        }
    }

    /// How many invokers reach an API.
    #[must_use]
    pub fn count(&self, api: &ServiceApi) -> u64 {
        let (domain, name) = (&api.domain_id, &api.description.api_name);
        let parts = [
            (None, None),
            (None, Some(name.clone())),
            (Some(domain.clone()), None),
            (Some(domain.clone()), Some(name.clone())),
        ];
        parts.iter().filter_map(|part| self.counts.get(part)).sum()
    }
}

fn parts(reach: &ApiReach) -> Vec<Part> {
    let part = |name: Option<&String>| (reach.domain.clone(), name.cloned());
    match &reach.api_names {
        None => vec![part(None)],
        Some(names) => names.iter().map(|name| part(Some(name))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{api, domain_only, elsewhere, names};

    /// The tally says of each API what looking at every invoker would.
    #[test]
    fn counts_are_those_of_every_invoker_looked_at() {
        let of_dom = |list: &[&str]| ApiReach {
            domain: Some("DOM".into()),
            ..names(list)
        };
        let reaches = [
            ApiReach::default(),
            ApiReach::default(),
            names(&["weather"]),
            names(&["weather", "traffic"]),
            names(&[]),
            domain_only("DOM"),
            domain_only("DOM9"),
            of_dom(&["traffic"]),
        ];
        let apis = [
            api("A1", "weather", &[]),
            api("A2", "traffic", &[]),
            api("A3", "maps", &[]),
            elsewhere(api("A4", "traffic", &[]), "APF9", "DOM9"),
            elsewhere(api("A5", "tides", &[]), "APF8", "DOM8"),
        ];
        let mut tally = Tally::default();
        for reach in &reaches {
            tally.add(reach);
        }
        // They go one after the other; at each step both ways of counting agree.
        for gone in 0..=reaches.len() {
            for api in &apis {
                let found = reaches[gone..].iter().filter(|reach| reach.includes(api));
                let expected = u64::try_from(found.count()).unwrap();
                assert_eq!(tally.count(api), expected, "{} after {gone}", api.id);
            }
            if let Some(reach) = reaches.get(gone) {
                tally.remove(reach);
            }
        }
        assert!(tally.counts.is_empty(), "nothing is left behind");
        tally.remove(&reaches[0]);
        assert_eq!(tally.count(&apis[0]), 0);
    }
}

//! Published APIs with an index, so that a search looks only at those that come into question.
//!
//! Each API has a number for as long as it is published. For each value of what is often asked for, the index holds the
//! numbers of the APIs with that value in ascending order; a search walks the shortest list that it asks about and keeps to the
//! numbers that stand in every other one. What remains is held against all criteria, so that the index may say too much but never
//! too little.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use capif_spec::{
    common::{AefId, ApiProviderDomainId, ApiProviderFunctionId},
    publish_service::InterfaceDescription,
};

use super::{
    Criteria, Sight,
    bounds::{Bounds, Wanted},
    counts::Counts,
    facets::{Facet, Index, Lists, Numbers, facets, interface},
    policy::Bound,
    texts::{Text, Texts},
};
use crate::{
    changes::Versioned,
    state::{ApiReach, ServiceApi},
};

/// Published APIs.
#[derive(Debug, Default)]
pub struct Catalogue {
    numbers: BTreeMap<String, u32>,
    /// The APIs at their numbers.
    slots: Vec<Option<Slot>>,
    /// What the APIs offer at best, at their numbers.
    bounds: Vec<Bounds>,
    /// Numbers that were given before and are nobody's now.
    free: Numbers,
    index: Index,
    pub(super) texts: Texts,
}

/// One API with what is kept for its sake.
#[derive(Debug)]
pub(super) struct Slot {
    held: Arc<Versioned<ServiceApi>>,
    /// What invokers are shown of it, once somebody was.
    pub(super) text: Text,
    pub(super) counts: Counts,
}

impl Slot {
    pub(super) fn api(&self) -> &ServiceApi {
        &self.held.record
    }
}

impl Catalogue {
    /// An API.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Versioned<ServiceApi>>> {
        Some(&self.at(*self.numbers.get(id)?)?.held)
    }

    /// All APIs, by their ids.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceApi> + Clone {
        let all = self.numbers.values().filter_map(|number| self.at(*number));
        all.map(Slot::api)
    }

    /// The APIs that a function published, by their ids.
    #[must_use]
    pub fn of_apf(&self, apf: &ApiProviderFunctionId) -> Vec<&ServiceApi> {
        let numbers = self.index.with(Facet::Apf, apf.as_str()).iter();
        let mut apis: Vec<&ServiceApi> = numbers
            .filter_map(|number| self.at(*number))
            .map(Slot::api)
            .collect();
        apis.sort_by(|one, other| one.id.cmp(&other.id));
        apis
    }

    /// The APIs that any of these AEFs exposes, by their ids.
    #[must_use]
    pub fn of_aefs<'a>(&self, aefs: impl Iterator<Item = &'a AefId>) -> Vec<&ServiceApi> {
        self.listed(aefs.flat_map(|aef| self.index.with(Facet::Aef, aef.as_str())))
    }

    /// The APIs within a reach, by their ids.
    pub fn within<'a>(
        &'a self,
        reach: &ApiReach,
    ) -> impl Iterator<Item = &'a ServiceApi> + Clone + use<'a> {
        let listed = match (&reach.api_names, &reach.domain) {
            (Some(names), _) => {
                let names = names.iter();
                let numbers = names.flat_map(|name| self.index.with(Facet::Name, name));
                let mut listed = self.listed(numbers);
                listed.retain(|api| reach.includes(api));
                Some(listed)
            }
            (None, Some(domain)) => {
                Some(self.listed(self.index.with(Facet::Domain, domain.as_str()).iter()))
            }
            (None, None) => None,
        };
        let all = listed.is_none().then(|| self.iter());
        let listed = listed.into_iter().flatten();
        all.into_iter().flatten().chain(listed)
    }

    /// The APIs that are exposed at the interface of an address, however that is written, by their ids.
    pub(super) fn at_interface(&self, address: &InterfaceDescription) -> Vec<&ServiceApi> {
        self.listed(
            self.index
                .with(Facet::Interface, &interface(address))
                .iter(),
        )
    }

    /// The APIs at these numbers, each once, by their ids.
    fn listed<'a>(&'a self, numbers: impl Iterator<Item = &'a u32>) -> Vec<&'a ServiceApi> {
        let apis = numbers.filter_map(|number| self.at(*number));
        let mut apis: Vec<&ServiceApi> = apis.map(Slot::api).collect();
        apis.sort_by(|one, other| one.id.cmp(&other.id));
        apis.dedup_by(|one, other| one.id == other.id);
        apis
    }

    /// How many APIs a domain publishes.
    #[must_use]
    pub fn count_in(&self, domain: &ApiProviderDomainId) -> usize {
        self.index.with(Facet::Domain, domain.as_str()).len()
    }

    /// Takes an API in, in the place of the one with its id.
    pub fn put(&mut self, api: Arc<Versioned<ServiceApi>>) {
        let bounds = Bounds::of(&api.record);
        let known = self.numbers.get(api.record.id.as_str()).copied();
        let number = known.or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.slots.push(None);
            self.bounds.push(bounds);
            // Holds because memory ends long before there are so many APIs.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let place = number as usize;
        let (Some(slot), Some(held)) = (self.slots.get_mut(place), self.bounds.get_mut(place))
        else {
            return;
        };
        *held = bounds;
        let made = Slot {
            held: api,
            text: Text::default(),
            counts: Counts::default(),
        };
        let Some(before) = slot.take() else {
            for (facet, value) in facets(made.api()) {
                self.index.add(facet, &value, number);
            }
            self.numbers.insert(made.api().id.to_string(), number);
            *slot = Some(made);
            return;
        };
        // Of an API that changes, most stays as it is.
        let kept: BTreeSet<_> = facets(before.api()).collect();
        let wanted: BTreeSet<_> = facets(made.api()).collect();
        for (facet, value) in wanted.difference(&kept) {
            self.index.add(*facet, value, number);
        }
        for (facet, value) in kept.difference(&wanted) {
            self.index.remove(*facet, value, number);
        }
        drop((kept, wanted));
        self.texts.forget(&before.text);
        *slot = Some(Slot {
            counts: before.counts,
            ..made
        });
    }

    /// Lets go of an API.
    pub fn remove(&mut self, id: &str) {
        let Some(number) = self.numbers.remove(id) else {
            return;
        };
        let slot = self.slots.get_mut(number as usize);
        let Some(slot) = slot.and_then(Option::take) else {
            return;
        };
        for (facet, value) in facets(slot.api()) {
            self.index.remove(facet, &value, number);
        }
        self.texts.forget(&slot.text);
        self.free.push(number);
    }

    /// The APIs that may meet the criteria and be in sight, in no particular order. `near` keeps to those that may stand where
    /// it is preferred.
    pub(super) fn candidates<'a>(
        &'a self,
        criteria: &Criteria,
        sight: &Sight<'a>,
        near: bool,
    ) -> Box<dyn Iterator<Item = &'a Slot> + 'a> {
        let wanted = Wanted::of(criteria);
        match self.lists(criteria, sight, near).common() {
            Some(numbers) => Box::new(numbers.filter_map(move |number| {
                let bounds = self.bounds.get(number as usize)?;
                bounds.may_meet(&wanted).then(|| self.at(number))?
            })),
            None => {
                let slots = self.slots.iter().zip(&self.bounds);
                Box::new(
                    slots
                        .filter(move |(_, bounds)| bounds.may_meet(&wanted))
                        .filter_map(|(slot, _)| slot.as_ref()),
                )
            }
        }
    }

    /// One list for each criterion that the index knows.
    fn lists<'a>(&'a self, criteria: &Criteria, sight: &Sight<'a>, near: bool) -> Lists<'a> {
        let mut lists = self.index.lists(criteria, near);
        if !criteria.api_ids.is_empty() {
            lists.push_own(self.numbered(criteria.api_ids.iter().map(String::as_str)));
        }
        // What is in sight is judged for each API anyway; its lists are worth it only where the criteria leave many.
        if lists.shortest().is_some_and(|length| length <= FEW) {
            return lists;
        }
        if let Some(reach) = sight.reach {
            if let Some(domain) = &reach.domain {
                lists.push(self.index.with(Facet::Domain, domain.as_str()));
            }
            if let Some(names) = &reach.api_names {
                lists.push_any(names.iter().map(|it| self.index.with(Facet::Name, it)));
            }
        }
        if let Some(bounds) = sight.bounds() {
            let named = |bound: &Bound<'a>| match bound {
                Bound::Name(name) => Some(self.index.with(Facet::Name, name)),
                Bound::Category(name) => Some(self.index.with(Facet::Category, name)),
                Bound::Id(_) => None,
            };
            let by_id = |bound: &Bound<'a>| match bound {
                Bound::Id(id) => Some(*id),
                Bound::Name(_) | Bound::Category(_) => None,
            };
            let own = self.numbered(bounds.iter().filter_map(by_id));
            lists.push_with(bounds.iter().filter_map(named), own);
        }
        lists
    }

    /// The numbers of the APIs with some ids.
    fn numbered<'i>(&self, ids: impl Iterator<Item = &'i str>) -> Numbers {
        let mut numbers: Numbers = ids.filter_map(|id| self.numbers.get(id).copied()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    pub(super) fn slot(&self, id: &str) -> Option<&Slot> {
        self.at(*self.numbers.get(id)?)
    }

    /// The APIs of a name, in no particular order.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &Slot> {
        let numbers = self.index.with(Facet::Name, name).iter();
        numbers.filter_map(|number| self.at(*number))
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    fn at(&self, number: u32) -> Option<&Slot> {
        self.slots.get(number as usize)?.as_ref()
    }
}

/// So many APIs are looked at one by one rather than through further lists.
const FEW: usize = 64;

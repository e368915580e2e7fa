//! Published APIs with an index, so that a search looks only at those that come into question.
//!
//! Each API has a number for as long as it is published. For each value of what is often asked for, the index holds the
//! numbers of the APIs with that value in ascending order; a search takes the numbers that stand in every list it asks about.
//! What remains is held against all criteria, so that the index may say too much but never too little.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use capif_spec::common::{ApiProviderDomainId, ApiProviderFunctionId};

use super::{
    Criteria, VendorCriterion,
    bounds::{Bounds, Wanted},
    matching::path,
};
use crate::{
    changes::Versioned,
    state::{ApiReach, ServiceApi},
};

/// What is indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Facet {
    Name,
    Category,
    ProviderName,
    Aef,
    Version,
    Protocol,
    DataFormat,
    CommType,
    Resource,
    GrantType,
    /// The names of vendor members, wherever a criterion can reach them.
    Vendor,
    Apf,
    Domain,
}

/// Numbers in ascending order.
type Numbers = Vec<u32>;

/// Published APIs.
#[derive(Debug, Default)]
pub struct Catalogue {
    numbers: BTreeMap<String, u32>,
    /// The APIs at their numbers.
    slots: Vec<Option<Arc<Versioned<ServiceApi>>>>,
    /// What the APIs offer at best, at their numbers.
    bounds: Vec<Bounds>,
    /// Numbers that were given before and are nobody's now.
    free: Numbers,
    index: HashMap<Facet, HashMap<Box<str>, Numbers>>,
}

impl Catalogue {
    /// An API.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Versioned<ServiceApi>>> {
        self.at(*self.numbers.get(id)?)
    }

    /// All APIs, by their ids.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceApi> + Clone {
        let all = self.numbers.values().filter_map(|number| self.at(*number));
        all.map(|held| &held.record)
    }

    /// The APIs that a function published, by their ids.
    #[must_use]
    pub fn of_apf(&self, apf: &ApiProviderFunctionId) -> Vec<&ServiceApi> {
        let numbers = self.with(Facet::Apf, apf.as_str()).iter();
        let mut apis: Vec<&ServiceApi> = numbers
            .filter_map(|number| self.at(*number))
            .map(|held| &held.record)
            .collect();
        apis.sort_by(|one, other| one.id.cmp(&other.id));
        apis
    }

    /// How many APIs a domain publishes.
    #[must_use]
    pub fn count_in(&self, domain: &ApiProviderDomainId) -> usize {
        self.with(Facet::Domain, domain.as_str()).len()
    }

    /// Takes an API in, in the place of the one with its id.
    pub fn put(&mut self, api: Arc<Versioned<ServiceApi>>) {
        self.remove(api.record.id.as_str());
        let bounds = Bounds::of(&api.record);
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.bounds.push(bounds);
            // Holds because memory ends long before there are so many APIs.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        for (facet, value) in facets(&api.record) {
            let values = self.index.entry(facet).or_default();
            match values.get_mut(value) {
                Some(numbers) => insert(numbers, number),
                None => drop(values.insert(value.into(), vec![number])),
            }
        }
        self.numbers.insert(api.record.id.to_string(), number);
        let place = number as usize;
        if let (Some(slot), Some(held)) = (self.slots.get_mut(place), self.bounds.get_mut(place)) {
            (*slot, *held) = (Some(api), bounds);
        }
    }

    /// Lets go of an API.
    pub fn remove(&mut self, id: &str) {
        let Some(number) = self.numbers.remove(id) else {
            return;
        };
        let slot = self.slots.get_mut(number as usize);
        let Some(api) = slot.and_then(Option::take) else {
            return;
        };
        for (facet, value) in facets(&api.record) {
            let Some(values) = self.index.get_mut(&facet) else {
                continue;
            };
            if let Some(numbers) = values.get_mut(value) {
                if let Ok(place) = numbers.binary_search(&number) {
                    numbers.remove(place);
                }
                if numbers.is_empty() {
                    values.remove(value);
                }
            }
        }
        self.free.push(number);
    }

    /// The APIs that may meet the criteria and lie within reach, in no particular order.
    pub(super) fn candidates<'a>(
        &'a self,
        criteria: &Criteria,
        reach: &ApiReach,
    ) -> Box<dyn Iterator<Item = &'a ServiceApi> + 'a> {
        match common(self.lists(criteria, reach)) {
            Some(numbers) => Box::new(
                numbers
                    .into_iter()
                    .filter_map(|number| self.at(number))
                    .map(|held| &held.record),
            ),
            None => {
                let wanted = Wanted::of(criteria);
                let slots = self.slots.iter().zip(&self.bounds);
                Box::new(
                    slots
                        .filter(move |(_, bounds)| bounds.may_meet(&wanted))
                        .filter_map(|(slot, _)| Some(&slot.as_ref()?.record)),
                )
            }
        }
    }

    /// One list for each criterion that the index knows.
    fn lists(&self, criteria: &Criteria, reach: &ApiReach) -> Vec<Cow<'_, [u32]>> {
        let mut lists = Vec::new();
        if !criteria.api_ids.is_empty() {
            let mut numbers: Numbers = criteria
                .api_ids
                .iter()
                .filter_map(|id| self.numbers.get(id).copied())
                .collect();
            numbers.sort_unstable();
            numbers.dedup();
            lists.push(Cow::Owned(numbers));
        }
        let protocols = criteria.protocols.iter();
        let kind = criteria.comm_type.iter();
        let format = criteria.data_format.iter();
        let domain = reach.domain.iter();
        let asked: [(Facet, Vec<&str>); 9] = [
            (Facet::Name, texts(&criteria.api_names)),
            (Facet::Category, texts(&criteria.api_cats)),
            (Facet::ProviderName, texts(&criteria.api_prov_names)),
            (Facet::Protocol, protocols.map(|it| it.as_str()).collect()),
            (Facet::Aef, texts(criteria.aef_id.as_slice())),
            (Facet::Version, texts(criteria.api_version.as_slice())),
            (Facet::DataFormat, format.map(|it| it.as_str()).collect()),
            (Facet::CommType, kind.map(|it| it.as_str()).collect()),
            (Facet::Domain, domain.map(|it| it.as_str()).collect()),
        ];
        for (facet, values) in asked {
            if !values.is_empty() {
                lists.push(self.with_any(facet, &values));
            }
        }
        for resource in criteria
            .res_ops
            .iter()
            .filter_map(|it| it.resource.as_ref())
        {
            let holders = self.with(Facet::Resource, path(resource.as_str()));
            lists.push(Cow::Borrowed(holders));
        }
        for grant in &criteria.grant_types {
            lists.push(Cow::Borrowed(self.with(Facet::GrantType, grant.as_str())));
        }
        for name in criteria.vendor.iter().filter_map(VendorCriterion::name) {
            lists.push(Cow::Borrowed(self.with(Facet::Vendor, name)));
        }
        // A name that is asked for makes the shorter list.
        if let (Some(names), true) = (&reach.api_names, criteria.api_names.is_empty()) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            lists.push(self.with_any(Facet::Name, &names));
        }
        lists
    }

    fn with_any(&self, facet: Facet, values: &[&str]) -> Cow<'_, [u32]> {
        if let [value] = values {
            return Cow::Borrowed(self.with(facet, value));
        }
        let lists: Vec<&[u32]> = values.iter().map(|it| self.with(facet, it)).collect();
        let mut numbers = lists.concat();
        numbers.sort_unstable();
        numbers.dedup();
        Cow::Owned(numbers)
    }

    fn with(&self, facet: Facet, value: &str) -> &[u32] {
        let values = self.index.get(&facet);
        values
            .and_then(|values| values.get(value))
            .map_or(&[], Vec::as_slice)
    }

    fn at(&self, number: u32) -> Option<&Arc<Versioned<ServiceApi>>> {
        self.slots.get(number as usize)?.as_ref()
    }
}

fn texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

/// What an API is found by; some of it more than once.
fn facets(api: &ServiceApi) -> impl Iterator<Item = (Facet, &str)> {
    let description = &api.description;
    let own = [
        (Facet::Name, Some(description.api_name.as_str())),
        (Facet::Category, description.service_api_category.as_deref()),
        (Facet::ProviderName, description.api_prov_name.as_deref()),
        (Facet::Apf, Some(api.apf_id.as_str())),
        (Facet::Domain, Some(api.domain_id.as_str())),
    ];
    let profiles = || description.aef_profiles.iter().flatten();
    let of_profiles = profiles().flat_map(|profile| {
        [
            (Facet::Aef, Some(profile.aef_id.as_str())),
            (
                Facet::Protocol,
                profile.protocol.as_ref().map(|protocol| protocol.as_str()),
            ),
            (
                Facet::DataFormat,
                profile.data_format.as_ref().map(|format| format.as_str()),
            ),
        ]
    });
    let versions = move || profiles().flat_map(|profile| &profile.versions);
    let of_versions =
        versions().map(|version| (Facet::Version, Some(version.api_version.as_str())));
    let of_resources = versions()
        .flat_map(|version| version.resources.iter().flatten())
        .flat_map(|resource| {
            [
                (Facet::CommType, Some(resource.comm_type.as_str())),
                (Facet::Resource, Some(path(&resource.uri))),
            ]
        });
    let of_operations = versions()
        .flat_map(|version| version.cust_operations.iter().flatten())
        .map(|operation| (Facet::CommType, Some(operation.comm_type.as_str())));
    let interfaces =
        move || profiles().flat_map(|profile| profile.interface_descriptions.iter().flatten());
    let of_profiles_alone = profiles().flat_map(|profile| profile.grant_types.iter().flatten());
    let grants = of_profiles_alone
        .chain(interfaces().flat_map(|interface| interface.grant_types.iter().flatten()))
        .map(|grant| (Facet::GrantType, Some(grant.as_str())))
        // What takes tokens and names no way to them has this one.
        .chain([(Facet::GrantType, Some("CLIENT_CREDENTIALS"))]);
    let vendor = std::iter::once(&description.extra)
        .chain(profiles().map(|profile| &profile.extra))
        .chain(versions().map(|version| &version.extra))
        .chain(interfaces().map(|interface| &interface.extra))
        .flat_map(|extra| extra.keys())
        .map(|name| (Facet::Vendor, Some(name.as_str())));
    own.into_iter()
        .chain(of_profiles)
        .chain(of_versions)
        .chain(of_resources)
        .chain(of_operations)
        .chain(grants)
        .chain(vendor)
        .filter_map(|(facet, value)| Some((facet, value?)))
}

/// Puts a number into its place, once.
fn insert(numbers: &mut Numbers, number: u32) {
    if let Err(place) = numbers.binary_search(&number) {
        numbers.insert(place, number);
    }
}

/// The numbers that stand in every list; nothing if there is no list.
fn common(mut lists: Vec<Cow<'_, [u32]>>) -> Option<Numbers> {
    lists.sort_by_key(|list| list.len());
    let mut lists = lists.into_iter();
    let mut numbers = lists.next()?.into_owned();
    for list in lists {
        let mut rest = &*list;
        numbers.retain(|number| {
            rest = from(rest, *number);
            rest.first() == Some(number)
        });
    }
    Some(numbers)
}

/// The part of an ascending list that begins with the first number not below this one. In steps that double, since the next
/// number is often near.
fn from(list: &[u32], number: u32) -> &[u32] {
    let mut step = 1;
    while list.get(step).is_some_and(|other| *other < number) {
        step *= 2;
    }
    let near = list.get(..=step).unwrap_or(list);
    let place = near.partition_point(|other| *other < number);
    list.get(place..).unwrap_or_default()
}

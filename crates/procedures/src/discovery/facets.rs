//! The index of published APIs: for each value of what is asked for, who has it.

use std::{borrow::Cow, collections::HashMap};

use capif_spec::{
    common::NetSliceId,
    publish_service::{AefLocation, InterfaceDescription},
};

use super::{Criteria, VendorCriterion, matching::path};
use crate::{aefpsk, security_method::offers, state::ServiceApi};

/// What is indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Facet {
    Name,
    Category,
    ProviderName,
    Aef,
    Version,
    Protocol,
    DataFormat,
    CommType,
    Resource,
    /// HTTP methods, wherever they stand.
    Method,
    /// The names of custom operations, wherever they stand.
    CustomOperation,
    GrantType,
    /// Network slices; [`EVERY_SLICE`] where none is named.
    Slice,
    /// Data centres, and the elements of postal addresses.
    Place,
    /// The names of vendor members, wherever a criterion can reach them.
    Vendor,
    Apf,
    Domain,
    /// Interfaces, see [`interface`].
    Interface,
}

/// How many facets there are.
const FACETS: usize = Facet::Interface as usize + 1;

/// Stands for an API that is bound to no slice. No slice is written like this.
const EVERY_SLICE: &str = "";

/// Numbers in ascending order.
pub(super) type Numbers = Vec<u32>;

/// The lists of all values.
#[derive(Debug, Default)]
pub(super) struct Index([HashMap<Box<str>, Numbers>; FACETS]);

impl Index {
    /// Who has a value.
    pub(super) fn with(&self, facet: Facet, value: &str) -> &[u32] {
        let values = self.0.get(facet as usize);
        values
            .and_then(|values| values.get(value))
            .map_or(&[], Vec::as_slice)
    }

    /// Notes that somebody has a value.
    pub(super) fn add(&mut self, facet: Facet, value: &str, number: u32) {
        let Some(values) = self.0.get_mut(facet as usize) else {
            return;
        };
        match values.get_mut(value) {
            Some(numbers) => insert(numbers, number),
            None => drop(values.insert(value.into(), vec![number])),
        }
    }

    /// Notes that somebody has a value no longer.
    pub(super) fn remove(&mut self, facet: Facet, value: &str, number: u32) {
        let Some(values) = self.0.get_mut(facet as usize) else {
            return;
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

    /// One list for each criterion about what is indexed, ids aside. `near` makes one of the preferred place.
    pub(super) fn lists(&self, criteria: &Criteria, near: bool) -> Lists<'_> {
        let mut lists = Lists::default();
        let mut any = |facet: Facet, values: &mut dyn Iterator<Item = &str>| {
            let mut values = values.map(|value| self.with(facet, value)).peekable();
            if values.peek().is_some() {
                lists.push_any(values);
            }
        };
        fn texts<'a>(list: impl IntoIterator<Item = &'a String>) -> impl Iterator<Item = &'a str> {
            list.into_iter().map(String::as_str)
        }
        any(Facet::Name, &mut texts(&criteria.api_names));
        any(Facet::Category, &mut texts(&criteria.api_cats));
        any(Facet::ProviderName, &mut texts(&criteria.api_prov_names));
        any(Facet::Aef, &mut texts(&criteria.aef_id));
        any(Facet::Version, &mut texts(&criteria.api_version));
        let mut protocols = criteria.protocols.iter().map(|it| it.as_str());
        any(Facet::Protocol, &mut protocols);
        let mut format = criteria.data_format.iter().map(|it| it.as_str());
        any(Facet::DataFormat, &mut format);
        let mut kind = criteria.comm_type.iter().map(|it| it.as_str());
        any(Facet::CommType, &mut kind);
        for wanted in &criteria.res_ops {
            let resource = wanted.resource.iter();
            for uri in resource.map(|uri| path(uri.as_str())) {
                lists.push(self.with(Facet::Resource, uri));
            }
            for method in wanted.operations.iter().flatten() {
                lists.push(self.with(Facet::Method, method.as_str()));
            }
            for name in wanted.custom_serv_opers.iter().flatten() {
                lists.push(self.with(Facet::CustomOperation, name));
            }
        }
        for grant in &criteria.grant_types {
            lists.push(self.with(Facet::GrantType, grant.as_str()));
        }
        for slice in &criteria.net_slices {
            let wanted = [slice_text(slice).into(), Cow::Borrowed(EVERY_SLICE)];
            let holders = wanted.iter().map(|text| self.with(Facet::Slice, text));
            lists.push_any(holders);
        }
        for name in criteria.vendor.iter().filter_map(VendorCriterion::name) {
            lists.push(self.with(Facet::Vendor, name));
        }
        for place in criteria.preferred_aef_loc.iter().filter(|_| near) {
            for text in places(place) {
                lists.push(self.with(Facet::Place, &text));
            }
        }
        lists
    }
}

/// What an API is found by; some of it more than once.
pub(super) fn facets(api: &ServiceApi) -> impl Iterator<Item = (Facet, Cow<'_, str>)> {
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
    let resources = move || versions().flat_map(|version| version.resources.iter().flatten());
    let of_resources = resources().flat_map(|resource| {
        [
            (Facet::CommType, Some(resource.comm_type.as_str())),
            (Facet::Resource, Some(path(&resource.uri))),
            (Facet::CustomOperation, resource.cust_op_name.as_deref()),
        ]
    });
    // Those of resources are found by their names alone.
    let nested = move || resources().flat_map(|resource| resource.cust_operations.iter().flatten());
    let operations =
        move || versions().flat_map(|version| version.cust_operations.iter().flatten());
    let of_operations = operations()
        .map(|operation| (Facet::CommType, Some(operation.comm_type.as_str())))
        .chain(operations().chain(nested()).map(|operation| {
            (
                Facet::CustomOperation,
                Some(operation.cust_op_name.as_str()),
            )
        }));
    let methods = resources()
        .flat_map(|resource| resource.operations.iter().flatten())
        .chain(operations().flat_map(|operation| operation.operations.iter().flatten()))
        .map(|method| (Facet::Method, Some(method.as_str())));
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
    let bound = description.net_slice_info.as_ref();
    let slices = bound.into_iter().flatten().map(slice_text).map(Cow::Owned);
    let slices = slices.chain(bound.is_none().then_some(Cow::Borrowed(EVERY_SLICE)));
    let stands = profiles()
        .filter_map(|profile| profile.aef_location.as_ref())
        .flat_map(places);
    let addresses = offers(api).map(|offer| interface(&offer.address()));
    own.into_iter()
        .chain(of_profiles)
        .chain(of_versions)
        .chain(of_resources)
        .chain(of_operations)
        .chain(methods)
        .chain(grants)
        .chain(vendor)
        .filter_map(|(facet, value)| Some((facet, Cow::Borrowed(value?))))
        .chain(slices.map(|text| (Facet::Slice, text)))
        .chain(stands.map(|text| (Facet::Place, text.into())))
        .chain(addresses.map(|text| (Facet::Interface, text.into())))
}

/// The same text for the same interface, and for addresses that are written alike.
pub(super) fn interface(address: &InterfaceDescription) -> String {
    aefpsk::interface_information(address).unwrap_or_else(|| format!("{address:?}"))
}

/// The same text for ids of the same slice.
fn slice_text(slice: &NetSliceId) -> String {
    let differentiator =
        |sd: &Option<String>| sd.as_deref().unwrap_or_default().to_ascii_lowercase();
    let snssai = slice.snssai.as_ref();
    let snssai = snssai.map(|snssai| format!("{}-{}", snssai.sst, differentiator(&snssai.sd)));
    format!("{snssai:?} {:?} {:?}", slice.nsi_id, slice.ensi)
}

/// What of a place must be the same where it is preferred. Areas, and whatever is no text, are left to the comparison.
fn places(place: &AefLocation) -> impl Iterator<Item = String> {
    let centre = place.dc_id.iter().map(|id| format!("={id}"));
    let address = place.civic_addr.iter().flatten();
    let address = address.filter_map(|(element, value)| Some((element, value.as_str()?)));
    centre.chain(address.map(|(element, value)| format!("{element}={value}")))
}

/// Puts a number into its place, once.
fn insert(numbers: &mut Numbers, number: u32) {
    match numbers.last() {
        // New numbers are mostly the highest.
        Some(last) if *last < number => numbers.push(number),
        _ => {
            if let Err(place) = numbers.binary_search(&number) {
                numbers.insert(place, number);
            }
        }
    }
}

/// The lists that a number must stand in, each of them one list or several of which one is enough.
#[derive(Debug, Default)]
pub(super) struct Lists<'a>(Vec<Vec<Cow<'a, [u32]>>>);

impl<'a> Lists<'a> {
    pub(super) fn push(&mut self, list: &'a [u32]) {
        self.0.push(vec![Cow::Borrowed(list)]);
    }

    pub(super) fn push_own(&mut self, list: Numbers) {
        self.0.push(vec![Cow::Owned(list)]);
    }

    pub(super) fn push_any(&mut self, lists: impl Iterator<Item = &'a [u32]>) {
        self.push_with(lists, Numbers::new());
    }

    pub(super) fn push_with(&mut self, lists: impl Iterator<Item = &'a [u32]>, own: Numbers) {
        let lists = lists.map(Cow::Borrowed).chain([Cow::Owned(own)]);
        self.0.push(lists.filter(|list| !list.is_empty()).collect());
    }

    /// How many numbers the shortest of them holds at most.
    pub(super) fn shortest(&self) -> Option<usize> {
        self.0.iter().map(|any| length(any)).min()
    }

    /// The numbers that stand in all of them, in ascending order; nothing if there are none to stand in.
    pub(super) fn common(mut self) -> Option<Common<'a>> {
        self.0.sort_by_key(|any| length(any));
        let mut all = self.0.into_iter();
        let mut first = all.next()?;
        let numbers = match (first.pop(), first.is_empty()) {
            (None, _) => Cow::Borrowed(&[][..]),
            (Some(one), true) => one,
            (Some(one), false) => {
                first.push(one);
                let mut numbers = first.concat();
                numbers.sort_unstable();
                numbers.dedup();
                Cow::Owned(numbers)
            }
        };
        let cursors = |any: Vec<Cow<'a, [u32]>>| any.into_iter().map(Cursor::new).collect();
        Some(Common {
            numbers,
            place: 0,
            others: all.map(cursors).collect(),
        })
    }
}

fn length(any: &[Cow<'_, [u32]>]) -> usize {
    any.iter().map(|list| list.len()).sum()
}

/// The numbers of one list that stand in others too, found as they are asked for.
pub(super) struct Common<'a> {
    numbers: Cow<'a, [u32]>,
    place: usize,
    others: Vec<Vec<Cursor<'a>>>,
}

impl Iterator for Common<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        loop {
            let number = *self.numbers.get(self.place)?;
            self.place += 1;
            let stands = |any: &mut Vec<Cursor<'_>>| any.iter_mut().any(|it| it.reaches(number));
            if self.others.iter_mut().all(stands) {
                return Some(number);
            }
        }
    }
}

/// An ascending list, walked along with ascending numbers.
struct Cursor<'a> {
    list: Cow<'a, [u32]>,
    place: usize,
}

impl<'a> Cursor<'a> {
    fn new(list: Cow<'a, [u32]>) -> Self {
        Self { list, place: 0 }
    }

    /// Whether a number stands in the list. Goes on in steps that double, since the next number is often near.
    fn reaches(&mut self, number: u32) -> bool {
        let rest = self.list.get(self.place..).unwrap_or_default();
        let mut step = 1;
        while rest.get(step).is_some_and(|other| *other < number) {
            step *= 2;
        }
        let near = rest.get(..=step).unwrap_or(rest);
        let ahead = near.partition_point(|other| *other < number);
        self.place += ahead;
        rest.get(ahead) == Some(&number)
    }
}

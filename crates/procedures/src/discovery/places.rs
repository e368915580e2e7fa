//! Where AEFs stand, which users they serve, and in which network slices an API is there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use capif_spec::{
    common::{NetSliceId, OpenObject},
    publish_service::{AefLocation, IpAddrRange},
};

/// Whether an AEF stands where it is wanted.
///
/// Choice: every member that is wanted must be there. Postal addresses agree when the wanted elements do, so that a country finds
/// its towns; areas are compared whole.
pub(super) fn stands_at(wanted: &AefLocation, actual: Option<&AefLocation>) -> bool {
    let Some(actual) = actual else {
        return false;
    };
    let within = |wanted: &OpenObject, actual: Option<&OpenObject>| {
        actual.is_some_and(|actual| {
            wanted
                .iter()
                .all(|(element, value)| actual.get(element) == Some(value))
        })
    };
    wanted
        .civic_addr
        .as_ref()
        .is_none_or(|wanted| within(wanted, actual.civic_addr.as_ref()))
        && (wanted.geo_area.is_none() || wanted.geo_area == actual.geo_area)
        && (wanted.dc_id.is_none() || wanted.dc_id == actual.dc_id)
}

/// Whether a user with this address is served.
///
/// Choice: a profile without ranges serves every user, as TS 29.510 has it for ranges of the same type. One that names ranges of one
/// family serves nobody of the other.
pub(super) fn serves(ranges: Option<&IpAddrRange>, user: IpAddr) -> bool {
    let Some(ranges) = ranges else {
        return true;
    };
    match user {
        IpAddr::V4(user) => ranges
            .ue_ipv4_addr_ranges
            .iter()
            .flatten()
            .any(|range| lies::<Ipv4Addr>(&range.start, user, &range.end)),
        IpAddr::V6(user) => ranges
            .ue_ipv6_addr_ranges
            .iter()
            .flatten()
            .any(|range| lies::<Ipv6Addr>(&range.start, user, &range.end)),
    }
}

/// Whether an address lies in a range, both ends included.
fn lies<A: std::str::FromStr + Ord>(start: &str, address: A, end: &str) -> bool {
    match (start.parse::<A>(), end.parse::<A>()) {
        (Ok(start), Ok(end)) => start <= address && address <= end,
        _ => false,
    }
}

/// Whether an API is there in all of some slices.
///
/// Choice: an API that names no slice is bound to none and there in each, as TS 29.510 has it for functions.
pub(super) fn in_slices(wanted: &[NetSliceId], actual: Option<&Vec<NetSliceId>>) -> bool {
    actual.is_none_or(|actual| {
        wanted
            .iter()
            .all(|wanted| actual.iter().any(|actual| same_slice(wanted, actual)))
    })
}

/// Whether two ids are those of one slice. The slice differentiator is a hexadecimal number in any case.
pub(crate) fn same_slice(one: &NetSliceId, other: &NetSliceId) -> bool {
    let differentiator = |slice: &NetSliceId| {
        let snssai = slice.snssai.as_ref()?;
        let differentiator = snssai.sd.as_ref().map(|sd| sd.to_ascii_lowercase());
        Some((snssai.sst, differentiator))
    };
    differentiator(one) == differentiator(other)
        && one.nsi_id == other.nsi_id
        && one.ensi == other.ensi
}

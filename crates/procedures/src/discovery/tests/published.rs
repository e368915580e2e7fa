//! What other procedures ask of the published APIs.

use capif_spec::publish_service::InterfaceDescription;

use super::*;
use crate::security_method::offers;

/// The address of an interface.
fn address(document: Value) -> InterfaceDescription {
    wire(document)
}

/// APIs of few names, domains, AEFs and interfaces, so that each is shared.
fn mixed() -> Vec<ServiceApi> {
    let interfaces = [
        json!({ "fqdn": "a.example", "port": 443 }),
        json!({ "fqdn": "A.example" }),
        json!({ "fqdn": "b.example", "port": 8443 }),
        json!({ "ipv4Addr": "192.0.2.1" }),
        json!({ "ipv6Addr": "2001:db8::1", "apiPrefix": "/one" }),
        // Nobody can make a key for these.
        json!({ "fqdn": "a.example", "ipv4Addr": "192.0.2.1" }),
        json!({}),
    ];
    let apis = (0..210_usize).map(|number| {
        let mut profiles = vec![profile(&format!("AEF{}", number % 5), &[Pki])];
        if number % 3 == 0 {
            profiles.push(profile(&format!("AEF{}", number % 7), &[Pki]));
        }
        for (at, profile) in profiles.iter_mut().enumerate() {
            let interface = &interfaces[(number + at) % interfaces.len()];
            profile.interface_descriptions = Some(vec![address(interface.clone())]);
            if number % 11 == 0 {
                profile.interface_descriptions = None;
                profile.domain_name = Some("a.example".to_owned());
            }
        }
        let name = format!("name-{}", number % 13);
        let made = api(&format!("API{:03}", 997 * number % 1000), &name, &profiles);
        elsewhere(made, "APF", &format!("DOM{}", number % 4))
    });
    let mut apis: Vec<ServiceApi> = apis.collect();
    apis.sort_by(|one, other| one.id.cmp(&other.id));
    apis
}

fn ids_of<'a>(apis: impl Iterator<Item = &'a ServiceApi>) -> Vec<&'a str> {
    apis.map(|api| api.id.as_str()).collect()
}

/// The index finds what looking at every API does, in the same order, while APIs come and go.
#[test]
fn the_index_finds_what_looking_at_all_finds() {
    let mut apis = mixed();
    let mut catalogue = catalogue(&apis);
    let reaches = || {
        let domains = [None, Some("DOM1"), Some("DOM9")];
        let names: [Option<&[&str]>; 5] = [
            None,
            Some(&[]),
            Some(&["name-3"]),
            Some(&["name-3", "name-7", "nothing"]),
            Some(&["nothing"]),
        ];
        domains.into_iter().flat_map(move |domain| {
            names.into_iter().map(move |list| ApiReach {
                domain: domain.map(Into::into),
                api_names: list.map(|list| list.iter().map(ToString::to_string).collect()),
            })
        })
    };
    while !apis.is_empty() {
        let list = apis.iter();
        let index = &catalogue;
        for reach in reaches() {
            assert_eq!(
                ids_of(Published::within(&index, &reach)),
                ids_of(list.within(&reach)),
                "{reach:?}"
            );
        }
        for aef in (0..8).map(|number| AefId::from(format!("AEF{number}"))) {
            let exposes = |api: &&ServiceApi| offers(api).any(|offer| offer.profile.aef_id == aef);
            assert_eq!(
                ids_of(index.around(&aef).filter(exposes)),
                ids_of(list.around(&aef).filter(exposes))
            );
        }
        let all: Vec<InterfaceDescription> = apis
            .iter()
            .flat_map(|api| offers(api).map(|offer| offer.address()))
            .collect();
        for wanted in all.iter().take(40) {
            let place = crate::aefpsk::interface_information(wanted);
            let is_there = |api: &&ServiceApi| {
                let mut here = offers(api).map(|offer| offer.address());
                here.any(|here| {
                    here == *wanted
                        || place.is_some() && crate::aefpsk::interface_information(&here) == place
                })
            };
            assert_eq!(
                ids_of(index.at(wanted).filter(is_there)),
                ids_of(list.at(wanted).filter(is_there)),
                "{wanted:?}"
            );
        }
        for gone in apis.split_off(apis.len() * 2 / 3) {
            catalogue.remove(gone.id.as_str());
        }
    }
    assert_eq!(
        Published::within(&&catalogue, &ApiReach::default()).count(),
        0
    );
}

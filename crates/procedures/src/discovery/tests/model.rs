//! Discovery against a naive reference: random APIs, random changes of what is published, random policies, random criteria. The
//! reference reads the JSON of each API and knows nothing of the index.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    /// Some of these, at least one.
    fn some<'a>(&mut self, from: &[&'a str]) -> Vec<&'a str> {
        let mut some: Vec<&str> = from.iter().copied().filter(|_| self.one_in(2)).collect();
        if some.is_empty() {
            some.push(self.pick(from));
        }
        some
    }
}

const NAMES: [&str; 5] = ["n0", "n1", "n2", "n3", "n4"];
const CATEGORIES: [&str; 3] = ["c0", "c1", "c2"];
const PROVIDERS: [&str; 3] = ["p0", "p1", "p2"];
const AEFS: [&str; 4] = ["AEF0", "AEF1", "AEF2", "AEF3"];
const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];
const PROTOCOLS: [&str; 3] = ["HTTP_1_1", "HTTP_2", "MQTT"];
const FORMATS: [&str; 2] = ["JSON", "XML"];
const KINDS: [&str; 2] = ["REQUEST_RESPONSE", "SUBSCRIBE_NOTIFY"];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
const URIS: [&str; 3] = ["/u0", "/u1", "/u2"];
const CUSTOMS: [&str; 3] = ["o0", "o1", "o2"];
const GRANTS: [&str; 3] = ["CLIENT_CREDENTIALS", "AUTHORIZATION_CODE", "NEW"];
const SLICES: [&str; 3] = ["s0", "s1", "s2"];
const PLACES: [&str; 3] = ["d0", "d1", "d2"];
const FEATURE_SETS: [&str; 5] = ["0", "1", "2", "3", "16"];
const DOMAINS: [&str; 3] = ["DOM0", "DOM1", "DOM2"];

fn kpis(dice: &mut Dice) -> Value {
    let mut kpis = json!({});
    if dice.one_in(2) {
        kpis["maxReqRate"] = json!(dice.below(4));
    }
    if dice.one_in(3) {
        kpis["maxRestime"] = json!(dice.below(4));
    }
    if dice.one_in(2) {
        let unit = dice.pick(&["KB", "MB"]);
        let number = dice.pick(&["0.5", "1", "1.5", "1000", "1500"]);
        kpis["avalMem"] = json!(format!("{number} {unit}"));
    }
    kpis
}

fn slices(dice: &mut Dice) -> Value {
    let some = dice.some(&SLICES);
    some.iter().map(|id| json!({ "nsiId": id })).collect()
}

fn version(dice: &mut Dice) -> Value {
    let mut version = json!({ "apiVersion": dice.pick(&VERSIONS) });
    if dice.one_in(2) {
        let mut resource =
            json!({ "resourceName": "r", "commType": dice.pick(&KINDS), "uri": dice.pick(&URIS) });
        if dice.one_in(2) {
            resource["operations"] = json!(dice.some(&METHODS));
        }
        if dice.one_in(3) {
            resource["custOpName"] = json!(dice.pick(&CUSTOMS));
        }
        version["resources"] = json!([resource]);
    }
    if dice.one_in(3) {
        let mut operation =
            json!({ "commType": dice.pick(&KINDS), "custOpName": dice.pick(&CUSTOMS) });
        if dice.one_in(2) {
            operation["operations"] = json!(dice.some(&METHODS));
        }
        version["custOperations"] = json!([operation]);
    }
    version
}

fn profile(dice: &mut Dice) -> Value {
    let versions: Vec<Value> = (0..=dice.below(2)).map(|_| version(dice)).collect();
    let mut profile = json!({
        "aefId": dice.pick(&AEFS), "versions": versions, "securityMethods": dice.some(&["PKI", "OAUTH"]),
    });
    let mut set = |member: &str, value: Value| profile[member] = value;
    if dice.one_in(2) {
        set("protocol", json!(dice.pick(&PROTOCOLS)));
    }
    if dice.one_in(2) {
        set("dataFormat", json!(dice.pick(&FORMATS)));
    }
    if dice.one_in(3) {
        set("grantTypes", json!(dice.some(&GRANTS)));
    }
    if dice.one_in(2) {
        set("domainName", json!("x.example"));
    } else {
        let interfaces: Vec<Value> = (0..=dice.below(2))
            .map(|_| {
                let mut interface = json!({ "fqdn": "x.example" });
                if dice.one_in(2) {
                    interface["grantTypes"] = json!(dice.some(&GRANTS));
                }
                if dice.one_in(3) {
                    interface["securityMethods"] = json!(dice.some(&["PKI", "OAUTH"]));
                }
                interface
            })
            .collect();
        set("interfaceDescriptions", json!(interfaces));
    }
    if dice.one_in(2) {
        set("aefLocation", json!({ "dcId": dice.pick(&PLACES) }));
    }
    if dice.one_in(2) {
        set("serviceKpis", kpis(dice));
    }
    if dice.one_in(2) {
        let (one, other) = (dice.below(5), dice.below(5));
        let range = json!({ "start": format!("10.0.0.{one}"), "end": format!("10.0.0.{other}") });
        set("ueIpRange", json!({ "ueIpv4AddrRanges": [range] }));
    }
    if dice.one_in(2) {
        set("vendorSpecific-y", json!(dice.below(3)));
    }
    profile
}

fn document(dice: &mut Dice, id: &str) -> Value {
    let profiles: Vec<Value> = (0..=dice.below(3)).map(|_| profile(dice)).collect();
    let mut api = json!({ "apiName": dice.pick(&NAMES), "apiId": id, "aefProfiles": profiles });
    let mut set = |member: &str, value: Value| api[member] = value;
    if dice.one_in(2) {
        set("serviceAPICategory", json!(dice.pick(&CATEGORIES)));
    }
    if dice.one_in(2) {
        set("apiProvName", json!(dice.pick(&PROVIDERS)));
    }
    if dice.one_in(2) {
        set("apiSuppFeats", json!(dice.pick(&FEATURE_SETS)));
    }
    if dice.one_in(2) {
        set("netSliceInfo", slices(dice));
    }
    if dice.one_in(2) {
        set("vendorSpecific-x", json!({ "n": dice.below(3) }));
    }
    api
}

/// Criteria of which each is there one time in `rarely`; those of open discovery list several values.
fn criteria(dice: &mut Dice, rarely: u64, is_open: bool) -> Criteria {
    fn list(dice: &mut Dice, is_open: bool, from: &[&str]) -> Vec<String> {
        if is_open {
            texts(&dice.some(from))
        } else {
            texts(&[dice.pick(from)])
        }
    }
    let mut criteria = Criteria::default();
    macro_rules! perhaps {
        ($field:ident = $value:expr) => {
            if dice.one_in(rarely) {
                criteria.$field = $value;
            }
        };
    }
    perhaps!(api_names = list(dice, is_open, &NAMES));
    perhaps!(api_cats = list(dice, is_open, &CATEGORIES));
    perhaps!(api_prov_names = list(dice, is_open, &PROVIDERS));
    perhaps!(comm_type = Some(dice.pick(&KINDS).into()));
    perhaps!(data_format = Some(dice.pick(&FORMATS).into()));
    perhaps!(service_kpis = Some(wire(kpis(dice))));
    perhaps!(preferred_aef_loc = Some(wire(json!({ "dcId": dice.pick(&PLACES) }))));
    perhaps!(
        protocols = {
            let some = list(dice, is_open, &PROTOCOLS);
            some.iter().map(|text| text.as_str().into()).collect()
        }
    );
    perhaps!(
        res_ops = {
            let mut wanted = json!({});
            if dice.one_in(2) {
                wanted["resource"] = json!(dice.pick(&URIS));
            }
            if dice.one_in(2) {
                wanted["operations"] = json!([dice.pick(&METHODS)]);
            }
            if dice.one_in(3) {
                wanted["customServOpers"] = json!([dice.pick(&CUSTOMS)]);
            }
            wire(json!([wanted]))
        }
    );
    if is_open {
        perhaps!(api_ids = (0..8).map(|_| format!("A{}", dice.below(40))).collect());
        perhaps!(
            versions_of = {
                let names = dice.some(&NAMES);
                names
                    .iter()
                    .map(|name| ((*name).to_owned(), texts(&dice.some(&VERSIONS))))
                    .collect()
            }
        );
        perhaps!(
            features_of = {
                let names = criteria.api_names.clone();
                names
                    .into_iter()
                    .map(|name| (name, dice.pick(&FEATURE_SETS).into()))
                    .collect()
            }
        );
        if criteria.api_names.is_empty() {
            criteria.res_ops.clear();
        }
        return criteria;
    }
    perhaps!(api_version = Some(dice.pick(&VERSIONS).to_owned()));
    perhaps!(aef_id = Some(dice.pick(&AEFS).to_owned()));
    perhaps!(ue_ip_addr = Some(format!("10.0.0.{}", dice.below(5)).parse().unwrap()));
    perhaps!(api_supported_features = Some(dice.pick(&FEATURE_SETS).into()));
    perhaps!(net_slices = wire(slices(dice)));
    perhaps!(
        grant_types = {
            let some = dice.some(&GRANTS);
            some.into_iter().map(Into::into).collect()
        }
    );
    perhaps!(
        vendor = vec![if dice.one_in(2) {
            VendorCriterion::new("v", "n", "/vendorSpecific-x", json!(dice.below(3))).unwrap()
        } else {
            VendorCriterion::new(
                "v",
                "vendorSpecific-y",
                "/aefProfiles",
                json!(dice.below(3)),
            )
            .unwrap()
        }]
    );
    if dice.one_in(12) {
        criteria.api_ids = (0..4).map(|_| format!("A{}", dice.below(40))).collect();
    }
    if !dice.one_in(3) {
        criteria.supported_features = Some(format!("{:x}", dice.below(16)).as_str().into());
    }
    criteria
}

/// What the standard asks, word by word, of the JSON of one API: the places of the profiles that match.
fn reference(criteria: &Criteria, api: &Value) -> Option<Vec<usize>> {
    let features: u32 = criteria
        .supported_features
        .as_ref()
        .map_or(0, |text| u32::from_str_radix(text.as_str(), 16).unwrap());
    let spoken = |bit: u32| features >> (bit - 1) & 1 == 1;
    let is_one_of = |list: &[String], value: &Value| {
        list.is_empty() || list.iter().any(|wanted| value == wanted.as_str())
    };
    let name = api["apiName"].as_str().unwrap();
    let has_features = |wanted: &str| {
        api["apiSuppFeats"].as_str().is_some_and(|offered| {
            let number = |text: &str| u32::from_str_radix(text, 16).unwrap();
            number(wanted) & !number(offered) == 0
        })
    };
    let vendor = criteria
        .vendor
        .first()
        .map(|criterion| format!("{criterion:?}"));
    let vendor_value = vendor.as_ref().map(|text| {
        let digits = text.split("Number(").nth(1).unwrap();
        digits.split(')').next().unwrap().parse::<u64>().unwrap()
    });
    let own = is_one_of(&criteria.api_names, &api["apiName"])
        && is_one_of(&criteria.api_ids, &api["apiId"])
        && is_one_of(&criteria.api_cats, &api["serviceAPICategory"])
        && is_one_of(&criteria.api_prov_names, &api["apiProvName"])
        && (!spoken(1)
            || criteria
                .api_supported_features
                .as_ref()
                .is_none_or(|wanted| has_features(wanted.as_str())))
        && criteria
            .features_of
            .get(name)
            .is_none_or(|wanted| has_features(wanted.as_str()))
        && (!spoken(4)
            || api["netSliceInfo"].is_null()
            || criteria.net_slices.iter().all(|wanted| {
                let held = api["netSliceInfo"].as_array().unwrap();
                held.iter()
                    .any(|slice| slice["nsiId"] == wanted.nsi_id.as_deref().unwrap())
            }))
        && (!spoken(2)
            || !vendor.as_ref().is_some_and(|text| text.contains("Api"))
            || vendor_value.is_some_and(|value| api["vendorSpecific-x"]["n"] == value));
    if !own {
        return None;
    }
    let profiles = api["aefProfiles"].as_array().unwrap();
    let matching: Vec<usize> = (0..profiles.len())
        .filter(|index| {
            let profile = &profiles[*index];
            let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
            let contains = |value: &Value, wanted: &str| list(value).iter().any(|it| it == wanted);
            criteria
                .aef_id
                .as_ref()
                .is_none_or(|id| profile["aefId"] == id.as_str())
                && (criteria.protocols.is_empty()
                    || criteria
                        .protocols
                        .iter()
                        .any(|it| profile["protocol"] == it.as_str()))
                && criteria
                    .data_format
                    .as_ref()
                    .is_none_or(|format| profile["dataFormat"] == format.as_str())
                && list(&profile["versions"]).iter().any(|version| {
                    let resources = list(&version["resources"]);
                    let operations = list(&version["custOperations"]);
                    let both = || resources.iter().chain(&operations);
                    criteria
                        .api_version
                        .as_ref()
                        .is_none_or(|wanted| version["apiVersion"] == wanted.as_str())
                        && criteria
                            .versions_of
                            .get(name)
                            .is_none_or(|wanted| is_one_of(wanted, &version["apiVersion"]))
                        && criteria
                            .comm_type
                            .as_ref()
                            .is_none_or(|wanted| both().any(|it| it["commType"] == wanted.as_str()))
                        && criteria.res_ops.iter().all(|wanted| {
                            let methods: Vec<String> = wanted
                                .operations
                                .iter()
                                .flatten()
                                .map(|method| method.as_str().to_owned())
                                .collect();
                            let takes = |it: &Value| {
                                methods
                                    .iter()
                                    .all(|method| contains(&it["operations"], method))
                            };
                            let customs = wanted.custom_serv_opers.iter().flatten();
                            match &wanted.resource {
                                Some(uri) => resources.iter().any(|it| {
                                    it["uri"] == uri.as_str()
                                        && takes(it)
                                        && customs
                                            .clone()
                                            .all(|name| it["custOpName"] == name.as_str())
                                }),
                                None => {
                                    (methods.is_empty() || both().any(takes))
                                        && customs.clone().all(|name| {
                                            both().any(|it| it["custOpName"] == name.as_str())
                                        })
                                }
                            }
                        })
                })
                && criteria.ue_ip_addr.is_none_or(|user| {
                    let octet =
                        |text: &str| text.rsplit('.').next().unwrap().parse::<u8>().unwrap();
                    let range = &profile["ueIpRange"]["ueIpv4AddrRanges"][0];
                    range.is_null()
                        || (octet(range["start"].as_str().unwrap())
                            ..=octet(range["end"].as_str().unwrap()))
                            .contains(&octet(&user.to_string()))
                })
                && criteria.service_kpis.as_ref().is_none_or(|wanted| {
                    let offered = &profile["serviceKpis"];
                    let bytes = |text: &str| {
                        let (number, unit) = text.split_once(' ').unwrap();
                        number.parse::<f64>().unwrap() * if unit == "MB" { 1000.0 } else { 1.0 }
                    };
                    wanted.max_req_rate.is_none_or(|it| {
                        offered["maxReqRate"].as_u64().is_some_and(|has| has >= it)
                    }) && wanted.max_restime.is_none_or(|it| {
                        offered["maxRestime"].as_u64().is_some_and(|has| has <= it)
                    }) && wanted.aval_mem.as_ref().is_none_or(|it| {
                        offered["avalMem"]
                            .as_str()
                            .is_some_and(|has| bytes(has) >= bytes(it))
                    })
                })
                && (!spoken(3) || criteria.grant_types.is_empty() || {
                    let interfaces = match list(&profile["interfaceDescriptions"]) {
                        none if none.is_empty() => vec![json!({})],
                        some => some,
                    };
                    interfaces.iter().any(|interface| {
                        let of = |member: &str| match &interface[member] {
                            Value::Null => profile[member].clone(),
                            own => own.clone(),
                        };
                        let types = match of("grantTypes") {
                            Value::Null => json!(["CLIENT_CREDENTIALS"]),
                            types => types,
                        };
                        contains(&of("securityMethods"), "OAUTH")
                            && criteria
                                .grant_types
                                .iter()
                                .all(|it| contains(&types, it.as_str()))
                    })
                })
                && (!spoken(2)
                    || !vendor.as_ref().is_some_and(|text| text.contains("Profile"))
                    || vendor_value.is_some_and(|value| profile["vendorSpecific-y"] == value))
        })
        .collect();
    (!matching.is_empty()).then_some(matching)
}

/// The whole answer: each API with the places of its profiles.
fn expected(
    criteria: &Criteria,
    is_shown: impl Fn(&str, &Value) -> bool,
    apis: &BTreeMap<String, (String, Value)>,
) -> Vec<(String, Vec<usize>)> {
    let all: Vec<(String, Vec<usize>)> = apis
        .iter()
        .filter(|(_, (domain, api))| is_shown(domain, api))
        .filter_map(|(id, (_, api))| Some((id.clone(), reference(criteria, api)?)))
        .collect();
    let Some(place) = &criteria.preferred_aef_loc else {
        return all;
    };
    let there: Vec<(String, Vec<usize>)> = all
        .iter()
        .filter_map(|(id, profiles)| {
            let mut profiles = profiles.clone();
            profiles.retain(|index| {
                let location = &apis[id].1["aefProfiles"][*index]["aefLocation"];
                location["dcId"] == place.dc_id.as_deref().unwrap()
            });
            (!profiles.is_empty()).then(|| (id.clone(), profiles))
        })
        .collect();
    if there.is_empty() { all } else { there }
}

/// What was published, in the order of the answer: the places of the profiles shown are told by what they say.
fn told(
    answer: &Value,
    member: &str,
    apis: &BTreeMap<String, (String, Value)>,
) -> Vec<(String, Vec<usize>)> {
    let found = answer[member].as_array().cloned().unwrap_or_default();
    found
        .iter()
        .map(|api| {
            let id = api["apiId"].as_str().unwrap().to_owned();
            let mut held = apis[&id].1["aefProfiles"]
                .as_array()
                .unwrap()
                .iter()
                .enumerate();
            let shown = api["aefProfiles"].as_array().unwrap();
            let places = shown.iter().map(|shown| {
                // Each profile that is shown stands after the one before.
                let same = |(_, held): &(usize, &Value)| {
                    let members = shown.as_object().unwrap();
                    members.iter().all(|(name, value)| {
                        ["interfaceDescriptions", "grantTypes"].contains(&name.as_str())
                            || held[name] == *value
                    })
                };
                held.find(same).map(|(place, _)| place).unwrap()
            });
            (id, places.collect())
        })
        .collect()
}

/// What is said of whom, and of what; often nothing.
fn policies(dice: &mut Dice) -> Policies {
    let mut policies = Policies::default();
    if dice.one_in(3) {
        return policies;
    }
    for _ in 0..dice.below(9) {
        let audience = match dice.below(4) {
            0 => Audience::Everyone,
            1 => Audience::Anyone,
            2 => Audience::Invoker("INV".into()),
            _ => Audience::Invoker("INV9".into()),
        };
        let scope = match dice.below(7) {
            0 => Scope::All,
            1 => Scope::Id(format!("A{}", dice.below(40)).as_str().into()),
            2 | 3 => Scope::Category(dice.pick(&CATEGORIES).to_owned()),
            _ => Scope::Name(dice.pick(&NAMES).to_owned()),
        };
        let policy = DiscoveryPolicy {
            shows: dice.one_in(2),
            audience,
            scope,
        };
        if dice.one_in(6) {
            policies.remove(&DiscoveryPolicy::id(&policy.audience, &policy.scope));
        } else {
            policies.put(policy);
        }
    }
    policies
}

/// Whether the operator shows an API: all that is said of it, the narrowest first.
fn is_shown(policies: &Policies, audiences: &[Audience], api: &Value, otherwise: bool) -> bool {
    let text = |member: &str| api[member].as_str().unwrap_or("\0").to_owned();
    for audience in audiences {
        for scope in [
            Scope::Id(text("apiId").as_str().into()),
            Scope::Name(text("apiName")),
            Scope::Category(text("serviceAPICategory")),
            Scope::All,
        ] {
            let said = policies
                .iter()
                .find(|it| it.audience == *audience && it.scope == scope);
            if let Some(policy) = said {
                return policy.shows;
            }
        }
    }
    otherwise
}

fn reach(dice: &mut Dice) -> ApiReach {
    ApiReach {
        domain: dice.one_in(4).then(|| dice.pick(&DOMAINS).into()),
        api_names: dice
            .one_in(3)
            .then(|| dice.some(&NAMES).into_iter().map(str::to_owned).collect()),
    }
}

/// Publishes, replaces or withdraws one API.
fn change(
    dice: &mut Dice,
    catalogue: &mut Catalogue,
    apis: &mut BTreeMap<String, (String, Value)>,
) {
    let id = format!("A{}", dice.below(40));
    if dice.one_in(3) {
        catalogue.remove(&id);
        apis.remove(&id);
        return;
    }
    let document = document(dice, &id);
    let domain = dice.pick(&DOMAINS);
    let mut made = api(&id, "x", &[]);
    made.description = wire(document.clone());
    catalogue.put(Arc::new(versioned(elsewhere(made, "APF9", domain))));
    apis.insert(id, (domain.to_owned(), document));
}

/// TS 29.222 tables 8.1.2.2.3.1-1 and 8.11.2.2.3.1-1: 10 000 random queries of either kind, with what is published changing between
/// them, are answered as the naive reference answers them.
#[test]
fn ten_thousand_queries_as_the_reference_answers_them() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut catalogue, mut apis) = (Catalogue::default(), BTreeMap::new());
    let mut policies = Policies::default();
    for _ in 0..60 {
        change(&mut dice, &mut catalogue, &mut apis);
    }
    let (mut refused, mut empty, mut narrowed, mut many, mut hidden) = (0, 0, 0, 0, 0);
    for round in 0..20_000 {
        if round % 3 == 0 {
            change(&mut dice, &mut catalogue, &mut apis);
        }
        let is_open = round % 2 == 1;
        let rarely = 2 + dice.below(8);
        let (criteria, reach) = (criteria(&mut dice, rarely, is_open), reach(&mut dice));
        if round % 5 == 0 {
            policies = super::model::policies(&mut dice);
        }
        let everyone = [Audience::Invoker("INV".into()), Audience::Everyone];
        let lies_open: BTreeSet<String> = texts(&dice.some(&NAMES)).into_iter().collect();
        let within = |domain: &str, api: &Value| {
            let name = api["apiName"].as_str().unwrap();
            if is_open {
                let listed = lies_open.contains(name);
                return is_shown(&policies, &[Audience::Anyone], api, listed);
            }
            let domains = reach.domain.as_ref();
            let names = reach.api_names.as_ref();
            domains.is_none_or(|only| only.as_str() == domain)
                && names.is_none_or(|names| names.contains(name))
                && is_shown(&policies, &everyone, api, true)
        };
        let expected = expected(&criteria, within, &apis);
        let told = if is_open {
            let sight = policies.open_sight(&lies_open);
            let answer = discover_openly(&criteria, &sight, &catalogue);
            told(
                &serde_json::to_value(answer.unwrap()).unwrap(),
                "discApis",
                &apis,
            )
        } else {
            let besides = Criteria {
                api_ids: Vec::new(),
                supported_features: None,
                ..criteria.clone()
            };
            let alone = criteria.api_ids.is_empty() || besides == Criteria::default();
            let named = criteria.api_supported_features.is_none() || !criteria.api_names.is_empty();
            let sight = policies.sight(&"INV".into(), &reach);
            let answer = super::super::discover(criteria.clone(), sight, &catalogue);
            assert_eq!(answer.is_ok(), alone && named, "{criteria:?}");
            let Ok(answer) = answer else {
                refused += 1;
                continue;
            };
            let unhidden = super::super::discover(criteria.clone(), &reach, &catalogue);
            hidden += usize::from(expected.len() < unhidden.unwrap().len());
            told(
                &serde_json::from_slice(&answer.to_json()).unwrap(),
                "serviceAPIDescriptions",
                &apis,
            )
        };
        let mut sorted = expected.clone();
        sorted.sort();
        assert_eq!(told, sorted, "{criteria:?} {reach:?} {policies:?}");
        empty += usize::from(told.is_empty());
        many += usize::from(told.len() > 3);
        narrowed += usize::from(told.iter().any(|(id, places)| {
            places.len() < apis[id].1["aefProfiles"].as_array().unwrap().len()
        }));
    }
    // The queries are worth something.
    assert!(refused > 300, "{refused}");
    assert!((2000..16_000).contains(&empty), "{empty}");
    assert!(narrowed > 1500 && many > 1000, "{narrowed} {many}");
    assert!(hidden > 500, "{hidden}");
}

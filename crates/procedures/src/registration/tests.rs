use serde_json::{Value, json};

use super::*;
use crate::{
    changes::{Key, Kind, Record, Revision},
    fixtures::*,
    state::{ApiReach, Digest},
};

fn credential() -> Credential {
    Credential {
        issuer: "https://operator.example".to_owned(),
        single_use: digest(0xc0),
        expires: "2026-02-01T00:00:00Z".parse().unwrap(),
        reach: ApiReach::default(),
        registered: None,
    }
}

/// A function of a request, with the key of this number.
fn wanted(role: &str, key: u8) -> Value {
    json!({
        "regInfo": { "apiProvPubKey": format!("key {key}") },
        "apiProvFuncRole": role,
    })
}

/// The same function, with the id that it got at registration.
fn known(mut function: Value, id: &str) -> Value {
    function["apiProvFuncId"] = json!(id);
    function
}

fn serving(mut function: Value, hosts: Value) -> Value {
    function[HOSTS_MEMBER] = json!({ "hosts": hosts });
    function
}

fn request(functions: &[Value]) -> ApiProviderEnrolmentDetails {
    wire(json!({ "regSec": "the credential", "apiProvFuncs": functions }))
}

/// What judging the keys of a request finds: the key of the number in the text, or that there is none.
fn judged(details: &ApiProviderEnrolmentDetails) -> Vec<JudgedKey> {
    let functions = details.api_prov_funcs.iter().flatten();
    functions
        .map(|function| {
            let text = function.reg_info.api_prov_pub_key.strip_prefix("key ");
            match text.and_then(|number| number.parse().ok()) {
                Some(number) => Ok(key(number)),
                None => Err(Refusal::PublicKey("it is too weak".to_owned())),
            }
        })
        .collect()
}

fn planned(details: ApiProviderEnrolmentDetails, before: Before<'_>) -> Result<Plan, Refusal> {
    let keys = judged(&details);
    let mut given = 0;
    let new_id = |role: Role| {
        given += 1;
        format!("{}-{given}", role.as_str()).into()
    };
    plan(details, before, "DOM".into(), keys, new_id, &now())
}

fn registered(details: ApiProviderEnrolmentDetails) -> Result<Plan, Refusal> {
    let credential = credential();
    let before = Before::Nothing {
        credential: &credential,
        name: "provider",
    };
    planned(details, before)
}

/// What the authority is to sign for a plan: id and key.
fn orders(plan: &Plan) -> Vec<(&str, Digest)> {
    plan.orders()
        .map(|order| (order.id(), order.public_key().digest.clone()))
        .collect()
}

fn completed(
    plan: Plan,
    apis: &[ServiceApi],
    subscriptions: &[Subscription],
) -> (Changes, ApiProviderEnrolmentDetails) {
    let certificates = plan.orders().map(certified).collect();
    plan.complete(certificates, apis.iter(), subscriptions.iter(), &now())
        .unwrap()
}

/// The functions of an answer, each as id, role and certificate.
fn answered(answer: &ApiProviderEnrolmentDetails) -> Vec<(String, String, String)> {
    let functions = answer.api_prov_funcs.iter().flatten();
    functions
        .map(|function| {
            (
                function.api_prov_func_id.as_ref().unwrap().to_string(),
                function.api_prov_func_role.to_string(),
                function.reg_info.api_prov_cert.clone().unwrap(),
            )
        })
        .collect()
}

fn row(id: &str, role: &str, key: u8) -> (String, String, String) {
    let certificate = format!("certificate of key {key}");
    (id.to_owned(), role.to_owned(), certificate)
}

/// The functions of a registered domain.
fn functions() -> Vec<ProviderFunction> {
    vec![
        function("AMF", Role::Amf, 1),
        function("APF", Role::Apf, 2),
        function("AEF", Role::Aef, 3),
    ]
}

/// TS 23.222 clause 8.28: each function of the domain gets an id and a certificate of its own; the answer keeps the order of
/// the request.
#[test]
fn a_domain_is_registered() {
    let mut details = request(&[
        wanted("AEF", 3),
        serving(wanted("AEF", 4), json!(["gw.example", "192.0.2.1"])),
        wanted("AMF", 1),
        wanted("APF", 2),
    ]);
    details.api_prov_dom_info = Some("a provider".to_owned());
    details.supp_feat = Some("F".into());
    let plan = registered(details).unwrap();
    let expected: Vec<(&str, Role, u8, &[&str])> = vec![
        ("AEF-1", Role::Aef, 3, &[]),
        ("AEF-2", Role::Aef, 4, &["gw.example", "192.0.2.1"]),
        ("AMF-3", Role::Amf, 1, &[]),
        ("APF-4", Role::Apf, 2, &[]),
    ];
    let ordered: Vec<_> = plan.orders().collect();
    assert_eq!(ordered.len(), expected.len());
    for (order, (id, role, number, hosts)) in ordered.into_iter().zip(&expected) {
        assert_eq!((order.id(), order.role()), (*id, *role));
        assert_eq!(*order.public_key(), key(*number));
        assert_eq!(order.hosts(), *hosts);
    }

    let (changes, answer) = completed(plan, &[], &[]);
    assert_eq!(answer.api_prov_dom_id, Some("DOM".into()));
    assert_eq!(answer.supp_feat, Some("1".into()));
    assert_eq!(answer.fail_reason, None);
    assert_eq!(
        answered(&answer),
        [
            row("AEF-1", "AEF", 3),
            row("AEF-2", "AEF", 4),
            row("AMF-3", "AMF", 1),
            row("APF-4", "APF", 2),
        ]
    );

    let ids = expected.iter().map(|(id, ..)| (*id).into()).collect();
    let made = ProviderDomain {
        information: Some("a provider".to_owned()),
        functions: ids,
        ..domain(&[])
    };
    assert_eq!(
        written::<ProviderDomain>(&changes),
        [(Expect::Absent, made)]
    );
    let functions: Vec<ProviderFunction> = written(&changes)
        .into_iter()
        .map(|(_, function)| function)
        .collect();
    let expected: Vec<ProviderFunction> = expected
        .into_iter()
        .map(|(id, role, key, hosts)| ProviderFunction {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..function(id, role, key)
        })
        .collect();
    assert_eq!(functions, expected);
}

/// TS 29.222 clause 5.11.2.2: the registration credential admits one domain (D-26), in the commit that makes it.
#[test]
fn a_credential_makes_one_domain() {
    let attempt = || completed(registered(request(&[wanted("AMF", 1)])).unwrap(), &[], &[]).0;
    let mut world = World::default();
    assert_eq!(world.commit(attempt()), Ok(()));
    assert_eq!(
        world.commit(attempt()),
        Err(Key::new(
            Kind::CredentialUse,
            credential().used().record_id()
        ))
    );
    assert_eq!(world.ids(Kind::ProviderDomain), ["DOM"]);
}

/// TS 29.222 clause 8.9.4: what cannot be registered, and which words say so.
#[test]
fn registrations_that_are_refused() {
    let no_amf = |refusal: &Refusal| {
        matches!(refusal, Refusal::Malformed { pointer, reason, .. }
            if pointer == "/apiProvFuncs" && reason.contains("needs an AMF"))
    };
    let too_weak = |refusal: &Refusal| {
        matches!(refusal, Refusal::Malformed { pointer, reason, .. }
            if pointer == "/apiProvFuncs" && reason.contains("it is too weak"))
    };
    let unknown_role = |refusal: &Refusal| {
        matches!(refusal, Refusal::Malformed { pointer, .. }
            if pointer == "/apiProvFuncs/1/apiProvFuncRole")
    };
    let foreign = |refusal: &Refusal| {
        *refusal
            == Refusal::NotFound {
                what: "provider function",
            }
    };
    let too_many = |refusal: &Refusal| {
        *refusal
            == Refusal::TooMany {
                what: "functions",
                limit: FUNCTIONS_MAX,
            }
    };
    let mut none = request(&[]);
    none.api_prov_funcs = None;
    let most = |count: usize| request(&vec![wanted("AMF", 1); count]);
    type Judge<'a> = &'a dyn Fn(&Refusal) -> bool;
    let cases: [(&str, ApiProviderEnrolmentDetails, Judge<'_>); 9] = [
        ("no list", none, &no_amf),
        ("no function", request(&[]), &no_amf),
        (
            "no AMF",
            request(&[wanted("AEF", 1), wanted("APF", 2)]),
            &no_amf,
        ),
        (
            "a role unknown",
            request(&[wanted("AMF", 1), wanted("CCF", 2)]),
            &unknown_role,
        ),
        (
            "a role in other letters",
            request(&[wanted("AMF", 1), wanted("aef", 2)]),
            &unknown_role,
        ),
        (
            "an id never given",
            request(&[wanted("AMF", 1), known(wanted("AEF", 2), "AEF")]),
            &foreign,
        ),
        (
            "the AMF's key fails",
            request(&[wanted("AEF", 1), wanted("AMF", 0).as_bad()]),
            &too_weak,
        ),
        (
            "every key fails",
            request(&[wanted("AMF", 0).as_bad(), wanted("AEF", 0).as_bad()]),
            &too_weak,
        ),
        ("too many", most(FUNCTIONS_MAX + 1), &too_many),
    ];
    for (case, details, expected) in cases {
        let refusal = registered(details).unwrap_err();
        assert!(expected(&refusal), "{case}: {refusal:?}");
    }
    assert!(registered(most(FUNCTIONS_MAX)).is_ok());
    let mut named = request(&[wanted("AMF", 1)]);
    named.api_prov_dom_id = Some("DOM9".into());
    assert_eq!(
        registered(named).unwrap_err(),
        Refusal::ModificationNotAllowed {
            member: "apiProvDomId".to_owned()
        }
    );
}

/// Makes the key of a function one that does not pass.
trait Bad {
    fn as_bad(self) -> Self;
}

impl Bad for Value {
    fn as_bad(mut self) -> Self {
        self["regInfo"]["apiProvPubKey"] = json!("no key");
        self
    }
}

/// TS 29.222 clause 8.9.4.2.2: functions that fail are left out, and `failReason` says why; the others are registered.
#[test]
fn partial_success_says_what_failed() {
    let plan = registered(request(&[
        wanted("AEF", 0).as_bad(),
        wanted("AMF", 1),
        wanted("APF", 0).as_bad(),
        wanted("AEF", 3),
    ]))
    .unwrap();
    let (changes, answer) = completed(plan, &[], &[]);
    assert_eq!(
        answered(&answer),
        [row("AMF-1", "AMF", 1), row("AEF-2", "AEF", 3)]
    );
    assert_eq!(
        answer.fail_reason.as_deref(),
        Some(
            "function 0 (AEF): the public key is refused: it is too weak; \
             function 2 (APF): the public key is refused: it is too weak"
        )
    );
    let (_, made) = written::<ProviderDomain>(&changes).remove(0);
    assert_eq!(made.functions, ["AMF-1".into(), "AEF-2".into()]);
    assert_eq!(written::<ProviderFunction>(&changes).len(), 2);
}

/// `failReason` is the CCF's to say: one of the request is not repeated, nor features that nobody asked for.
#[test]
fn the_answer_takes_no_verdict_from_the_request() {
    let mut details = request(&[wanted("AMF", 1)]);
    details.fail_reason = Some("by the provider".to_owned());
    details.api_prov_funcs.as_mut().unwrap()[0]
        .reg_info
        .api_prov_cert = Some("a certificate of its own".to_owned());
    let (_, answer) = completed(registered(details).unwrap(), &[], &[]);
    assert_eq!(answer.fail_reason, None);
    assert_eq!(answer.supp_feat, None);
    assert_eq!(answered(&answer), [row("AMF-1", "AMF", 1)]);
}

/// No function is written without a certificate.
#[test]
fn each_order_needs_its_certificate() {
    let plan = registered(request(&[wanted("AMF", 1), wanted("AEF", 2)])).unwrap();
    let one = vec![certificate(1)];
    let refusal = plan.complete(one, [].iter(), [].iter(), &now());
    assert_eq!(
        refusal.unwrap_err(),
        Refusal::NotFound {
            what: "certificate"
        }
    );
}

/// TS 23.222 clause 8.29: an update keeps ids. The same key at the same hosts keeps its certificate, another key or another host
/// gets a new one, and a function that the domain did not have is new.
#[test]
fn an_update_keeps_renews_and_adds() {
    let held = versioned(domain(&functions()));
    let mut hosted = functions();
    hosted[2].hosts = vec!["gw.example".to_owned()];
    type Case<'a> = (
        &'a str,
        Vec<ProviderFunction>,
        Vec<Value>,
        &'a [(&'a str, u8)],
        Vec<(String, String, String)>,
    );
    let all = |aef: Value| {
        vec![
            known(wanted("AMF", 1), "AMF"),
            known(wanted("APF", 2), "APF"),
            aef,
        ]
    };
    let rows = |aef: (&str, u8)| {
        vec![
            row("AMF", "AMF", 1),
            row("APF", "APF", 2),
            row(aef.0, "AEF", aef.1),
        ]
    };
    let cases: [Case<'_>; 8] = [
        (
            "nothing new",
            functions(),
            all(known(wanted("AEF", 3), "AEF")),
            &[],
            rows(("AEF", 3)),
        ),
        (
            "known by the key alone",
            functions(),
            vec![wanted("AMF", 1), wanted("APF", 2), wanted("AEF", 3)],
            &[],
            rows(("AEF", 3)),
        ),
        (
            "a new key",
            functions(),
            all(known(wanted("AEF", 9), "AEF")),
            &[("AEF", 9)],
            rows(("AEF", 9)),
        ),
        (
            "a new host",
            functions(),
            all(serving(
                known(wanted("AEF", 3), "AEF"),
                json!(["gw.example"]),
            )),
            &[("AEF", 3)],
            rows(("AEF", 3)),
        ),
        (
            "the same host",
            hosted.clone(),
            all(serving(
                known(wanted("AEF", 3), "AEF"),
                json!(["gw.example"]),
            )),
            &[],
            rows(("AEF", 3)),
        ),
        (
            "no host any more",
            hosted,
            all(known(wanted("AEF", 3), "AEF")),
            &[("AEF", 3)],
            rows(("AEF", 3)),
        ),
        (
            "a new key without an id is a new function",
            functions(),
            all(wanted("AEF", 9)),
            &[("AEF-1", 9)],
            rows(("AEF-1", 9)),
        ),
        (
            "a known key in another role is a new function",
            functions(),
            all(wanted("AEF", 2)),
            &[("AEF-1", 2)],
            rows(("AEF-1", 2)),
        ),
    ];
    for (case, before, wanted, certified, rows) in cases {
        let plan = planned(request(&wanted), Before::Domain(&held, &before)).unwrap();
        let certified: Vec<_> = certified
            .iter()
            .map(|(id, key)| (*id, digest(*key)))
            .collect();
        assert_eq!(orders(&plan), certified, "{case}");
        let (changes, answer) = completed(plan, &[], &[]);
        assert_eq!(answered(&answer), rows, "{case}");
        let (expect, made) = written::<ProviderDomain>(&changes).remove(0);
        assert_eq!(expect, Expect::At(REVISION), "{case}");
        let ids: Vec<&str> = rows.iter().map(|(id, ..)| id.as_str()).collect();
        let made: Vec<&str> = made.functions.iter().map(|id| id.as_str()).collect();
        assert_eq!(made, ids, "{case}");
        assert_eq!(
            written::<crate::state::CredentialUse>(&changes),
            [],
            "{case}"
        );
    }
}

/// TS 29.222 clause 5.11.2.3: an update follows the order of its own request and takes what the provider says of domain and
/// functions; features stay unless they are negotiated anew.
#[test]
fn an_update_takes_order_and_information() {
    let before = functions();
    let mut held = versioned(domain(&before));
    held.record.information = Some("before".to_owned());
    let mut details = request(&[
        known(wanted("AEF", 3), "AEF"),
        known(wanted("AMF", 1), "AMF"),
        known(wanted("APF", 2), "APF"),
    ]);
    details.api_prov_dom_info = Some("after".to_owned());
    details.api_prov_funcs.as_mut().unwrap()[0].api_prov_func_info = Some("a gateway".to_owned());
    for (wanted, agreed) in [(None, "1"), (Some("0"), "0"), (Some("3"), "1")] {
        details.supp_feat = wanted.map(SupportedFeatures::from);
        details.api_prov_dom_id = wanted.map(|_| "DOM".into());
        let plan = planned(details.clone(), Before::Domain(&held, &before)).unwrap();
        let (changes, answer) = completed(plan, &[], &[]);
        assert_eq!(answer.supp_feat, wanted.map(|_| agreed.into()));
        assert_eq!(answer.api_prov_dom_id, Some("DOM".into()));
        let (_, made) = written::<ProviderDomain>(&changes).remove(0);
        assert_eq!(made.functions, ["AEF".into(), "AMF".into(), "APF".into()]);
        assert_eq!(made.information.as_deref(), Some("after"));
        assert_eq!(made.features, SupportedFeatures::from(agreed));
        assert_eq!(made.name, "provider");
        let written = written::<ProviderFunction>(&changes);
        assert_eq!(written[0].1.information.as_deref(), Some("a gateway"));
    }
}

/// TS 29.222 clause 5.11.2.3: ids are the CCF's: an update names functions of its own domain only, each once and in its role.
#[test]
fn updates_that_are_refused() {
    let before = functions();
    let held = versioned(domain(&before));
    let amf = || known(wanted("AMF", 1), "AMF");
    let unknown = Refusal::NotFound {
        what: "provider function",
    };
    let cases = [
        (
            "an id of another domain",
            vec![amf(), known(wanted("AEF", 3), "AEF9")],
            unknown.clone(),
        ),
        (
            "one id twice",
            vec![
                amf(),
                known(wanted("AEF", 3), "AEF"),
                known(wanted("AEF", 4), "AEF"),
            ],
            unknown,
        ),
        (
            "another role",
            vec![amf(), known(wanted("APF", 3), "AEF")],
            Refusal::ModificationNotAllowed {
                member: "apiProvFuncs/1/apiProvFuncRole".to_owned(),
            },
        ),
        (
            "a bad key for a known function",
            vec![amf(), known(wanted("AEF", 0).as_bad(), "AEF")],
            Refusal::PublicKey("it is too weak".to_owned()),
        ),
        (
            "its last AMF",
            vec![known(wanted("APF", 2), "APF")],
            Refusal::incorrect(
                "/apiProvFuncs",
                "a provider domain needs an AMF: only an AMF may change or remove it later",
            ),
        ),
    ];
    for (case, wanted, refusal) in cases {
        let plan = planned(request(&wanted), Before::Domain(&held, &before));
        assert_eq!(plan.unwrap_err(), refusal, "{case}");
    }
    let mut moved = request(&[amf()]);
    moved.api_prov_dom_id = Some("DOM9".into());
    assert_eq!(
        planned(moved, Before::Domain(&held, &before)).unwrap_err(),
        Refusal::ModificationNotAllowed {
            member: "apiProvDomId".to_owned()
        }
    );
}

/// An update decides on the domain that was read.
#[test]
fn an_update_of_a_domain_that_moved_conflicts() {
    let before = functions();
    let held = Versioned {
        record: domain(&before),
        revision: Revision(3),
    };
    let plan = planned(
        request(&[known(wanted("AMF", 1), "AMF")]),
        Before::Domain(&held, &before),
    );
    let (changes, _) = completed(plan.unwrap(), &[], &[]);
    let mut world = World::default().with(&held.record);
    for function in &before {
        world = world.with(function);
    }
    let moved = Key::new(Kind::ProviderDomain, "DOM");
    assert_eq!(world.commit(changes), Err(moved));
}

/// The vendor member that names hosts takes DNS names and addresses, at most 16, and no wildcard.
#[test]
fn rules_of_hosts() {
    let longest = format!("{}.{}", "a".repeat(63), "b".repeat(63));
    let good = [
        json!([]),
        json!(["gw.example"]),
        json!(["localhost", "GW-1.example", "0.pool.example"]),
        json!(["192.0.2.1", "2001:db8::1", "::1"]),
        json!([longest]),
        json!(vec!["gw.example"; 16]),
    ];
    let long_label = "a".repeat(64);
    let long_name = format!("{}b", "a.".repeat(127));
    assert_eq!(long_name.len(), 255);
    let bad = [
        json!("gw.example"),
        json!({ "0": "gw.example" }),
        json!(null),
        json!([null]),
        json!([7]),
        json!([["gw.example"]]),
        json!([""]),
        json!(["gw.example", ""]),
        json!(["*.example"]),
        json!(["gw.example."]),
        json!([".example"]),
        json!(["gw..example"]),
        json!(["-gw.example"]),
        json!(["gw-.example"]),
        json!(["gw_1.example"]),
        json!(["gw.example:443"]),
        json!(["[::1]"]),
        json!(["https://gw.example"]),
        json!(["gw.example/path"]),
        json!(["gw example"]),
        json!(["gw.exämple"]),
        json!(["gw.example\u{0}"]),
        json!(["192.0.2.1/24"]),
        json!([long_label]),
        json!([long_name]),
        json!(vec!["gw.example"; 17]),
    ];
    let attempt = |hosts: &Value| {
        registered(request(&[
            wanted("AMF", 1),
            serving(wanted("AEF", 2), hosts.clone()),
        ]))
    };
    for hosts in good {
        let plan = attempt(&hosts).unwrap();
        let order = plan.orders().nth(1).unwrap();
        assert_eq!(json!(order.hosts()), hosts);
        let (_, answer) = completed(plan, &[], &[]);
        let aef = &answer.api_prov_funcs.unwrap()[1];
        assert_eq!(aef.extra[HOSTS_MEMBER]["hosts"], hosts);
    }
    for hosts in bad {
        let refusal = attempt(&hosts).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Malformed { pointer, .. }
                if pointer == "/apiProvFuncs/1/vendorSpecific-capif/hosts"),
            "{hosts}: {refusal:?}"
        );
    }
    // Other vendors' members and other shapes of this one say nothing about hosts.
    for vendor in [json!("gw.example"), json!({}), json!({ "host": "x" })] {
        let mut aef = wanted("AEF", 2);
        aef[HOSTS_MEMBER] = vendor;
        let plan = registered(request(&[wanted("AMF", 1), aef])).unwrap();
        assert_eq!(plan.orders().nth(1).unwrap().hosts(), [] as [&str; 0]);
    }
}

/// A world with a domain of two APFs and AEFs, of which some publish and all wait for something, and a second domain.
fn world(functions: &[ProviderFunction], apis: &[ServiceApi]) -> (World, Vec<Subscription>) {
    let mut world = World::default().with(&domain(functions));
    let mut subscriptions = Vec::new();
    for function in functions {
        world = world.with(function);
        subscriptions.push((function.id.to_string(), function.role));
    }
    subscriptions.push(("AEF9".to_owned(), Role::Aef));
    subscriptions.push(("INV".to_owned(), Role::ApiInvoker));
    let subscriptions: Vec<Subscription> = subscriptions
        .into_iter()
        .map(|(id, role)| subscription(&id, role, &["SERVICE_API_UNAVAILABLE"]))
        .collect();
    for subscription in &subscriptions {
        world = world.with(subscription).with(&waiting(subscription));
    }
    for api in apis {
        world = world.with(api).with(&ServiceApiName {
            domain_id: api.domain_id.clone(),
            api_name: api.description.api_name.clone(),
            api_id: api.id.clone(),
        });
    }
    (world, subscriptions)
}

/// Under which subscriptions notifications wait, each once per notification.
fn waiting_under(world: &World) -> Vec<String> {
    let ids = world.ids(Kind::Notification);
    ids.iter()
        .map(|id| id.split('/').next().unwrap().to_owned())
        .collect()
}

fn apis() -> Vec<ServiceApi> {
    let profiles = [profile("AEF", &[Oauth])];
    let of_apf2 = ServiceApi {
        apf_id: "APF2".into(),
        ..api("API2", "traffic", &profiles)
    };
    vec![
        api("API1", "weather", &profiles),
        of_apf2,
        elsewhere(api("API9", "weather", &profiles), "APF9", "DOM9"),
    ]
}

/// TS 23.222 clause 8.29: a function that is left out of an update goes, with its APIs, its subscriptions and what waits for it;
/// those who wait for the end of an API are told.
#[test]
fn a_function_that_is_left_out_takes_its_own_along() {
    let mut before = functions();
    before.push(function("APF2", Role::Apf, 4));
    let apis = apis();
    let (mut world, subscriptions) = world(&before, &apis);
    let held = world.held::<ProviderDomain>("DOM").unwrap();
    let wanted = [
        known(wanted("AMF", 1), "AMF"),
        known(wanted("AEF", 3), "AEF"),
        known(wanted("APF", 4), "APF2"),
    ];
    let plan = planned(request(&wanted), Before::Domain(&held, &before)).unwrap();
    let (changes, _) = completed(plan, &apis, &subscriptions);
    world.commit(changes).unwrap();

    assert_eq!(world.ids(Kind::ProviderFunction), ["AEF", "AMF", "APF2"]);
    assert_eq!(world.ids(Kind::ServiceApi), ["API2", "API9"]);
    assert_eq!(
        world.ids(Kind::ServiceApiName),
        ["DOM/traffic", "DOM9/weather"]
    );
    assert_eq!(
        world.ids(Kind::Subscription),
        ["AEF/SUB", "AEF9/SUB", "AMF/SUB", "APF2/SUB", "INV/SUB"]
    );
    assert_eq!(
        waiting_under(&world),
        [
            "AEF", "AEF", "AEF9", "AEF9", "AMF", "AMF", "APF2", "APF2", "INV", "INV"
        ]
    );
}

/// TS 23.222 clause 8.28.3: a domain that is removed leaves nothing, whatever the order of its functions; other domains keep
/// what is theirs and are told.
#[test]
fn a_domain_goes_whole() {
    let mut order = functions();
    order.push(function("APF2", Role::Apf, 4));
    for _ in 0..order.len() {
        order.rotate_left(1);
        let apis = apis();
        let (mut world, subscriptions) = world(&order, &apis);
        let held = world.held::<ProviderDomain>("DOM").unwrap();
        let changes = deregister(&held, &order, apis.iter(), subscriptions.iter(), &now());
        world.commit(changes.clone()).unwrap();

        assert_eq!(world.ids(Kind::ProviderDomain), [] as [&str; 0]);
        assert_eq!(world.ids(Kind::ProviderFunction), [] as [&str; 0]);
        assert_eq!(world.ids(Kind::ServiceApi), ["API9"]);
        assert_eq!(world.ids(Kind::ServiceApiName), ["DOM9/weather"]);
        assert_eq!(world.ids(Kind::Subscription), ["AEF9/SUB", "INV/SUB"]);
        // One from before, and one for each of the two APIs.
        assert_eq!(
            waiting_under(&world),
            ["AEF9", "AEF9", "AEF9", "INV", "INV", "INV"],
            "{:?}",
            order
                .iter()
                .map(|function| &function.id)
                .collect::<Vec<_>>()
        );
        let moved = Key::new(Kind::ProviderDomain, "DOM");
        assert_eq!(world.commit(changes), Err(moved));
    }
}

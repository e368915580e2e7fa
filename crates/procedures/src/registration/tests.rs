mod hosts;
mod removal;
mod renewal;
mod reuse;
mod update;

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
        approval: false,
    }
}

/// A function of a request, with the key of this number.
fn wanted(role: &str, key: u8) -> Value {
    json!({
        "regInfo": { "apiProvPubKey": format!("key {key}") },
        "apiProvFuncRole": role,
    })
}

/// A function of a request, with a key that does not pass.
fn unusable(role: &str) -> Value {
    json!({
        "regInfo": { "apiProvPubKey": "no key" },
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
    plan(
        details,
        before,
        "DOM".into(),
        keys,
        new_id,
        &|_| false,
        &now(),
    )
}

fn registered(details: ApiProviderEnrolmentDetails) -> Result<Plan, Refusal> {
    let credential = credential();
    let before = Before::Nothing {
        credential: &credential,
        name: "provider",
        is_reusable: false,
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
    plan.complete(
        certificates,
        around(apis, subscriptions, &[]),
        OVERLAP,
        &now(),
    )
    .unwrap()
}

/// How long what was handed over still counts when it is replaced.
const OVERLAP: Duration = Duration::hours(1);

fn around<'a>(
    apis: &'a [ServiceApi],
    subscriptions: &'a [Subscription],
    contexts: &'a [Versioned<SecurityContext>],
) -> Around<
    'a,
    std::slice::Iter<'a, ServiceApi>,
    std::slice::Iter<'a, Subscription>,
    std::slice::Iter<'a, Versioned<SecurityContext>>,
> {
    static NONE: std::sync::LazyLock<crate::topology_hiding::Rules> =
        std::sync::LazyLock::new(Default::default);
    Around {
        apis: apis.iter(),
        rules: &NONE,
        subscriptions: subscriptions.iter(),
        contexts: contexts.iter(),
    }
}

/// The functions, as the store holds them.
fn stored(functions: &[ProviderFunction]) -> Vec<Versioned<ProviderFunction>> {
    functions.iter().cloned().map(versioned).collect()
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
        issuer: Some("https://operator.example".to_owned()),
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
            // What was said is kept as it was said.
            extra: match hosts {
                [] => Default::default(),
                hosts => wire(json!({ HOSTS_MEMBER: { "hosts": hosts } })),
            },
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
            request(&[wanted("AEF", 1), unusable("AMF")]),
            &too_weak,
        ),
        (
            "every key fails",
            request(&[unusable("AMF"), unusable("AEF")]),
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

/// TS 29.222 clause 8.9.4.2.2: functions that fail are left out, and `failReason` says why; the others are registered.
#[test]
fn partial_success_says_what_failed() {
    let plan = registered(request(&[
        unusable("AEF"),
        wanted("AMF", 1),
        unusable("APF"),
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
    let refusal = plan.complete(one, around(&[], &[], &[]), OVERLAP, &now());
    assert_eq!(
        refusal.unwrap_err(),
        Refusal::NotFound {
            what: "certificate"
        }
    );
}

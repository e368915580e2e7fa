mod agreements;
mod counts;

use capif_spec::common::Redacted;
use serde_json::{Value, json};

use super::*;
use crate::{
    changes::{Change, Kind, Record},
    fixtures::*,
};

/// A credential whose holder reaches this much.
fn credential(reach: ApiReach) -> Credential {
    Credential {
        issuer: "https://issuer.example".to_owned(),
        single_use: digest(0xc0),
        expires: "2026-02-01T00:00:00Z".parse().unwrap(),
        reach,
        registered: None,
        approval: false,
    }
}

/// A request that asks for these APIs.
fn request(wanted: &[&str]) -> ApiInvokerEnrolmentDetails {
    let apis: Vec<Value> = wanted
        .iter()
        .map(|name| json!({ "apiName": name }))
        .collect();
    let mut document = json!({
        "onboardingInformation": { "apiInvokerPublicKey": "the key as it was sent" },
        "notificationDestination": DESTINATION,
        "apiInvokerInformation": "an invoker",
    });
    if !apis.is_empty() {
        document["apiList"] = json!({ "serviceAPIDescriptions": apis });
    }
    wire(document)
}

fn admitted(
    wanted: &[&str],
    credential: Credential,
    apis: &[ServiceApi],
) -> Result<Admission, Refusal> {
    admit(
        request(wanted),
        candidate("INV", credential),
        apis.iter(),
        &rotation_terms(),
        &now(),
    )
    .map_err(|denial| denial.refusal)
}

fn candidate(id: &str, credential: Credential) -> Candidate {
    Candidate {
        credential,
        public_key: key(1),
        id: id.into(),
    }
}

fn new_secret() -> NewSecret {
    NewSecret {
        text: Redacted::from("the secret"),
        digest: digest(0x5e),
        sealed: SealedKey::new("a sealed secret"),
    }
}

fn completed(
    admission: Admission,
    apis: &[ServiceApi],
    subscriptions: &[Subscription],
) -> (Changes, ApiInvokerEnrolmentDetails) {
    let certificate = certified(admission.order());
    let secret = admission.needs_secret().then(new_secret);
    admission.complete(
        certificate,
        secret,
        apis.iter(),
        subscriptions.iter(),
        &Tally::default(),
        now(),
    )
}

/// TS 33.122 clause 6.1 step 5: what the invoker is authorized for comes from its credential, and TS 29.222 clause 8.4.4.2.2:
/// the API list of the request is a wish.
#[test]
fn reach_is_what_the_credential_allows_of_what_is_wanted() {
    let everything = ApiReach::default;
    let within = |domain: &str, list: &[&str]| ApiReach {
        domain: Some(domain.into()),
        ..names(list)
    };
    let cases: [(ApiReach, &[&str], Option<ApiReach>); 11] = [
        (everything(), &[], Some(everything())),
        (everything(), &["weather"], Some(names(&["weather"]))),
        (
            everything(),
            &["traffic", "weather", "weather"],
            Some(names(&["weather", "traffic"])),
        ),
        (names(&["weather"]), &[], Some(names(&["weather"]))),
        (names(&["weather"]), &["weather"], Some(names(&["weather"]))),
        (
            names(&["weather", "maps"]),
            &["weather", "traffic"],
            Some(names(&["weather"])),
        ),
        (names(&["weather"]), &["traffic"], None),
        (names(&["weather"]), &["Weather"], None),
        (domain_only("DOM"), &[], Some(domain_only("DOM"))),
        (
            domain_only("DOM"),
            &["weather"],
            Some(within("DOM", &["weather"])),
        ),
        (within("DOM", &["weather"]), &["traffic"], None),
    ];
    for (allowed, wanted, expected) in cases {
        let case = format!("{allowed:?} and {wanted:?}");
        let found = admitted(wanted, credential(allowed), &[]);
        let Some(expected) = expected else {
            let refusal = found.unwrap_err();
            assert!(
                matches!(&refusal, Refusal::NoApiGranted { .. }),
                "{case}: {refusal:?}"
            );
            continue;
        };
        let (changes, _) = completed(found.unwrap(), &[], &[]);
        let (_, invoker) = written::<Invoker>(&changes).remove(0);
        assert_eq!(invoker.reach, expected, "{case}");
    }
}

/// TS 33.122 clause 6.1 step 6: an Onboard_Secret is due when an API that the invoker is enrolled for uses Method 3; one that
/// nobody has published yet may.
#[test]
fn a_secret_is_given_where_method_3_may_be_used() {
    let by_interface = profile_with(
        "AEF",
        &[Oauth],
        &[("a.example", &[Pki]), ("b.example", &[Oauth])],
    );
    let overruled = profile_with("AEF", &[Oauth], &[("a.example", &[Pki])]);
    let apis = [
        api("A1", "weather", &[profile("AEF", &[Pki, Oauth])]),
        api("A2", "traffic", &[profile("AEF", &[Pki])]),
        api("A3", "tides", &[profile("AEF", &[Psk]), by_interface]),
        api("A4", "maps", &[overruled]),
        elsewhere(
            api("A5", "traffic", &[profile("AEF9", &[Oauth])]),
            "APF9",
            "DOM9",
        ),
    ];
    let of_dom = |list: &[&str]| ApiReach {
        domain: Some("DOM".into()),
        ..names(list)
    };
    let cases: [(&str, ApiReach, &[&str], bool); 9] = [
        ("an API offers it", of_dom(&["weather"]), &[], true),
        ("no API offers it", of_dom(&["traffic", "maps"]), &[], false),
        (
            "another domain's API offers it",
            names(&["traffic"]),
            &[],
            true,
        ),
        ("an interface offers it", of_dom(&["tides"]), &[], true),
        (
            "every interface overrules it",
            of_dom(&["maps"]),
            &[],
            false,
        ),
        (
            "one of several offers it",
            of_dom(&["traffic", "weather"]),
            &[],
            true,
        ),
        (
            "narrowed to one without",
            of_dom(&["traffic", "weather"]),
            &["traffic"],
            false,
        ),
        (
            "one is not published",
            of_dom(&["traffic", "later"]),
            &[],
            true,
        ),
        ("every API to come", ApiReach::default(), &[], true),
    ];
    for (case, allowed, wanted, due) in cases {
        let admission = admitted(wanted, credential(allowed), &apis).unwrap();
        assert_eq!(admission.needs_secret(), due, "{case}");
        let (changes, answer) = completed(admission, &apis, &[]);
        let (_, invoker) = written::<Invoker>(&changes).remove(0);
        assert_eq!(invoker.onboard_secret.is_some(), due, "{case}");
        let secret = answer.onboarding_information.onboarding_secret;
        assert_eq!(secret.is_some(), due, "{case}");
    }
    let unlimited = admitted(&[], credential(domain_only("DOM8")), &apis).unwrap();
    assert!(unlimited.needs_secret(), "a domain without APIs yet");
}

/// TS 29.222 clause 8.4.4.2.2: `apiInvokerId` is absent in the request, since the CCF gives it.
#[test]
fn an_id_in_the_request_is_refused() {
    let mut details = request(&[]);
    details.api_invoker_id = Some("INV".into());
    let refusal = admit(
        details,
        candidate("INV", credential(ApiReach::default())),
        [].iter(),
        &rotation_terms(),
        &now(),
    );
    assert!(matches!(
        refusal.unwrap_err().refusal,
        Refusal::Malformed { pointer, .. } if pointer == "/apiInvokerId"
    ));
}

/// What one request may ask for is bounded; the same name again is no further wish.
#[test]
fn wishes_are_bounded() {
    let all: Vec<String> = (0..=APIS_MAX)
        .map(|number| format!("api{number}"))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert!(admitted(&all, credential(ApiReach::default()), &[]).is_err());
    let mut most = all[..APIS_MAX].to_vec();
    most.push("api0");
    assert!(admitted(&most, credential(ApiReach::default()), &[]).is_ok());
}

/// TS 33.122 clause 6.1 steps 4 and 6: the certificate is for the submitted key and the id that was given; an invoker does
/// not serve, so that it has no host.
#[test]
fn the_order_is_for_the_submitted_key_and_the_given_id() {
    let admission = admitted(&[], credential(ApiReach::default()), &[]).unwrap();
    let order = admission.order();
    assert_eq!(order.id(), "INV");
    assert_eq!(order.role(), Role::ApiInvoker);
    assert_eq!(*order.public_key(), key(1));
    assert_eq!(order.hosts(), [] as [&str; 0]);
}

/// TS 33.122 clause 6.1 step 6: profile, use of the credential and event come into the world by one commit, and on no other
/// ground than that the credential is unused and the id new.
#[test]
fn one_commit_makes_profile_use_and_event() {
    let of_dom = |subscriber: &str, role, event: &str| Subscription {
        reach: domain_only("DOM"),
        ..subscription(subscriber, role, &[event])
    };
    let aef = of_dom("AEF", Role::Aef, "API_INVOKER_ONBOARDED");
    let apf = plain(of_dom("APF", Role::Apf, "API_INVOKER_ONBOARDED"));
    let deaf = of_dom("AMF", Role::Amf, "API_INVOKER_OFFBOARDED");
    let apis = [api("A1", "weather", &[profile("AEF", &[Oauth])])];
    let other = subscription("INV9", Role::ApiInvoker, &["API_INVOKER_ONBOARDED"]);
    let admission = admitted(&["weather"], credential(ApiReach::default()), &apis).unwrap();
    let (changes, _) = completed(admission, &apis, &[aef, apf, deaf, other]);

    let mut profile = invoker_within("INV", names(&["weather"]));
    profile.public_key_text = "the key as it was sent".into();
    profile.information = Some("an invoker".to_owned());
    profile.allowance = Some(ApiReach::default());
    let used = CredentialUse {
        id: digest(0xc0),
        expires: "2026-02-01T00:00:00Z".parse().unwrap(),
    };
    assert_eq!(written::<CredentialUse>(&changes), [(Expect::Absent, used)]);
    assert_eq!(written::<Invoker>(&changes), [(Expect::Absent, profile)]);
    assert_eq!(
        notified(&changes),
        [
            (
                "AEF".to_owned(),
                "API_INVOKER_ONBOARDED".to_owned(),
                json!({ "apiInvokerIds": ["INV"] })
            ),
            (
                "APF".to_owned(),
                "API_INVOKER_ONBOARDED".to_owned(),
                Value::Null
            ),
        ]
    );
    assert_eq!(changes.steps.len(), 4);
}

/// TS 33.122 clause 6.1: a credential serves once (D-26), also when the first request and a second are decided at the same
/// time.
#[test]
fn a_credential_makes_one_invoker() {
    let mut world = World::default();
    let attempt = |id: &str| {
        let admission = admit(
            request(&[]),
            candidate(id, credential(ApiReach::default())),
            [].iter(),
            &rotation_terms(),
            &now(),
        );
        completed(admission.unwrap(), &[], &[]).0
    };
    let (first, second) = (attempt("INV1"), attempt("INV2"));
    assert_eq!(world.commit(first), Ok(()));
    assert_eq!(world.commit(second).unwrap_err().kind, Kind::CredentialUse);
    assert_eq!(world.ids(Kind::Invoker), ["INV1"]);
}

/// TS 33.122 clause 6.1 step 2: a credential that the provider handed over goes with its use, and one that was taken back
/// meanwhile admits nobody.
#[test]
fn a_credential_handed_over_goes_with_its_use() {
    let handed_over = RegisteredCredential {
        token: digest(0x70),
        expires: "2026-02-01T00:00:00Z".parse().unwrap(),
        reach: ApiReach::default(),
        approval: false,
    };
    let presented = Credential {
        registered: Some(digest(0x70)),
        ..credential(handed_over.reach.clone())
    };
    let admission = admitted(&[], presented, &[]).unwrap();
    let (changes, _) = completed(admission, &[], &[]);
    let id = handed_over.record_id();
    assert!(
        changes
            .steps
            .contains(&deletion(Kind::RegisteredCredential, &id, Expect::Present))
    );

    let mut world = World::default().with(&handed_over);
    assert_eq!(world.commit(changes.clone()), Ok(()));
    assert_eq!(world.ids(Kind::RegisteredCredential), [] as [&str; 0]);
    let mut without = World::default();
    assert_eq!(
        without.commit(changes).unwrap_err().kind,
        Kind::RegisteredCredential
    );
    assert_eq!(without.keys(), []);
}

/// TS 33.122 clause 6.1 step 7: the answer carries id, certificate, Onboard_Secret and the APIs that are allowed, of which
/// the invoker sees what it may discover.
#[test]
fn the_answer_is_complete() {
    let mut weather = api(
        "A1",
        "weather",
        &[profile_with("AEF", &[], &[("a.example", &[Oauth])])],
    );
    weather.description.shareable_info = Some(wire(json!({ "isShareable": true })));
    let traffic = api("A2", "traffic", &[profile("AEF", &[Pki])]);
    let apis = [weather, traffic];
    let admission = admitted(&["weather"], credential(ApiReach::default()), &apis).unwrap();
    let (_, answer) = completed(admission, &apis, &[]);
    assert_eq!(
        serde_json::to_value(&answer).unwrap(),
        json!({
            "apiInvokerId": "INV",
            "onboardingInformation": {
                "apiInvokerPublicKey": "the key as it was sent",
                "apiInvokerCertificate": "certificate of key 1",
                "onboardingSecret": "the secret",
            },
            "notificationDestination": DESTINATION,
            "apiInvokerInformation": "an invoker",
            "apiList": { "serviceAPIDescriptions": [{
                "apiName": "weather",
                "apiId": "A1",
                "aefProfiles": [{
                    "aefId": "AEF",
                    "versions": [{ "apiVersion": "v1" }],
                    "securityMethods": ["OAUTH"],
                    "interfaceDescriptions": [{
                        "fqdn": "a.example",
                        "securityMethods": ["OAUTH"],
                    }],
                }],
            }]},
        })
    );

    let admission = admitted(&["weather"], credential(ApiReach::default()), &[]).unwrap();
    let (_, answer) = completed(admission, &[], &[]);
    assert_eq!(answer.api_list, None, "nothing is published yet");
}

/// TS 29.222 clause 7.8: features are answered as far as both sides have them, and members of the others are left out; what
/// only the CCF says is not taken from the request.
#[test]
fn what_was_not_agreed_on_is_not_answered() {
    for (wanted, agreed) in [(None, None), (Some("0"), Some("0")), (Some("4"), Some("4"))] {
        let mut document = serde_json::to_value(request(&["weather"])).unwrap();
        document["requestTestNotification"] = json!(true);
        document["websockNotifConfig"] = json!({ "requestWebsocketUri": true });
        document["expTime"] = json!("2026-03-01T00:00:00Z");
        document["failureReasons"] =
            json!([{ "apiName": "weather", "failureCode": "UNSPECIFIED" }]);
        document["onboardingInformation"] = json!({
            "apiInvokerPublicKey": "the key as it was sent",
            "apiInvokerCertificate": "a certificate of its own",
            "onboardingSecret": "a secret of its own",
            "onboardingCriteria": [{ "secMethods": ["PKI"] }],
        });
        document["vendorSpecific-000001"] = json!({ "kept": true });
        let mut details: ApiInvokerEnrolmentDetails = wire(document);
        details.supported_features = wanted.map(SupportedFeatures::from);
        let pki_only = [api("A2", "weather", &[profile("AEF", &[Pki])])];
        let admission = admit(
            details,
            candidate("INV", credential(ApiReach::default())),
            pki_only.iter(),
            &rotation_terms(),
            &now(),
        );
        let (changes, answer) = completed(admission.unwrap(), &pki_only, &[]);

        assert_eq!(
            answer.supported_features,
            agreed.map(SupportedFeatures::from)
        );
        let answer = serde_json::to_value(answer).unwrap();
        for member in [
            "requestTestNotification",
            "websockNotifConfig",
            "expTime",
            "failureReasons",
        ] {
            assert_eq!(answer.get(member), None, "{member}");
        }
        assert_eq!(
            answer["onboardingInformation"],
            json!({
                "apiInvokerPublicKey": "the key as it was sent",
                "apiInvokerCertificate": "certificate of key 1",
                "onboardingCriteria": [{ "secMethods": ["PKI"] }],
            })
        );
        // Vendor members come back as they were (TS 29.222 clause 7.11).
        assert_eq!(answer["vendorSpecific-000001"], json!({ "kept": true }));
        let (_, invoker) = written::<Invoker>(&changes).remove(0);
        assert_eq!(invoker.features, agreed.unwrap_or("0").into());
        assert_eq!(invoker.expires, None);
    }
}

/// TS 33.122 clause 6.1 step 6: the CCF keeps the Onboard_Secret as a digest only; neither secret nor token text is written.
#[test]
fn no_secret_is_written() {
    let admission = admitted(&[], credential(ApiReach::default()), &[]).unwrap();
    let (changes, _) = completed(admission, &[], &[]);
    for step in &changes.steps {
        if let Change::Put { value, .. } = step {
            assert!(!String::from_utf8_lossy(value).contains("the secret"));
        }
    }
}

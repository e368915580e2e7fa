//! AEF_PSK (TS 33.122 clauses 6.5.2.1 and A.1): how an API invoker and the core function come to the same key, and who else is
//! told of it. The invoker here is one that knows the standard and nothing of this program: requests, TLS, and the derivation.

mod keeping;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_procedures::aefpsk::{self, Facts, Profile};
use capif_transport::{Session, TlsVersion};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    World,
    people::{Domain, RawInvoker, profile},
    wire::{Answer, Caller},
};

/// The member of this product's own.
const VENDOR: &str = "vendorSpecific-capif";

/// Publishes an API on these interfaces.
async fn publish(domain: &Domain, api: &str, methods: &[&str], interfaces: &[Value]) -> String {
    let mut profile = profile(&domain.aef.id, methods);
    profile["interfaceDescriptions"] = json!(interfaces);
    // PatchUpdate.
    let body = json!({ "apiName": api, "aefProfiles": [profile], "supportedFeatures": "2" });
    let answer = domain.apf.post(&domain.apis(), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    answer.json()["apiId"].as_str().unwrap().to_owned()
}

fn on(port: u16) -> Value {
    json!({ "ipv4Addr": "127.0.0.1", "port": port })
}

fn interface(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

/// Somebody who keeps the facts of each session, and begins a new one for each negotiation.
fn keeper(world: &World, invoker: &RawInvoker, tls12_only: bool) -> Caller {
    let identity = Some(invoker.pems.identity());
    Caller::with_facts(world, world.address(), identity, tls12_only)
}

/// A request for a security context, over a session of its own.
async fn negotiate(
    world: &World,
    invoker: &RawInvoker,
    tls12_only: bool,
    entries: &[Value],
) -> Answer {
    let body = json!({
        "securityInfo": entries,
        "notificationDestination": "https://invoker.example/notify",
        "supportedFeatures": "4",
    });
    let caller = keeper(world, invoker, tls12_only);
    caller
        .json(Method::PUT, &invoker.context(), Some(&body))
        .await
}

fn wish(domain: &Domain, methods: &[&str]) -> Value {
    json!({ "aefId": domain.aef.id, "prefSecurityMethods": methods })
}

fn wish_in(domain: &Domain, methods: &[&str], profile: &str) -> Value {
    let mut wish = wish(domain, methods);
    wish[VENDOR] = json!({ "pskProfile": profile });
    wish
}

/// What an entry's authentication information says.
fn told(entry: &Value) -> Value {
    match entry.get("authenticationInfo") {
        Some(text) => serde_json::from_str(text.as_str().unwrap()).unwrap(),
        None => Value::Null,
    }
}

/// The key that an invoker derives for an interface from the session that carried its negotiation.
fn derived(session: &Session, profile: &str, interface: &str) -> [u8; 32] {
    let profile: Profile = profile.parse().unwrap();
    let (key, session_id): (&[u8], &[u8]) = match profile {
        Profile::A1Exporter => (session.exported_key(), session.exported_id()),
        Profile::A1Tls12 => {
            let facts = session.tls12().expect("a full handshake of TLS 1.2");
            (facts.master_secret, facts.session_id)
        }
    };
    let facts = Facts {
        profile,
        key,
        session_id,
    };
    *aefpsk::derive(&facts, interface).unwrap()
}

/// The keys of an answer, in the order of its entries.
fn keys(answer: &Answer) -> Vec<[u8; 32]> {
    assert!(answer.status.is_success(), "{}", answer.json());
    let session = answer.session.as_ref().expect("the facts of the session");
    let entries = answer.json()["securityInfo"].as_array().unwrap().clone();
    entries
        .iter()
        .map(|entry| {
            assert_eq!(entry["selSecurityMethod"], "PSK", "{entry}");
            let told = told(entry);
            let text = |member: &str| told[member].as_str().unwrap().to_owned();
            derived(session, &text("profile"), &text("interface"))
        })
        .collect()
}

/// What the AEF of a domain learns about an invoker, entry by entry.
async fn seen(domain: &Domain, invoker: &RawInvoker) -> Vec<Value> {
    let path = format!(
        "{}?authenticationInfo=true&authorizationInfo=true",
        invoker.context()
    );
    let answer = domain.aef.get(&path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let entries = answer.json()["securityInfo"].as_array().unwrap().clone();
    entries.iter().map(told).collect()
}

/// Every way in which somebody could write the octets of a key down.
fn spellings(key: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = key.iter().map(|octet| format!("{octet:02x}")).collect();
    vec![
        key.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        BASE64_URL_SAFE_NO_PAD.encode(key).into_bytes(),
        base64::prelude::BASE64_STANDARD_NO_PAD
            .encode(key)
            .into_bytes(),
        serde_json::to_vec(key).unwrap(),
    ]
}

fn holds(octets: &[u8], key: &[u8]) -> bool {
    spellings(key).iter().any(|spelling| {
        octets
            .windows(spelling.len())
            .any(|window| window == spelling)
    })
}

/// R-6.5.2.1-01, R-6.5.2.1-03, R-A-01, R-A-03 to R-A-05: the key that the invoker derives from its session is the one that the AEF
/// is given; by both versions of TLS, and by the literal facts of clause A.1 where there are any. It is not in the answer to the
/// invoker.
#[tokio::test]
async fn both_ends_come_to_the_same_key() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    publish(&domain, "weather", &["PSK"], &[on(8443)]).await;
    let invoker = world.raw_invoker(&[]).await;
    let plain = || wish(&domain, &["PSK"]);
    let cases = [
        (false, plain(), "a1-exporter"),
        (true, plain(), "a1-exporter"),
        (
            false,
            wish_in(&domain, &["PSK"], "a1-exporter"),
            "a1-exporter",
        ),
        (true, wish_in(&domain, &["PSK"], "a1-tls12"), "a1-tls12"),
    ];
    for (number, (tls12_only, entry, profile)) in (1..).zip(cases) {
        let now = world.now();
        let answer = negotiate(&world, &invoker, tls12_only, &[entry]).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        let version = answer.session.as_ref().unwrap().version();
        assert_eq!(version == TlsVersion::Tls12, tls12_only);
        let identity = format!("3GPP-CAPIF.{}.{number}", invoker.id);
        assert_eq!(
            told(&answer.json()["securityInfo"][0]),
            json!({
                "method": "PSK",
                "profile": profile,
                "pskId": identity,
                "exp": now + 86_400,
                "tls": "1.3",
                "interface": interface(8443),
            })
        );
        let key = keys(&answer)[0];
        assert!(!holds(&answer.body, &key));

        let entries = seen(&domain, &invoker).await;
        assert_eq!(entries.len(), 1);
        let mut expected = json!({
            "pskId": identity,
            "psk": BASE64_URL_SAFE_NO_PAD.encode(key),
            "exp": now + 86_400,
            "tls": "1.3",
            "interface": interface(8443),
        });
        if let Some(previous) = entries[0].get("previous") {
            assert_ne!(number, 1);
            expected["previous"] = previous.clone();
        }
        assert_eq!(entries[0], expected);
    }
}

/// R-A-03, D-02: the literal facts of clause A.1 are not to be had in TLS 1.3; whoever asks for them there is told what to do, and
/// nothing changes.
#[tokio::test]
async fn literal_facts_need_tls_1_2() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    publish(&domain, "weather", &["PSK", "PKI"], &[on(8443)]).await;
    let invoker = world.raw_invoker(&[]).await;
    let wanted = wish_in(&domain, &["PSK", "PKI"], "a1-tls12");
    let answer = negotiate(&world, &invoker, false, &[wanted]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.cause(), "MANDATORY_IE_INCORRECT");
    let problem = answer.json();
    assert_eq!(
        problem["invalidParams"][0]["param"],
        format!("/securityInfo/0/{VENDOR}/pskProfile")
    );
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("TLS 1.2") && detail.contains("a1-exporter"),
        "{detail}"
    );
    assert!(world.list("contexts").await.is_empty());
}

/// The vendor members take the words that they have and no others, in a negotiation as in a publication.
#[tokio::test]
async fn vendor_members_are_read_strictly() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let id = publish(&domain, "weather", &["PSK", "OAUTH"], &[on(8443)]).await;
    let invoker = world.raw_invoker(&[]).await;
    for (terms, culprit) in [
        (json!({ "pskProfile": "A1" }), "/pskProfile"),
        (json!({ "pskProfile": null }), "/pskProfile"),
        (json!({ "accessScenario": "sometimes" }), "/accessScenario"),
        (json!({ "accessScenario": 1 }), "/accessScenario"),
        (json!("at-invocation"), ""),
    ] {
        let mut wanted = wish(&domain, &["OAUTH"]);
        wanted[VENDOR] = terms;
        let answer = negotiate(&world, &invoker, false, &[wanted]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{culprit}");
        answer.cause();
        assert_eq!(
            answer.json()["invalidParams"][0]["param"],
            format!("/securityInfo/0/{VENDOR}{culprit}")
        );
    }
    for terms in [
        json!({ "pskTls": "1.1" }),
        json!({ "pskTls": 1.3 }),
        json!({ "oauthMutualTls": "yes" }),
        json!(true),
    ] {
        let mut bad = on(8443);
        bad[VENDOR] = terms;
        let mut profile = profile(&domain.aef.id, &["PSK"]);
        profile["interfaceDescriptions"] = json!([bad]);
        let one = format!("{}/{id}", domain.apis());
        let body = json!({ "apiName": "weather", "aefProfiles": [profile] });
        let other = json!({ "apiName": "traffic", "aefProfiles": [profile] });
        let patch = json!({ "aefProfiles": [profile] });
        for answer in [
            domain.apf.post(&domain.apis(), &other).await,
            domain.apf.put(&one, &body).await,
            domain.apf.patch(&one, &patch).await,
        ] {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
            answer.cause();
        }
    }
    let answer = domain.apf.get(&format!("{}/{id}", domain.apis())).await;
    assert!(!answer.json().to_string().contains(VENDOR));
}

/// D-06, R-A-02: an AEF with several interfaces has a key for each, in the version of TLS that each publishes; the entries say which
/// is which, in the one spelling that both ends use.
#[tokio::test]
async fn each_interface_has_a_key_of_its_own() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let first = json!({ "fqdn": "GW.Example.com", "apiPrefix": "/nef/" });
    let mut second = json!({ "ipv6Addr": "2001:0db8:0:0:0:0:0:1", "port": 8443 });
    second[VENDOR] = json!({ "pskTls": "1.2" });
    publish(&domain, "weather", &["PSK"], &[first.clone(), second]).await;
    let invoker = world.raw_invoker(&[]).await;
    let answer = negotiate(&world, &invoker, false, &[wish(&domain, &["PSK"])]).await;
    let keys = keys(&answer);
    assert_ne!(keys[0], keys[1]);
    let entries = answer.json()["securityInfo"].as_array().unwrap().clone();
    let shown: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let told = told(entry);
            assert_eq!(entry.get("aefId"), None);
            json!([entry["interfaceDetails"], told["interface"], told["tls"]])
        })
        .collect();
    assert_eq!(
        json!(shown),
        json!([
            [first, "https://gw.example.com:443/nef", "1.3"],
            [
                { "ipv6Addr": "2001:0db8:0:0:0:0:0:1", "port": 8443 },
                "https://[2001:db8::1]:8443",
                "1.2",
            ],
        ])
    );
    let given = seen(&domain, &invoker).await;
    for (given, key) in given.iter().zip(keys) {
        assert_eq!(given["psk"], BASE64_URL_SAFE_NO_PAD.encode(key));
    }
    assert_eq!(given.len(), 2);
    assert_ne!(given[0]["pskId"], given[1]["pskId"]);

    // Asked for one by one, each with the address as it was published.
    let wanted = json!({ "interfaceDetails": first, "prefSecurityMethods": ["PSK"] });
    let answer = negotiate(&world, &invoker, false, &[wanted]).await;
    assert_eq!(answer.json()["securityInfo"][0]["interfaceDetails"], first);
    let given = seen(&domain, &invoker).await;
    assert_eq!(given.len(), 1);
    let key = self::keys(&answer)[0];
    assert_eq!(given[0]["psk"], BASE64_URL_SAFE_NO_PAD.encode(key));
}

/// R-6.3-14, R-6.5.2.1-03: a key goes to the AEF whose interface it is for. Another one gets nothing of it, whether the invoker has
/// to do with it or not; nor does anyone without an AEF's certificate.
#[tokio::test]
async fn a_key_goes_to_its_aef_alone() {
    let world = World::start().await;
    let (acme, umbrella) = (world.domain("acme").await, world.domain("umbrella").await);
    publish(&acme, "weather", &["PSK"], &[on(8443)]).await;
    publish(&umbrella, "traffic", &["PSK", "OAUTH"], &[on(9443)]).await;
    let invoker = world.raw_invoker(&[]).await;
    let path = format!("{}?authenticationInfo=true", invoker.context());
    let answer = negotiate(&world, &invoker, false, &[wish(&acme, &["PSK"])]).await;
    let key = keys(&answer)[0];
    assert_eq!(seen(&acme, &invoker).await.len(), 1);
    assert_eq!(umbrella.aef.get(&path).await.status, StatusCode::NOT_FOUND);

    let both = [wish(&acme, &["PSK"]), wish(&umbrella, &["PSK"])];
    let answer = negotiate(&world, &invoker, false, &both).await;
    let both = keys(&answer);
    for (domain, own, other) in [(&acme, both[0], both[1]), (&umbrella, both[1], both[0])] {
        let answer = domain.aef.get(&path).await;
        assert!(holds(&answer.body, &own));
        assert!(!holds(&answer.body, &other));
    }
    for (who, status) in [
        (&acme.apf.caller, StatusCode::FORBIDDEN),
        (&acme.amf.caller, StatusCode::FORBIDDEN),
        (&invoker.caller, StatusCode::FORBIDDEN),
        (&world.anonymous(), StatusCode::UNAUTHORIZED),
    ] {
        let answer = who.json(Method::GET, &path, None).await;
        assert_eq!(answer.status, status);
        for key in [key, both[0], both[1]] {
            assert!(!holds(&answer.body, &key));
        }
    }
}

/// An address that two AEFs publish is not that of one key: each of them would be given the other's. Neither has Method 1 there.
#[tokio::test]
async fn two_aefs_do_not_share_a_key() {
    let world = World::start().await;
    let (acme, umbrella) = (world.domain("acme").await, world.domain("umbrella").await);
    publish(&acme, "weather", &["PSK", "PKI"], &[on(8443)]).await;
    let copy = publish(&umbrella, "copy", &["PSK", "PKI"], &[on(8443)]).await;
    let invoker = world.raw_invoker(&[]).await;
    let both = [
        wish(&acme, &["PSK", "PKI"]),
        wish(&umbrella, &["PSK", "PKI"]),
    ];
    let methods = |answer: &Answer| {
        let entries = answer.json()["securityInfo"].as_array().unwrap().clone();
        let methods = entries
            .iter()
            .map(|entry| entry["selSecurityMethod"].clone());
        json!(methods.collect::<Vec<_>>())
    };
    let policy = json!(["PKI", "PKI"]);
    let answer = negotiate(&world, &invoker, false, &both).await;
    assert_eq!(methods(&answer), policy);
    let psk = [wish(&acme, &["PSK"])];
    let answer = negotiate(&world, &invoker, false, &psk).await;
    assert_eq!(methods(&answer), json!([null]));
    let path = format!("{}/{copy}", umbrella.apis());
    let gone = umbrella.apf.delete(&path).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let answer = negotiate(&world, &invoker, false, &psk).await;
    assert_eq!(methods(&answer), json!(["PSK"]));
}

/// R-6.3-07, D-35: the operator's policy can differ by API, and who wants access with the call itself gets a token or nothing.
#[tokio::test]
async fn the_operator_and_the_scenario_have_a_say() {
    use capif_ccf::config::ApiSecuritySection;
    use capif_spec::publish_service::SecurityMethod::{Oauth, Psk};

    let world = World::with(|config| {
        for (api, methods) in [("weather", vec![Psk, Oauth]), ("maps", vec![])] {
            let section = ApiSecuritySection { methods };
            config.security.apis.insert(api.to_owned(), section);
        }
    })
    .await;
    let domain = world.domain("acme").await;
    let all = ["PSK", "PKI", "OAUTH"];
    let mut ids = Vec::new();
    for api in ["weather", "traffic", "maps"] {
        ids.push(publish(&domain, api, &all, &[on(8443)]).await);
    }
    let invoker = world.raw_invoker(&[]).await;
    for (scenario, expected) in [
        ("before-invocation", json!(["PSK", "PKI", null])),
        ("at-invocation", json!(["OAUTH", "OAUTH", null])),
    ] {
        let entries: Vec<Value> = ids
            .iter()
            .map(|id| {
                let mut entry = wish(&domain, &all);
                entry["apiId"] = json!(id);
                entry[VENDOR] = json!({ "accessScenario": scenario });
                entry
            })
            .collect();
        let answer = negotiate(&world, &invoker, false, &entries).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        let entries = answer.json()["securityInfo"].as_array().unwrap().clone();
        let methods: Vec<Value> = entries
            .iter()
            .map(|entry| entry["selSecurityMethod"].clone())
            .collect();
        assert_eq!(json!(methods), expected, "{scenario}");
    }
}

/// R-6.3-07: what the operator's policy forbids for an API is not granted by way of an entry about the whole AEF either, which was
/// negotiated before the API was published: no token names it, and the AEF is told of no right to it.
#[tokio::test]
async fn an_api_of_later_is_under_the_policy_too() {
    use capif_ccf::config::ApiSecuritySection;

    let world = World::with(|config| {
        let section = ApiSecuritySection { methods: vec![] };
        config.security.apis.insert("maps".to_owned(), section);
    })
    .await;
    let domain = world.domain("acme").await;
    publish(&domain, "weather", &["OAUTH"], &[on(8443)]).await;
    let invoker = world.raw_invoker(&[]).await;
    let whole = [wish(&domain, &["OAUTH"])];
    let answer = negotiate(&world, &invoker, false, &whole).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    publish(&domain, "maps", &["OAUTH"], &[on(8443)]).await;

    let scope = format!("3gpp#{}:weather", domain.aef.id);
    let path = format!("{}?authorizationInfo=true", invoker.context());
    let answer = domain.aef.get(&path).await.json();
    let text = answer["securityInfo"][0]["authorizationInfo"].as_str();
    let rights: Value = serde_json::from_str(text.unwrap()).unwrap();
    assert_eq!(rights["apis"], json!(["weather"]));
    assert_eq!(rights["scope"], json!(scope));
    assert_eq!(rights.get("outdated"), None);
    assert_eq!(invoker.token(None).await.json()["scope"], json!(scope));
}

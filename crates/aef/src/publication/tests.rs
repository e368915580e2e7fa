use capif_spec::common::Port;
use capif_transport::{ManualClock, SharedClock};
use serde_json::Value;
use time::OffsetDateTime;

use super::*;

fn at(port: u16) -> InterfaceDescription {
    InterfaceDescription {
        ipv4_addr: Some("127.0.0.1".to_owned()),
        port: Some(Port(port)),
        ..InterfaceDescription::default()
    }
}

fn aef() -> AefId {
    AefId::new("AEF")
}

fn exposed(methods: &[SecurityMethod]) -> ExposedApi {
    ExposedApi {
        name: "weather".to_owned(),
        version: "v1".to_owned(),
        upstream: "http://127.0.0.1:9000".to_owned(),
        strip: false,
        methods: methods.to_vec(),
    }
}

fn config(methods: &[SecurityMethod]) -> GatewayConfig {
    let clock: SharedClock = Arc::new(ManualClock::new(OffsetDateTime::UNIX_EPOCH));
    GatewayConfig::new("nowhere".into(), None, exposed(methods), clock)
}

fn terms(methods: &[SecurityMethod]) -> Terms {
    Terms {
        methods: methods.to_vec(),
        ..Terms::default()
    }
}

use SecurityMethod::{Oauth, Pki, Psk};

#[test]
fn what_is_published_is_what_is_read_again() {
    let all = Terms {
        methods: vec![Psk, Oauth],
        psk_tls: PskTls::Tls12,
        oauth_mutual_tls: true,
    };
    for terms in [terms(&[Pki]), all] {
        let api = alone(&exposed(&[]), &terms, &aef(), &at(1));
        assert_eq!(Terms::published(&api, &aef(), &at(1)), Some(terms));
        assert_eq!(Terms::published(&api, &aef(), &at(2)), None);
        assert_eq!(Terms::published(&api, &AefId::new("other"), &at(1)), None);
    }
}

#[test]
fn what_is_not_told_stays_as_it_was_published() {
    let before = Terms {
        methods: vec![Pki],
        psk_tls: PskTls::Tls12,
        oauth_mutual_tls: true,
    };
    let published = alone(&exposed(&[]), &before, &aef(), &at(1));
    let wanted = |config: &GatewayConfig, port| wanted(config, Some(&published), &aef(), &at(port));
    assert_eq!(wanted(&config(&[]), 1), before);
    // Another port is no other gateway.
    assert_eq!(wanted(&config(&[]), 2), before);
    let told = GatewayConfig {
        psk_tls: Some(PskTls::Tls13),
        oauth_mutual_tls: Some(false),
        ..config(&[Oauth])
    };
    assert_eq!(wanted(&told, 1), terms(&[Oauth]));
    let first = super::wanted(&config(&[]), None, &aef(), &at(1));
    assert_eq!(first, terms(&METHODS));
    // For which no key can be derived.
    let unclear = InterfaceDescription {
        fqdn: Some("my_gateway".to_owned()),
        ipv4_addr: None,
        ..at(1)
    };
    let first = super::wanted(&config(&[]), None, &aef(), &unclear);
    assert_eq!(first, terms(&[Pki, Oauth]));
}

#[test]
fn processes_of_one_aef_stand_beside_each_other() {
    let first = alone(&exposed(&[]), &terms(&[Psk, Pki]), &aef(), &at(1));
    let both = joined(first, &terms(&[Oauth]), &aef(), &at(2));
    let read = |api: &ServiceApiDescription, port| {
        Terms::published(api, &aef(), &at(port)).map(|terms| terms.methods)
    };
    assert_eq!(read(&both, 1), Some(vec![Psk, Pki]));
    assert_eq!(read(&both, 2), Some(vec![Oauth]));
    // Joining again changes the own interface alone.
    let again = joined(both, &terms(&[Psk, Pki]), &aef(), &at(2));
    let interfaces = again.aef_profiles.as_ref().unwrap()[0]
        .interface_descriptions
        .clone()
        .unwrap();
    assert_eq!(interfaces.len(), 2);
    assert_eq!(interfaces[1].security_methods, None);
    assert_eq!(read(&again, 2), Some(vec![Psk, Pki]));
    // What an interface says itself wins (D-34), and a newcomer takes what is the AEF's.
    let own = joined(again, &terms(&[Pki]), &aef(), &at(1));
    assert_eq!(read(&own, 1), Some(vec![Pki]));
    let newcomer = wanted(&config(&[]), Some(&own), &aef(), &at(3));
    assert_eq!(newcomer.methods, [Psk, Pki]);
}

#[test]
fn terms_that_are_not_understood_are_strict_ones() {
    let mut api = alone(&exposed(&[]), &terms(&[Oauth]), &aef(), &at(1));
    let interfaces = api.aef_profiles.as_mut().unwrap()[0]
        .interface_descriptions
        .as_mut()
        .unwrap();
    interfaces[0]
        .extra
        .insert(vendor::MEMBER.to_owned(), Value::from("oauthMutualTls"));
    assert!(
        Terms::published(&api, &aef(), &at(1))
            .unwrap()
            .oauth_mutual_tls
    );
}

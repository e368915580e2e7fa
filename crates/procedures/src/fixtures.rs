//! What the tests of the procedures are told in: short ways to write records down, and a world to commit changes to.

mod session;

use std::collections::BTreeMap;

use capif_spec::{
    common::{AefId, DateTime, Extra, SupportedFeatures, Uri},
    publish_service::{AefProfile, SecurityMethod, ServiceApiDescription},
    security::SecurityInformation,
    vendor::MEMBER,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::Duration;

use crate::{
    changes::{Change, Changes, Expect, Key, Kind, Record, Revision, Versioned},
    events::Circle,
    rotation,
    state::{
        ApiReach, Certificate, CertificateOrder, Digest, Invoker, Notification, ProviderDomain,
        ProviderFunction, PublicKey, Role, SecurityContext, SecurityEntry, ServiceApi,
        Subscription,
    },
};

pub(crate) use self::session::{Session, policy, session, unsealed};
pub(crate) use capif_spec::publish_service::SecurityMethod::{Oauth, Pki, Psk};

/// Where everybody takes notifications.
pub(crate) const DESTINATION: &str = "https://receiver.example/notify";

/// The commit that wrote every record of these tests.
pub(crate) const REVISION: Revision = Revision(7);

pub(crate) fn now() -> DateTime {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

/// A value of the wire, from its JSON.
pub(crate) fn wire<T: DeserializeOwned>(document: Value) -> T {
    serde_json::from_value(document).unwrap()
}

pub(crate) fn digest(octet: u8) -> Digest {
    Digest::new([octet; 32])
}

pub(crate) fn key(octet: u8) -> PublicKey {
    PublicKey {
        spki: vec![octet],
        digest: digest(octet),
    }
}

/// The certificate of a key.
pub(crate) fn certificate(octet: u8) -> Certificate {
    Certificate {
        pem: format!("certificate of key {octet}").into(),
        fingerprint: digest(octet.wrapping_add(0x80)),
        public_key: digest(octet),
        not_after: "2027-01-31T12:00:00Z".parse().unwrap(),
        issued: None,
        serial: String::new(),
        authority: 1,
    }
}

/// What a certificate authority makes of an order.
pub(crate) fn certified(order: &CertificateOrder) -> Certificate {
    certificate(order.public_key().spki[0])
}

/// What an operator allows who says nothing.
pub(crate) fn rotation_terms() -> rotation::Terms {
    rotation::Terms {
        overlap: Duration::minutes(60),
        secret_life: Duration::days(90),
        enrolment_life: None,
        suspends_overdue: true,
    }
}

pub(crate) fn versioned<R>(record: R) -> Versioned<R> {
    Versioned {
        record,
        revision: REVISION,
    }
}

pub(crate) fn names(names: &[&str]) -> ApiReach {
    ApiReach {
        api_names: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..ApiReach::default()
    }
}

pub(crate) fn domain_only(id: &str) -> ApiReach {
    ApiReach {
        domain: Some(id.into()),
        ..ApiReach::default()
    }
}

/// An invoker that reaches everything and has an Onboard_Secret.
pub(crate) fn invoker(id: &str) -> Invoker {
    Invoker {
        id: id.into(),
        public_key_text: "key of the invoker".into(),
        certificate: certificate(1),
        onboard_secret: Some(digest(0x5e)),
        notification_destination: Uri::from(DESTINATION),
        websocket_uri: None,
        information: None,
        reach: ApiReach::default(),
        allowance: None,
        features: SupportedFeatures::from("0"),
        onboarded: now(),
        issuer: "https://issuer.example".to_owned(),
        bars: Default::default(),
        secret_expires: None,
        expires: None,
        renewal: Default::default(),
        criteria: Vec::new(),
        approval: false,
    }
}

pub(crate) fn invoker_within(id: &str, reach: ApiReach) -> Invoker {
    Invoker {
        reach,
        ..invoker(id)
    }
}

/// A function of domain `DOM` with the key of this number.
pub(crate) fn function(id: &str, role: Role, key: u8) -> ProviderFunction {
    ProviderFunction {
        id: id.into(),
        domain_id: "DOM".into(),
        role,
        public_key_text: format!("key {key}").into(),
        certificate: certificate(key),
        information: None,
        hosts: Vec::new(),
        extra: Default::default(),
        key_extra: Default::default(),
        renewal: Default::default(),
    }
}

/// The domain `DOM` of some functions.
pub(crate) fn domain(functions: &[ProviderFunction]) -> ProviderDomain {
    ProviderDomain {
        id: "DOM".into(),
        name: "provider".to_owned(),
        provider_name: None,
        information: None,
        extra: Default::default(),
        functions: functions
            .iter()
            .map(|function| function.id.clone())
            .collect(),
        features: SupportedFeatures::from("1"),
        registered: now(),
        issuer: None,
        reuse: None,
    }
}

/// A profile that names its methods and no interface.
pub(crate) fn profile(aef: &str, methods: &[SecurityMethod]) -> AefProfile {
    wire(json!({
        "aefId": aef,
        "versions": [{ "apiVersion": "v1" }],
        "domainName": "aef.example",
        "securityMethods": methods,
    }))
}

/// A profile with interfaces, each a host with its methods; no methods stand for a member that is left out.
pub(crate) fn profile_with(
    aef: &str,
    own: &[SecurityMethod],
    interfaces: &[(&str, &[SecurityMethod])],
) -> AefProfile {
    let list = |methods: &[SecurityMethod]| (!methods.is_empty()).then(|| methods.to_vec());
    let mut profile = profile(aef, own);
    profile.domain_name = None;
    profile.security_methods = list(own);
    profile.interface_descriptions = Some(
        interfaces
            .iter()
            .map(|(host, methods)| {
                let mut interface = capif_spec::publish_service::InterfaceDescription {
                    fqdn: Some((*host).to_owned()),
                    ..Default::default()
                };
                interface.security_methods = list(methods);
                interface
            })
            .collect(),
    );
    profile
}

/// The members of an interface, or of an entry, beyond the schema.
pub(crate) fn vendor(terms: Value) -> Extra {
    wire(json!({ MEMBER: terms }))
}

pub(crate) fn description(name: &str, profiles: &[AefProfile]) -> ServiceApiDescription {
    wire(json!({ "apiName": name, "aefProfiles": profiles }))
}

/// An API that the APF `APF` of domain `DOM` published.
pub(crate) fn api(id: &str, name: &str, profiles: &[AefProfile]) -> ServiceApi {
    let mut description = description(name, profiles);
    description.api_id = Some(id.into());
    ServiceApi {
        id: id.into(),
        apf_id: "APF".into(),
        domain_id: "DOM".into(),
        description,
        published: None,
        hidden_by: None,
    }
}

/// The same API, published by the APF of another domain.
pub(crate) fn elsewhere(api: ServiceApi, apf: &str, domain: &str) -> ServiceApi {
    ServiceApi {
        apf_id: apf.into(),
        domain_id: domain.into(),
        ..api
    }
}

/// An entry about everything at an AEF, for which a method was selected or none.
pub(crate) fn entry_at(aef: &str, method: Option<SecurityMethod>) -> SecurityEntry {
    let mut information: SecurityInformation = wire(json!({
        "aefId": aef,
        "prefSecurityMethods": ["PSK", "PKI", "OAUTH"],
    }));
    information.sel_security_method = method;
    SecurityEntry {
        aef_id: AefId::from(aef),
        api_id: None,
        information,
        revoked: Default::default(),
        psk: None,
    }
}

/// An entry about one API at an AEF.
pub(crate) fn entry_for(aef: &str, api: &str, method: SecurityMethod) -> SecurityEntry {
    let mut entry = entry_at(aef, Some(method));
    entry.api_id = Some(api.into());
    entry.information.api_id = Some(api.into());
    entry
}

/// A context of the first generation.
pub(crate) fn context(invoker: &str, entries: Vec<SecurityEntry>) -> SecurityContext {
    SecurityContext {
        invoker_id: invoker.into(),
        entries,
        notification_destination: Uri::from(DESTINATION),
        websocket_uri: None,
        features: SupportedFeatures::from("4"),
        generation: 1,
        psk_count: 0,
        extra: Default::default(),
    }
}

/// A subscription with the feature Enhanced_event_report.
pub(crate) fn subscription(subscriber: &str, role: Role, events: &[&str]) -> Subscription {
    Subscription {
        id: "SUB".into(),
        subscriber: subscriber.to_owned(),
        role,
        reach: ApiReach::default(),
        subscription: wire(json!({
            "events": events,
            "notificationDestination": DESTINATION,
            "supportedFeatures": "4",
        })),
    }
}

/// The circle of an invoker that reaches whatever anyone publishes.
pub(crate) fn everyone() -> Circle {
    Circle::of(&ApiReach::default(), None, std::iter::empty())
}

/// The same subscription, without any feature.
pub(crate) fn plain(mut subscription: Subscription) -> Subscription {
    subscription.subscription.supported_features = None;
    subscription
}

/// A notification that waits under a subscription.
pub(crate) fn waiting(subscription: &Subscription) -> Notification {
    Notification {
        subscriber: subscription.subscriber.clone(),
        notification: wire(json!({
            "subscriptionId": subscription.id,
            "events": "SERVICE_API_AVAILABLE",
        })),
        raised: now(),
        at_once: false,
    }
}

/// The notifications that changes append, in order: whose they are, what happened, and the detail as JSON.
pub(crate) fn notified(changes: &Changes) -> Vec<(String, String, Value)> {
    let appended = changes.steps.iter().filter_map(|step| match step {
        Change::Append {
            kind: Kind::Notification,
            prefix,
            value,
        } => Some((prefix, value)),
        _ => None,
    });
    appended
        .map(|(prefix, value)| {
            let held: Notification = serde_json::from_slice(value).unwrap();
            assert_eq!(*prefix, held.record_id());
            let detail = held.notification.event_detail;
            (
                held.subscriber,
                held.notification.events.to_string(),
                detail.map_or(Value::Null, |detail| serde_json::to_value(detail).unwrap()),
            )
        })
        .collect()
}

/// The records of a type that changes append, in order.
pub(crate) fn appended<R: Record>(changes: &Changes) -> Vec<R> {
    let own = changes.steps.iter().filter_map(|step| match step {
        Change::Append {
            kind,
            prefix,
            value,
        } if *kind == R::KIND => Some((prefix, value)),
        _ => None,
    });
    own.map(|(prefix, value)| {
        let record: R = serde_json::from_slice(value).unwrap();
        assert_eq!(*prefix, record.record_id());
        record
    })
    .collect()
}

/// The records of a type that changes write, each with what the commit expects.
pub(crate) fn written<R: Record>(changes: &Changes) -> Vec<(Expect, R)> {
    changes
        .steps
        .iter()
        .filter_map(|step| match step {
            Change::Put { key, expect, value } if key.kind == R::KIND => {
                assert_eq!(
                    key.id,
                    serde_json::from_slice::<R>(value).unwrap().record_id()
                );
                Some((*expect, serde_json::from_slice(value).unwrap()))
            }
            _ => None,
        })
        .collect()
}

/// The step that deletes a record.
pub(crate) fn deletion(kind: Kind, id: &str, expect: Expect) -> Change {
    Change::Delete {
        key: Key::new(kind, id),
        expect,
    }
}

/// The step that asks for a record.
pub(crate) fn requirement(kind: Kind, id: &str, expect: Expect) -> Change {
    Change::Require {
        key: Key::new(kind, id),
        expect,
    }
}

/// Records in memory, under the rules by which a store commits.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    records: BTreeMap<Key, (Revision, Vec<u8>)>,
    commits: u64,
    appended: u64,
}

impl World {
    /// Adds a record as commit [`REVISION`] would have left it.
    pub(crate) fn with<R: Record>(mut self, record: &R) -> Self {
        let value = serde_json::to_vec(record).unwrap();
        let mut id = record.record_id();
        if id.ends_with('/') {
            self.appended += 1;
            id.push_str(&format!("{:020}", self.appended));
        }
        self.records
            .insert(Key::new(R::KIND, id), (REVISION, value));
        self.commits = REVISION.0;
        self
    }

    /// Adds a record of which nothing is known here but its name.
    pub(crate) fn with_named(mut self, kind: Kind, id: &str) -> Self {
        let record = (REVISION, b"{}".to_vec());
        self.records.insert(Key::new(kind, id), record);
        self
    }

    /// Commits the whole of some changes, or names the record that was not as expected.
    pub(crate) fn commit(&mut self, changes: Changes) -> Result<(), Key> {
        let mut next = self.clone();
        next.commits += 1;
        for step in changes.steps {
            next.step(step)?;
        }
        *self = next;
        Ok(())
    }

    fn step(&mut self, step: Change) -> Result<(), Key> {
        let revision = Revision(self.commits);
        match step {
            Change::Put { key, expect, value } => {
                self.holds(&key, expect)?;
                self.records.insert(key, (revision, value));
            }
            Change::Delete { key, expect } => {
                self.holds(&key, expect)?;
                self.records.remove(&key);
            }
            Change::DeletePrefix { kind, prefix } => {
                assert_ne!(prefix, "", "a whole table would go");
                self.records
                    .retain(|key, _| key.kind != kind || !key.id.starts_with(&prefix));
            }
            Change::Append {
                kind,
                prefix,
                value,
            } => {
                self.appended += 1;
                let key = Key::new(kind, format!("{prefix}{:020}", self.appended));
                self.records.insert(key, (revision, value));
            }
            Change::Require { key, expect } => self.holds(&key, expect)?,
            Change::Chain { .. } | Change::Prune { .. } => {
                panic!("no procedure writes the audit trail: the core function does")
            }
        }
        Ok(())
    }

    fn holds(&self, key: &Key, expect: Expect) -> Result<(), Key> {
        let revision = self.records.get(key).map(|(revision, _)| *revision);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => revision.is_none(),
            Expect::Present => revision.is_some(),
            Expect::At(wanted) => revision == Some(wanted),
        };
        if holds { Ok(()) } else { Err(key.clone()) }
    }

    /// A record.
    pub(crate) fn held<R: Record>(&self, id: &str) -> Option<Versioned<R>> {
        let (revision, value) = self.records.get(&Key::new(R::KIND, id))?;
        Some(Versioned {
            record: serde_json::from_slice(value).unwrap(),
            revision: *revision,
        })
    }

    /// The names of all records.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.records.keys().cloned().collect()
    }

    /// The ids of all records of a kind.
    pub(crate) fn ids(&self, kind: Kind) -> Vec<String> {
        let keys = self.records.keys().filter(|key| key.kind == kind);
        keys.map(|key| key.id.clone()).collect()
    }
}

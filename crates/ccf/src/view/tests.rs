//! The view follows the commits: what it knows after any of them is what it would know after a restart.

use std::collections::BTreeMap;

use bytes::Bytes;
use capif_procedures::{
    changes::{Key, Kind, Revision},
    state::{Digest, ServiceApi},
};
use serde_json::{Value, json};

use super::{Name, Records, View};
use crate::store::{Committed, Observer, Stored};

/// Few of each, so that they meet again.
const FEW: u32 = 6;

/// Always the same numbers.
struct Chance(u32);

impl Chance {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) % end
    }

    fn one_of(&mut self, values: &[Value]) -> Value {
        values[self.below(u32::try_from(values.len()).unwrap()) as usize].clone()
    }

    fn time(&mut self) -> String {
        format!("2026-01-{:02}T00:00:00Z", 1 + self.below(20))
    }

    /// One of the certificates of an entity: a serial number is never given to two of them.
    fn certificate(&mut self, holder: u32) -> Value {
        let serial = holder * 20 + self.below(20);
        json!({
            "pem": format!("-----BEGIN CERTIFICATE-----\n{serial:04}AAAABBBB\n-----END CERTIFICATE-----\n"),
            "fingerprint": digest(serial),
            "public_key": digest(serial),
            "not_after": self.time(),
            "issued": "2026-01-01T00:00:00Z",
            "serial": format!("{serial:x}"),
            "authority": 1 + serial % 2,
        })
    }

    fn renewal(&mut self, holder: u32, credential: Option<u32>) -> Value {
        let mut renewal = json!({ "agreed": self.below(2) == 0 });
        if self.below(2) == 0 {
            let certificate = self.certificate(holder);
            renewal["successor"] = json!({ "public_key_text": "key", "certificate": certificate });
        }
        let retiring = (0..self.below(3)).map(|_| {
            let certificate = self.certificate(holder);
            json!({ "certificate": certificate, "until": self.time() })
        });
        renewal["retiring"] = retiring.collect();
        if let Some(credential) = credential.filter(|_| self.below(2) == 0) {
            renewal["handover"] = json!({
                "request": "request",
                "credential": digest(credential),
                "public_key_text": digest(0),
            });
        }
        if self.below(3) == 0 {
            renewal["demand"] = json!({
                "reason": self.one_of(&[json!("OPERATOR"), json!("COMPROMISE")]),
                "since": "2026-01-01T00:00:00Z",
                "deadline": self.time(),
            });
        }
        renewal
    }

    fn reach(&mut self) -> Value {
        let names = [json!(["a"]), json!(["a", "b"]), json!([]), json!(null)];
        let domains = [json!("DOM1"), json!("DOM2"), json!(null)];
        json!({ "api_names": self.one_of(&names), "domain": self.one_of(&domains) })
    }

    /// A record of one of the kinds that the view indexes.
    fn record(&mut self, number: u32) -> (Key, Value) {
        match self.below(4) {
            0 => {
                let id = format!("INV{number}");
                let record = json!({
                    "id": id,
                    "public_key_text": "key",
                    "certificate": self.certificate(number),
                    "onboard_secret": null,
                    "notification_destination": "https://invoker.example",
                    "information": null,
                    "reach": self.reach(),
                    "features": "0",
                    "onboarded": "2026-01-01T00:00:00Z",
                    "issuer": "operator",
                    "expires": self.time(),
                    "renewal": self.renewal(number, Some(number)),
                });
                (Key::new(Kind::Invoker, id), record)
            }
            1 => {
                let id = format!("AEF{number}");
                let record = json!({
                    "id": id,
                    "domain_id": "DOM1",
                    "role": "AEF",
                    "public_key_text": "key",
                    "certificate": self.certificate(FEW + number),
                    "information": null,
                    "renewal": self.renewal(FEW + number, None),
                });
                (Key::new(Kind::ProviderFunction, id), record)
            }
            2 => {
                let id = format!("INV{number}");
                let details = json!({
                    "onboardingInformation": { "apiInvokerPublicKey": "key" },
                    "notificationDestination": "https://invoker.example",
                });
                let onboarding = json!({ "onboarding": {
                    "details": details,
                    "public_key": { "spki": [1], "digest": digest(1) },
                    "issuer": "operator",
                    "credential": digest(number),
                    "credential_expires": self.time(),
                    "reach": self.reach(),
                }});
                let wish = self.one_of(&[onboarding, json!({ "replacement": details })]);
                let expires = self.time();
                let record = json!({
                    "id": id,
                    "wish": wish,
                    "asked": "2026-01-01T00:00:00Z",
                    "expires": expires,
                });
                (Key::new(Kind::PendingEnrolment, id), record)
            }
            _ => {
                let id = format!("SUB{}/{number:020}", self.below(3));
                (Key::new(Kind::Notification, id), json!({}))
            }
        }
    }
}

fn digest(number: u32) -> String {
    format!("{number:064x}")
}

/// What the indexes say, in an order.
fn told(records: &Records) -> Value {
    let held = |number: &u32| {
        let name = |authority| Name::new(authority, &format!("{number:x}")).unwrap();
        records.is_held(&name(1)) || records.is_held(&name(2))
    };
    let mark = |number: u32| Digest::new(number_octets(number));
    let api = |domain: &str, name: &str| -> ServiceApi {
        serde_json::from_value(json!({
            "id": "API",
            "apf_id": "APF",
            "domain_id": domain,
            "description": { "apiName": name },
        }))
        .unwrap()
    };
    let counts = ["DOM1", "DOM2", "DOM3"]
        .into_iter()
        .flat_map(|domain| ["a", "b", "c"].map(|name| records.tally().count(&api(domain, name))));
    let enrolled = (0..FEW).map(|number| {
        let found = records.enrolled_by(&mark(number));
        found.map(|found| found.id.to_string())
    });
    let asked = (0..FEW).map(|number| {
        let found = records.asked_by(&mark(number));
        found.map(|found| found.record.id.to_string())
    });
    let invokers: BTreeMap<String, Value> = records
        .invokers()
        .map(|held| (held.id.to_string(), serde_json::to_value(held).unwrap()))
        .collect();
    json!({
        "held": (0..FEW * 40).filter(held).collect::<Vec<u32>>(),
        "counts": counts.collect::<Vec<u64>>(),
        "enrolled": enrolled.collect::<Vec<_>>(),
        "asked": asked.collect::<Vec<_>>(),
        "agenda": format!("{:?}", records.agenda()),
        "waiting": format!("{:?}", records.waiting),
        "invokers": invokers,
    })
}

fn number_octets(number: u32) -> [u8; 32] {
    let mut octets = [0; 32];
    octets[28..].copy_from_slice(&number.to_be_bytes());
    octets
}

#[test]
fn what_is_known_after_a_commit_is_known_after_a_restart() {
    let mut chance = Chance(11);
    let view = View::default();
    let mut store: BTreeMap<Key, Stored> = BTreeMap::new();
    for revision in 1..400 {
        let mut committed = Committed {
            revision: Revision(revision),
            puts: Vec::new(),
            deletes: Vec::new(),
        };
        for _ in 0..=chance.below(3) {
            let number = chance.below(FEW);
            let (key, record) = chance.record(number);
            // No commit names a record twice.
            if committed.puts.iter().any(|(known, _)| *known == key)
                || committed.deletes.contains(&key)
            {
                continue;
            }
            if chance.below(3) == 0 {
                committed.deletes.push(key);
            } else {
                let value = Bytes::from(serde_json::to_vec(&record).unwrap());
                let revision = Revision(revision);
                committed.puts.push((key, Stored { value, revision }));
            }
        }
        for key in &committed.deletes {
            store.remove(key);
        }
        store.extend(committed.puts.iter().cloned());
        view.committed(&committed);
        let mut fresh = Records::default();
        for (key, stored) in &store {
            fresh.put(key, stored).unwrap();
        }
        assert_eq!(told(&view.read()), told(&fresh), "{revision}");
    }
}

//! Large stores, written straight into the folder of a core function that does not run, in the product's own records.

use std::path::Path;

use capif_ccf::store::{self, EmbeddedStore, Store};
use capif_procedures::{
    changes::{Changes, Expect, Record},
    state::{Digest, Invoker, ServiceApi},
};
use serde_json::{Value, json};

/// How many APIs share a name, each of another domain.
pub const PER_NAME: u32 = 10;

/// How many records are written with one commit.
const PER_COMMIT: usize = 2000;

/// How many APIs an AEF exposes.
const PER_AEF: u32 = 100;

const CATEGORIES: u32 = 20;

/// A name of APIs.
pub fn name(number: u32) -> String {
    format!("service-{number:06}")
}

/// An AEF.
pub fn aef(number: u32) -> String {
    format!("AEF{:032x}", number)
}

/// How many AEFs expose so many APIs.
pub fn aefs(apis: u32) -> u32 {
    apis.div_ceil(PER_AEF)
}

/// A category of APIs.
pub fn category(number: u32) -> String {
    format!("category-{}", number % CATEGORIES)
}

async fn write<R: Record>(store: &EmbeddedStore, records: impl Iterator<Item = R>) {
    let mut changes = Changes::new();
    for record in records {
        changes.put(&record, Expect::Any);
        if changes.steps.len() == PER_COMMIT {
            store.commit(std::mem::take(&mut changes)).await.unwrap();
        }
    }
    if !changes.is_empty() {
        store.commit(changes).await.unwrap();
    }
}

fn open(folder: &Path) -> EmbeddedStore {
    EmbeddedStore::open(&folder.join("store")).unwrap()
}

/// Writes published APIs.
pub async fn apis(folder: &Path, count: u32) {
    let store = open(folder);
    let names = count.div_ceil(PER_NAME);
    write(&store, (0..count).map(|number| api(number, names, count))).await;
}

fn api(number: u32, names: u32, count: u32) -> ServiceApi {
    let domain = number / names;
    let aefs = aefs(count);
    // The number without a common factor, so that the ids are in no order.
    let id = format!(
        "API{:032x}",
        u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    );
    let [_, high, middle, low] = number.to_be_bytes();
    let address = format!("10.{high}.{middle}.{low}");
    let profile = json!({
        "aefId": aef(number % aefs),
        "versions": [{
            "apiVersion": "v1",
            "resources": [{
                "resourceName": "today",
                "commType": "REQUEST_RESPONSE",
                "uri": "/today",
                "operations": ["GET"],
            }],
        }],
        "protocol": "HTTP_2",
        "dataFormat": "JSON",
        "securityMethods": ["OAUTH", "PKI"],
        "interfaceDescriptions": [{ "ipv4Addr": address, "port": 8443 }],
        "aefLocation": { "dcId": format!("site-{}", number % 100) },
        "serviceKpis": { "maxReqRate": number },
        "ueIpRange": { "ueIpv4AddrRanges": [{ "start": address, "end": address }] },
    });
    let description = json!({
        "apiId": id,
        "apiName": name(number % names),
        "description": "An API like many others, with a text of the usual length about what it does.",
        "serviceAPICategory": category(number / aefs),
        "apiSuppFeats": "1f",
        "apiProvName": format!("provider {domain}"),
        "netSliceInfo": [{ "nsiId": format!("slice-{}", number % 100_000) }],
        "aefProfiles": [profile],
    });
    let record: Value = json!({
        "id": id,
        "apf_id": format!("APF{domain:032x}"),
        "domain_id": format!("APD{domain:032x}"),
        "description": description,
    });
    serde_json::from_value(record).unwrap()
}

/// Writes invokers that are like the one invoker there is, but for all that tells one from another.
pub async fn invokers(folder: &Path, count: u32) {
    let store = open(folder);
    let known = store::load_all::<Invoker>(&store, "").await.unwrap();
    let pattern = &known.first().unwrap().record;
    let like = |number: u32| {
        let digest = |what: &str| Digest::of(format!("{what} {number}").as_bytes());
        let mut invoker = pattern.clone();
        invoker.id = format!("INV{}", &digest("id").as_str()[..32]).into();
        invoker.certificate.fingerprint = digest("certificate");
        invoker.certificate.public_key = digest("key");
        invoker.certificate.serial = digest("serial").as_str()[..32].to_owned();
        invoker.onboard_secret = Some(digest("secret"));
        invoker
    };
    write(&store, (0..count).map(like)).await;
}

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

/// Writes invokers that are like the one invoker there is, but for all that tells one from another: in certificates and requests for
/// them other octets stand in the places of serial number, time, key, names and signature.
pub async fn invokers(folder: &Path, count: u32) {
    let store = open(folder);
    let known = store::load_all::<Invoker>(&store, "").await.unwrap();
    let pattern = &known.first().unwrap().record;
    let (request, chain) = (
        pattern.public_key_text.to_string(),
        pattern.certificate.pem.to_string(),
    );
    let like = |number: u32| {
        let digest = |what: &str| Digest::of(format!("{what} {number}").as_bytes());
        let mut invoker = pattern.clone();
        invoker.id = format!("INV{}", &digest("id").to_string()[..32]).into();
        let own = Own {
            id: (pattern.id.as_str(), invoker.id.as_str()),
            key: [digest("x").octets(), digest("y").octets()].concat(),
            signature: [digest("r").octets(), digest("s").octets()].concat(),
            serial: digest("serial").octets()[..20].to_vec(),
            time: format!("{:04}", number % 6000).into_bytes(),
        };
        invoker.public_key_text = own.in_place(&request).into();
        invoker.certificate.pem = own.in_place(&chain).into();
        invoker.certificate.fingerprint = digest("certificate");
        invoker.certificate.public_key = digest("key");
        invoker.certificate.serial = digest("serial").to_string()[..32].to_owned();
        invoker.onboard_secret = Some(digest("secret"));
        invoker
    };
    write(&store, (0..count).map(like)).await;
}

/// What a certificate and a request have of their own.
struct Own<'a> {
    /// The id of the pattern, and the one in its place.
    id: (&'a str, &'a str),
    key: Vec<u8>,
    signature: Vec<u8>,
    serial: Vec<u8>,
    /// Minute and second.
    time: Vec<u8>,
}

impl Own<'_> {
    /// The same text with these octets in the first block.
    fn in_place(&self, text: &str) -> String {
        const END: &str = "-----\n";
        let end = text.find("-----END").unwrap();
        let end = end + text[end + 5..].find(END).unwrap() + 5 + END.len();
        let (block, rest) = text.split_at(end);
        let block = pem::parse(block).unwrap();
        let mut der = block.contents().to_vec();
        let (before, after) = self.id;
        put(&mut der, before.as_bytes(), 0, after.as_bytes());
        // An uncompressed point; the identifier of a key; UTCTime; the serial number of twenty octets.
        put(&mut der, &[3, 0x42, 0, 4], 4, &self.key);
        put(
            &mut der,
            &[0x55, 0x1d, 0x0e, 4, 0x16, 4, 0x14],
            7,
            &self.key[..20],
        );
        put(&mut der, &[0x17, 13], 10, &self.time);
        put(&mut der, &[2, 1, 2, 2, 0x14], 5, &self.serial);
        let signature = der.len() - self.signature.len();
        der[signature..].copy_from_slice(&self.signature);
        let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let block = pem::encode_config(&pem::Pem::new(block.tag(), der), lines);
        format!("{block}{rest}")
    }
}

/// Writes octets so far behind each place where some others begin.
fn put(der: &mut [u8], beginning: &[u8], behind: usize, octets: &[u8]) {
    let begins = |at: &usize| der[*at..].starts_with(beginning);
    for at in (0..der.len()).filter(begins).collect::<Vec<_>>() {
        if let Some(place) = der.get_mut(at + behind..at + behind + octets.len()) {
            place.copy_from_slice(octets);
        }
    }
}

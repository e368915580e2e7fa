//! Thousands of requests that are nearly in order (P-15): from one seed, so that a finding can be repeated.

use capif_ccf::api::operations::BodyKind;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Ready, with_bodies};
use crate::{support::World, ts29222::scene::Scene};

/// How many mutations each operation gets.
const ROUNDS: usize = 250;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// A small generator (xorshift64*): the same numbers each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).unwrap() % limit.max(1)
    }

    fn value(&mut self) -> Value {
        match self.below(24) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(-1),
            3 => json!(u64::MAX),
            4 => json!(1e308),
            5 => json!(0.1),
            6 => json!(""),
            7 => json!(" "),
            8 => json!("x".repeat(70_000)),
            9 => json!("\u{0}\u{1b}[31m\r\n${jndi:x}{{7*7}}%s%n"),
            10 => json!("é\u{202e}\u{10ffff}"),
            11 => json!("../../etc/passwd"),
            12 => json!("3gpp#a:b;c:d"),
            13 => json!(
                "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"
            ),
            14 => json!("http://169.254.169.254/"),
            15 => json!("2026-13-45T99:99:99Z"),
            16 => json!([]),
            17 => json!({}),
            18 => json!([null]),
            19 => json!({ "": { "": [] } }),
            20 => json!(vec![0; 3000]),
            21 => (0..60).fold(json!(1), |inner, _| json!([inner])),
            22 => (0..300)
                .map(|number| (format!("m{number}"), json!(number)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            _ => json!("SERVICE_API_AVAILABLE"),
        }
    }

    /// Changes one place of a document.
    fn change(&mut self, document: &mut Value) {
        let children = match document {
            Value::Object(members) => members.len(),
            Value::Array(items) => items.len(),
            _ => 0,
        };
        if children == 0 || self.below(4) == 0 {
            return *document = self.value();
        }
        let index = self.below(children);
        match (document, self.below(6)) {
            (Value::Object(members), 0) => {
                let name = members.keys().nth(index).unwrap().clone();
                members.remove(&name);
            }
            (Value::Object(members), 1) => {
                let name = members.keys().nth(index).unwrap().clone();
                let value = members.remove(&name).unwrap();
                members.insert(format!("{name} "), value);
            }
            (Value::Object(members), 2) => {
                members.insert("surprise".to_owned(), self.value());
            }
            (Value::Object(members), _) => self.change(members.values_mut().nth(index).unwrap()),
            (Value::Array(items), 0) => drop(items.remove(index)),
            (Value::Array(items), 1) => {
                let again = items[index].clone();
                let times = [1, 2, 70, 300][self.below(4)];
                items.extend(std::iter::repeat_n(again, times));
            }
            (Value::Array(items), _) => self.change(&mut items[index]),
            _ => {}
        }
    }

    /// A body that began in order.
    fn body(&mut self, good: &[u8], is_json: bool) -> Vec<u8> {
        let mut octets = good.to_vec();
        if is_json && self.below(10) < 7 {
            let mut document: Value = serde_json::from_slice(good).unwrap();
            for _ in 0..=self.below(3) {
                self.change(&mut document);
            }
            octets = document.to_string().into_bytes();
        }
        if self.below(10) < 4 && !octets.is_empty() {
            for _ in 0..=self.below(3) {
                let at = self.below(octets.len());
                match self.below(5) {
                    0 => octets[at] ^= 1 << self.below(8),
                    1 => octets.truncate(at.max(1)),
                    2 => octets.insert(at, u8::try_from(self.below(256)).unwrap()),
                    3 => drop(octets.remove(at)),
                    _ => {
                        let piece = octets[at..octets.len().min(at + 40)].to_vec();
                        octets.splice(at..at, piece);
                    }
                }
                if octets.is_empty() {
                    break;
                }
            }
        }
        octets
    }
}

/// P-15: no request makes the core function fail: every answer is a success or a 4xx that says why, and it serves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_malformed_bodies_break_nothing() {
    let world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let mut numbers = Numbers(SEED);
    let mut refused = 0;
    let mut sent = 0;
    let mut ready = with_bodies(&world, &scene).await;
    // What takes the scene's things away comes last.
    ready.sort_by_key(|ready| {
        ready.operation.id.starts_with("Update") || ready.operation.id.starts_with("Delete")
    });
    for mut ready in ready {
        let operation = ready.operation.id;
        for round in 0..ROUNDS {
            let mut request = ready.request(&scene);
            let is_json = ready.operation.body != BodyKind::Form;
            let body = numbers.body(request.body(), is_json);
            let shown = String::from_utf8_lossy(&body)
                .chars()
                .take(600)
                .collect::<String>();
            *request.body_mut() = body;
            let what = format!("{operation} round {round}: {shown}");
            let answer = ready.who.send(&world, ready.operation, request).await;
            sent += 1;
            if answer.status.is_success() {
                renew(&world, &mut ready).await;
                continue;
            }
            assert!(
                answer.status.is_client_error(),
                "{what}: {} {}",
                answer.status,
                answer.json()
            );
            refused += 1;
            if answer.status == StatusCode::TOO_MANY_REQUESTS {
                world.clock.advance(time::Duration::seconds(61));
            }
            if answer.json().get("error").is_none() {
                assert!(!answer.cause().is_empty(), "{what}");
            }
            assert!(answer.body.len() < 200_000, "{what}");
        }
    }
    assert_eq!(sent, 20 * ROUNDS);
    assert!(refused > sent / 2, "{refused} of {sent}");
    let answer = world
        .anonymous()
        .json(Method::GET, "/.well-known/jwks.json", None)
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    // Whatever was taken in can be listed, and survives a restart.
    let mut world = world;
    let before = world.list("invokers").await.len();
    world.stop().await;
    world.resume().await;
    assert_eq!(world.list("invokers").await.len(), before);
    for list in ["providers", "apis", "contexts", "events", "logs"] {
        world.list(list).await;
    }
}

/// A credential that was used up is replaced.
async fn renew(world: &World, ready: &mut Ready<'_>) {
    if ready.credential.is_some() {
        ready.credential = Some(if ready.operation.id == "CreateApiProvRegist" {
            world.registration_credential("fresh").await
        } else {
            world.credential(&[]).await
        });
    }
}

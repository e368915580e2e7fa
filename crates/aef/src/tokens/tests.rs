use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jsonwebtoken::{EncodingKey, Header};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};
use time::macros::datetime;
use tokio::sync::Notify;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

/// A core function's token key.
struct Signer {
    kid: &'static str,
    pair: KeyPair,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        Self {
            kid,
            pair: KeyPair::generate().unwrap(),
        }
    }

    fn jwk(&self) -> Value {
        // An uncompressed point: both coordinates after one octet.
        let point = self.pair.der_bytes();
        let text = |octets| BASE64_URL_SAFE_NO_PAD.encode(octets);
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
            "x": text(&point[1..33]), "y": text(&point[33..65]),
        })
    }

    fn token(&self) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.to_owned());
        let seconds = NOW.unix_timestamp();
        let claims = json!({ "iss": "amy", "client_id": "amy", "scope": "3gpp#AEF:weather", "exp": seconds + 60 });
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }
}

/// Publishes keys, slowly if it is told to.
#[derive(Default)]
struct Publisher {
    keys: Mutex<Vec<Value>>,
    fetches: AtomicUsize,
    fails: AtomicBool,
    word: Option<Notify>,
}

impl KeySource for Arc<Publisher> {
    async fn set(&self) -> Result<Value, capif_client::Error> {
        let number = self.fetches.fetch_add(1, Ordering::SeqCst);
        let keys = self.keys.lock().unwrap().clone();
        if let Some(word) = self.word.as_ref().filter(|_| number > 0) {
            word.notified().await;
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(capif_client::Error::Usage("out of order".to_owned()));
        }
        Ok(json!({ "keys": keys }))
    }
}

impl Publisher {
    fn publish(&self, signers: &[&Signer]) {
        *self.keys.lock().unwrap() = signers.iter().map(|signer| signer.jwk()).collect();
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

async fn keys(publisher: Publisher) -> (Arc<Publisher>, Arc<TokenKeys<Arc<Publisher>>>) {
    let publisher = Arc::new(publisher);
    let keys = TokenKeys::fetch(Arc::clone(&publisher)).await.unwrap();
    (publisher, Arc::new(keys))
}

async fn outcome(keys: &TokenKeys<Arc<Publisher>>, token: &str) -> Result<(), Denial> {
    keys.verify(token, NOW).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_never_refused_however_soon_after_a_fetch() {
    let (publisher, keys) = keys(Publisher::default()).await;
    let (first, second) = (Signer::new("one"), Signer::new("two"));
    publisher.publish(&[&first]);
    assert_eq!(outcome(&keys, &first.token()).await, Ok(()));
    // At once, where the last fetch has only just been.
    publisher.publish(&[&first, &second]);
    let begun = Instant::now();
    assert_eq!(outcome(&keys, &second.token()).await, Ok(()));
    assert!(begun.elapsed() <= FETCH_PAUSE);
    assert_eq!(publisher.fetches(), 3);
    // One that is published no more is dropped with the next look.
    publisher.publish(&[&second]);
    keys.look().await.unwrap();
    assert_eq!(outcome(&keys, &second.token()).await, Ok(()));
    assert_eq!(
        outcome(&keys, &first.token()).await,
        Err(Denial::InvalidToken)
    );
    publisher.publish(&[]);
    keys.look().await.unwrap();
    assert_eq!(
        outcome(&keys, &second.token()).await,
        Err(Denial::InvalidToken)
    );
}

#[tokio::test(start_paused = true)]
async fn calls_with_a_new_key_share_the_fetch_that_runs() {
    let (publisher, keys) = keys(Publisher {
        word: Some(Notify::new()),
        ..Publisher::default()
    })
    .await;
    tokio::time::advance(FETCH_PAUSE).await;
    let signer = Signer::new("new");
    publisher.publish(&[&signer]);
    let token = signer.token();
    let many: Vec<_> = (0..50)
        .map(|_| {
            let (keys, token) = (Arc::clone(&keys), token.clone());
            tokio::spawn(async move { outcome(&keys, &token).await })
        })
        .collect();
    while publisher.fetches() < 2 {
        tokio::task::yield_now().await;
    }
    publisher.word.as_ref().unwrap().notify_one();
    for one in many {
        assert_eq!(one.await.unwrap(), Ok(()));
    }
    assert_eq!(publisher.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn names_that_are_made_up_cost_few_fetches_and_hold_nobody_up() {
    let (publisher, keys) = keys(Publisher::default()).await;
    tokio::time::advance(FETCH_PAUSE).await;
    let stranger = Signer::new("made up").token();
    assert_eq!(outcome(&keys, &stranger).await, Err(Denial::InvalidToken));
    assert_eq!(publisher.fetches(), 2);
    // The same name again is known not to be.
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(outcome(&keys, &stranger).await, Err(Denial::InvalidToken));
    }
    assert_eq!((publisher.fetches(), begun.elapsed()), (2, Duration::ZERO));
    // Many at once share a fetch, also with one whose key is there.
    let signer = Signer::new("new");
    publisher.publish(&[&signer]);
    let others = (0..100).map(|number| {
        let kid: &'static str = Box::leak(format!("made up {number}").into_boxed_str());
        Signer::new(kid).token()
    });
    let tokens: Vec<String> = others.chain([signer.token()]).collect();
    let outcomes = tokens.iter().map(|token| outcome(&keys, token));
    let outcomes = futures_util::future::join_all(outcomes).await;
    assert_eq!(outcomes.last(), Some(&Ok(())));
    let refused = |outcome: &&Result<(), Denial>| **outcome == Err(Denial::InvalidToken);
    assert_eq!(outcomes.iter().filter(refused).count(), 100);
    assert_eq!(publisher.fetches(), 3);
    // Nor does a name that is too long to be one.
    let long: &'static str = Box::leak("k".repeat(KID_BYTES_MAX + 1).into_boxed_str());
    let long = Signer::new(long).token();
    assert_eq!(outcome(&keys, &long).await, Err(Denial::InvalidToken));
    assert_eq!(publisher.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_core_function_that_does_not_answer_makes_no_token_invalid() {
    let (publisher, keys) = keys(Publisher::default()).await;
    let signer = Signer::new("new");
    publisher.publish(&[&signer]);
    publisher.fails.store(true, Ordering::SeqCst);
    let token = signer.token();
    assert_eq!(outcome(&keys, &token).await, Err(Denial::Unchecked));
    publisher.fails.store(false, Ordering::SeqCst);
    assert_eq!(outcome(&keys, &token).await, Ok(()));
}

#[test]
fn a_key_that_cannot_be_read_takes_no_other_along() {
    let signer = Signer::new("good");
    let set = json!({ "keys": [
        { "kty": "LATTICE", "kid": "later" },
        "nonsense",
        { "kty": "EC", "crv": "P-384", "kid": "other curve", "x": "AA", "y": "AA" },
        signer.jwk(),
    ]});
    let kids: Vec<String> = read(&set).into_iter().map(|key| key.kid).collect();
    assert_eq!(kids, ["good"]);
    assert!(read(&json!({})).is_empty() && read(&json!([])).is_empty());
    let many: Vec<Value> = vec![signer.jwk(); KEYS_MAX + 1];
    assert_eq!(read(&json!({ "keys": many })).len(), KEYS_MAX);
}

use std::fs;

use capif_procedures::token_keys::{SKEW, Timing};
use capif_transport::{Clock, ManualClock};
use serde_json::json;
use time::{Duration, macros::datetime};

use super::*;
use crate::{init, store::EmbeddedStore};

struct World {
    dir: tempfile::TempDir,
    clock: ManualClock,
}

struct Process {
    store: Arc<dyn Store>,
    ring: Arc<TokenRing>,
}

const TIMING: Timing = Timing {
    ahead: Duration::minutes(10),
    token_life: Duration::minutes(5),
};

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(datetime!(2026-03-01 12:00 UTC));
        init::init(dir.path(), &clock).unwrap();
        Self { dir, clock }
    }

    async fn start(&self) -> Process {
        self.start_with(None).await
    }

    async fn start_with(&self, tls_key: Option<Arc<TlsKey>>) -> Process {
        let store: Arc<dyn Store> =
            Arc::new(EmbeddedStore::open(&self.dir.path().join("store")).unwrap());
        let custody = Custody::default();
        let sealing = Arc::new(SealingKey::load(self.dir.path(), &custody).unwrap());
        let ring = TokenRing::load(
            self.dir.path(),
            &custody,
            &sealing,
            &store,
            tls_key,
            &self.now(),
        )
        .await;
        Process {
            store,
            ring: ring.unwrap(),
        }
    }

    fn now(&self) -> DateTime {
        DateTime(self.clock.now())
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join(files::ACCESS)
    }

    async fn rotate(&self, process: &Process) {
        let key = process.ring.make().unwrap();
        let nobody = std::iter::empty();
        let changes =
            token_keys::rotate(&process.ring.ring(), key, TIMING, nobody, &self.now()).unwrap();
        process.store.commit(changes).await.unwrap();
    }

    async fn replace(&self, process: &Process) {
        let key = process.ring.make().unwrap();
        let nobody = std::iter::empty();
        let changes = token_keys::replace(&process.ring.ring(), key, nobody, &self.now());
        process.store.commit(changes).await.unwrap();
    }

    /// The names of the keys that are handed out, and of the one that signs.
    fn kids(&self, process: &Process) -> (Vec<String>, String) {
        let set = process.ring.jwk_set(&self.now());
        let all = set
            .keys
            .iter()
            .map(|key| key.common.key_id.clone().unwrap());
        let token = process
            .ring
            .sign("at+jwt", &json!({}), &self.now())
            .unwrap();
        let header = jsonwebtoken::decode_header(token.expose()).unwrap();
        (all.collect(), header.kid.unwrap())
    }
}

#[tokio::test]
async fn the_key_of_the_folder_begins_the_ring() {
    let world = World::new();
    let text = fs::read_to_string(world.file()).unwrap();
    let kid = SigningKey::from_pem(&text).unwrap().kid().to_owned();
    let process = world.start().await;
    assert_eq!(world.kids(&process), (vec![kid.clone()], kid.clone()));
    drop(process);
    let process = world.start().await;
    assert_eq!(world.kids(&process), (vec![kid.clone()], kid));
    let dump = store::load_all::<TokenKey>(process.store.as_ref(), "")
        .await
        .unwrap();
    let secret = text.lines().nth(1).unwrap();
    assert!(
        !serde_json::to_string(&dump[0].record)
            .unwrap()
            .contains(secret)
    );
}

#[tokio::test]
async fn a_ring_turns_and_the_first_key_goes_with_its_file() {
    let world = World::new();
    let process = world.start().await;
    let (_, first) = world.kids(&process);
    world.rotate(&process).await;
    let (handed_out, signing) = world.kids(&process);
    assert_eq!((handed_out.len(), &signing), (2, &first));
    // The next process goes on where this one ended.
    drop(process);
    let process = world.start().await;
    world.clock.advance(TIMING.ahead);
    let (handed_out, signing) = world.kids(&process);
    assert_eq!(handed_out.len(), 2);
    assert_ne!(signing, first);
    world.clock.advance(TIMING.token_life + SKEW);
    assert_eq!(world.kids(&process), (vec![signing.clone()], signing));
    let nobody = std::iter::empty();
    let changes = token_keys::tend(&process.ring.ring(), nobody, &world.now());
    process.store.commit(changes).await.unwrap();
    process
        .ring
        .forget_file(world.dir.path(), &Custody::default());
    assert!(!world.file().exists());
}

#[tokio::test]
async fn a_compromised_key_is_gone_with_the_commit_and_never_comes_back() {
    let world = World::new();
    let process = world.start().await;
    let (_, first) = world.kids(&process);
    world.replace(&process).await;
    let (handed_out, signing) = world.kids(&process);
    assert_ne!(signing, first);
    assert_eq!(handed_out, [signing]);
    // Though the process ends before it removed the file.
    drop(process);
    drop(world.start().await);
    assert!(!world.file().exists());
}

#[tokio::test]
async fn another_sealing_key_costs_the_tokens_and_nothing_else() {
    let world = World::new();
    let process = world.start().await;
    let (_, first) = world.kids(&process);
    drop(process);
    fs::remove_file(world.dir.path().join(sealing::FILE)).unwrap();
    let process = world.start().await;
    let (handed_out, signing) = world.kids(&process);
    assert_ne!(signing, first);
    assert_eq!(handed_out, [signing]);
}

/// Each key verifies by its own algorithm alone, whatever a header says; and the key of the OpenCAPIF profile counts in that profile alone.
#[tokio::test]
async fn no_key_takes_the_algorithm_of_another() {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

    let world = World::new();
    let now = world.now();
    let end = now.0.unix_timestamp() + 60;
    let claims = json!({ "iss": "INV", "scope": "3gpp#AEF:weather", "exp": end });
    let process = world.start().await;
    let plain = process.ring.sign("at+jwt", &claims, &now).unwrap();
    assert!(process.ring.verify(plain.expose(), &now).is_some());
    drop(process);

    let custody = Custody::default();
    let key = Arc::new(TlsKey::open(world.dir.path(), &custody).unwrap());
    let process = world.start_with(Some(key)).await;
    let lenient = process.ring.sign("at+jwt", &claims, &now).unwrap();
    for (token, alg) in [(&plain, Algorithm::ES256), (&lenient, Algorithm::RS256)] {
        let token = token.expose();
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.alg, alg);
        assert!(process.ring.verify(token, &now).is_some(), "{alg:?}");
        let (_, rest) = token.split_once('.').unwrap();
        for other in ["ES256", "RS256", "PS256", "HS256", "none"] {
            let header = json!({ "typ": "at+jwt", "alg": other, "kid": header.kid });
            let forged = format!(
                "{}.{rest}",
                BASE64_URL_SAFE_NO_PAD.encode(header.to_string())
            );
            assert!(
                process.ring.verify(&forged, &now).is_none(),
                "{alg:?} as {other}"
            );
        }
        // Who is named by the other key did not sign.
        let kids = process.ring.jwk_set(&now).keys;
        for kid in kids.iter().filter_map(|key| key.common.key_id.clone()) {
            let alg = format!("{alg:?}");
            let named = json!({ "typ": "at+jwt", "alg": alg, "kid": kid });
            let named = format!(
                "{}.{rest}",
                BASE64_URL_SAFE_NO_PAD.encode(named.to_string())
            );
            assert!(named == token || process.ring.verify(&named, &now).is_none());
        }
    }
    drop(process);

    let process = world.start().await;
    assert!(process.ring.verify(lenient.expose(), &now).is_none());
}

//! Real folders, a real store, and another library that judges the chains.

use std::fs;

use capif_procedures::authority;
use capif_transport::{Clock, ManualClock};
use openssl::{
    stack::Stack,
    x509::{
        X509, X509StoreContext,
        store::X509StoreBuilder,
        verify::{X509VerifyFlags, X509VerifyParam},
    },
};
use time::{Duration, macros::datetime};

use super::*;
use crate::{authority::Lives, init, store::EmbeddedStore};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

/// A folder, and what is loaded from it.
struct World {
    dir: tempfile::TempDir,
    clock: ManualClock,
}

/// One process.
struct Process {
    store: Arc<dyn Store>,
    authorities: Arc<Authorities>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(NOW);
        init::init(dir.path(), &clock).unwrap();
        Self { dir, clock }
    }

    async fn start(&self) -> Process {
        self.try_start().await.unwrap()
    }

    async fn try_start(&self) -> Result<Process, AuthorityError> {
        let store: Arc<dyn Store> =
            Arc::new(EmbeddedStore::open(&self.dir.path().join("store")).unwrap());
        let authorities = load(self.dir.path(), &store).await?;
        Ok(Process { store, authorities })
    }

    fn now(&self) -> DateTime {
        DateTime(self.clock.now())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    async fn roll(&self, process: &Process, root: bool) -> Result<(), AuthorityError> {
        let next = process
            .authorities
            .make_next(root, self.clock.now())
            .await?;
        self.commit(process, next).await;
        Ok(())
    }

    async fn commit(&self, process: &Process, next: Generation) {
        let succession = process.authorities.succession();
        let overlap = Duration::days(30);
        let nobody = std::iter::empty();
        let changes = authority::roll(&succession, next, overlap, nobody, &self.now()).unwrap();
        process.store.commit(changes).await.unwrap();
    }
}

async fn load(dir: &Path, store: &Arc<dyn Store>) -> Result<Arc<Authorities>, AuthorityError> {
    let lives = Lives {
        root: Duration::days(3650),
        issuing: Duration::days(1825),
    };
    let terms = Terms {
        invoker_life: Duration::days(90),
        function_life: Duration::days(365),
        ..Terms::default()
    };
    let now = DateTime(OffsetDateTime::UNIX_EPOCH);
    Authorities::load(dir, "CCF1", &Custody::default(), lives, terms, store, &now).await
}

async fn own(process: &Process, now: OffsetDateTime) -> Own {
    let hosts = ["localhost".to_owned()];
    process.authorities.own(&hosts, now).await.unwrap()
}

/// Whether who believes these roots alone finds a way for a chain, leaf first.
fn verifies(roots: &str, chain: &str, at: OffsetDateTime) -> bool {
    let mut store = X509StoreBuilder::new().unwrap();
    for root in X509::stack_from_pem(roots.as_bytes()).unwrap() {
        store.add_cert(root).unwrap();
    }
    let mut param = X509VerifyParam::new().unwrap();
    param.set_time(at.unix_timestamp());
    param.set_flags(X509VerifyFlags::X509_STRICT).unwrap();
    store.set_param(&param).unwrap();
    let store = store.build();
    let mut chain = X509::stack_from_pem(chain.as_bytes()).unwrap();
    let leaf = chain.remove(0);
    let mut untrusted = Stack::new().unwrap();
    for certificate in chain {
        untrusted.push(certificate).unwrap();
    }
    let mut context = X509StoreContext::new().unwrap();
    context
        .init(&store, &leaf, &untrusted, |context| context.verify_cert())
        .unwrap()
}

#[tokio::test]
async fn a_folder_without_records_is_the_first_generation() {
    let world = World::new();
    let process = world.start().await;
    let root = fs::read_to_string(world.path(files::ROOT)).unwrap();
    assert_eq!(process.authorities.root_pem(), root);
    let own = own(&process, NOW).await;
    assert_eq!(own.certificate.authority, 1);
    assert!(verifies(&root, &own.identity.chain_pem(), NOW));
    let trust = process.authorities.trust(&world.now());
    assert_eq!((trust.anchors, trust.distrusted), (vec![root], vec![]));
    // The next start finds the record and writes nothing.
    let before = store::load_all::<Generation>(process.store.as_ref(), "")
        .await
        .unwrap();
    drop(process);
    let again = world.start().await;
    let after = store::load_all::<Generation>(again.store.as_ref(), "")
        .await
        .unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_new_issuing_authority_signs_under_the_same_root() {
    let world = World::new();
    let process = world.start().await;
    let old = own(&process, NOW).await;
    world.roll(&process, false).await.unwrap();
    let new = own(&process, NOW).await;
    assert_eq!(new.certificate.authority, 2);
    assert_ne!(old.surroundings, new.surroundings);
    let root = process.authorities.root_pem();
    for own in [&old, &new] {
        assert!(verifies(&root, &own.certificate.pem.to_string(), NOW));
    }
    let demand = process.authorities.demand(&old.certificate).unwrap();
    assert_eq!(demand.deadline.0, NOW + Duration::days(30));
    // Both are told apart by their names too.
    let issuers = [&old, &new].map(|own| {
        let leaf = X509::from_pem(own.certificate.pem.to_string().as_bytes()).unwrap();
        format!("{:?}", leaf.issuer_name())
    });
    assert_ne!(issuers[0], issuers[1]);

    let later = DateTime(NOW + Duration::days(30));
    assert!(!process.authorities.is_retired(1, &world.now()));
    assert!(process.authorities.is_retired(1, &later));
    let trust = process.authorities.trust(&later);
    assert_eq!(trust.anchors, [root]);
    assert_eq!(trust.distrusted.len(), 1);
    let anchors = process.authorities.anchors(later.0).unwrap();
    assert_eq!(anchors.distrusted_keys().len(), 1);
}

#[tokio::test]
async fn who_knows_either_root_verifies_during_the_overlap() {
    let world = World::new();
    let process = world.start().await;
    let old_root = process.authorities.root_pem();
    let old = own(&process, NOW).await;
    world.roll(&process, true).await.unwrap();
    let new_root = process.authorities.root_pem();
    let new = own(&process, NOW).await;
    let both = format!("{new_root}{old_root}");
    for roots in [&old_root, &new_root, &both] {
        // With all that is shown, and with what goes into records.
        assert!(verifies(roots, &new.identity.chain_pem(), NOW));
        assert!(verifies(roots, &new.certificate.pem.to_string(), NOW));
    }
    assert!(verifies(&old_root, &old.certificate.pem.to_string(), NOW));
    assert!(!verifies(&new_root, &old.certificate.pem.to_string(), NOW));
    let trust = process.authorities.trust(&world.now());
    assert_eq!(trust.anchors, [new_root.clone(), old_root.clone()]);
    let shown = new.identity.chain_pem();
    assert!(shown.contains(new_root.trim()) && shown.contains(old_root.trim()));
    assert_eq!(
        fs::read_to_string(world.path("ca/root-2.pem")).unwrap(),
        new_root
    );

    // After the overlap nothing leads to the old root any more.
    let later = NOW + Duration::days(30);
    let after = own(&process, later).await;
    assert!(verifies(&new_root, &after.identity.chain_pem(), later));
    assert!(!verifies(&old_root, &after.identity.chain_pem(), later));
    let trust = process.authorities.trust(&DateTime(later));
    assert_eq!(trust.anchors, [new_root]);
    assert_eq!(trust.distrusted.len(), 2);

    // A third generation stands under the second root.
    world.clock.set(later);
    world.roll(&process, false).await.unwrap();
    let third = own(&process, later).await;
    assert_eq!(third.certificate.authority, 3);
    assert!(verifies(
        &process.authorities.root_pem(),
        &third.certificate.pem.to_string(),
        later
    ));
}

#[tokio::test]
async fn a_break_at_any_point_leaves_one_that_signs() {
    let world = World::new();
    let process = world.start().await;
    // Before the commit: what was made counts for nothing, and is made anew.
    let unused = process.authorities.make_next(true, NOW).await.unwrap();
    assert_eq!(unused.number, 2);
    drop(process);
    let process = world.start().await;
    assert_eq!(own(&process, NOW).await.certificate.authority, 1);
    let next = process.authorities.make_next(true, NOW).await.unwrap();
    assert_eq!(next.number, 2);
    assert_ne!(next.issuing_key, unused.issuing_key);
    // After the commit, before anything was exchanged.
    world.commit(&process, next).await;
    drop(process);
    let process = world.start().await;
    let own = own(&process, NOW).await;
    assert_eq!(own.certificate.authority, 2);
    assert!(verifies(
        &process.authorities.root_pem(),
        &own.certificate.pem.to_string(),
        NOW
    ));
    assert!(process.authorities.at_work(1).is_some());
}

#[tokio::test]
async fn without_the_key_of_the_root_nothing_is_begun() {
    let world = World::new();
    let process = world.start().await;
    let away = world.path("root.key.away");
    fs::rename(world.path(files::ROOT_KEY), &away).unwrap();
    for root in [false, true] {
        let error = world.roll(&process, root).await.unwrap_err();
        assert!(matches!(error, AuthorityError::RootKeyAway(_)));
        assert!(error.to_string().contains("ca/root.key"), "{error}");
    }
    // The key of another root is none.
    fs::copy(world.path(files::ISSUING_KEY), world.path(files::ROOT_KEY)).unwrap();
    assert!(world.roll(&process, true).await.is_err());
    assert!(!world.path("ca/issuing-2.key").exists());
    fs::rename(&away, world.path(files::ROOT_KEY)).unwrap();
    world.roll(&process, true).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_not_the_authoritys_stops_the_start() {
    let world = World::new();
    fs::copy(world.path(files::ROOT_KEY), world.path(files::ISSUING_KEY)).unwrap();
    let error = world.try_start().await.map(|_| ()).unwrap_err();
    assert!(
        error.to_string().contains("do not belong together"),
        "{error}"
    );
}

#[tokio::test]
async fn an_older_key_may_be_taken_off_the_machine() {
    let world = World::new();
    let process = world.start().await;
    world.roll(&process, false).await.unwrap();
    drop(process);
    fs::remove_file(world.path(files::ISSUING_KEY)).unwrap();
    let process = world.start().await;
    assert!(process.authorities.at_work(1).is_none());
    assert_eq!(own(&process, NOW).await.certificate.authority, 2);
}

#[tokio::test]
async fn before_the_first_roll_over_the_folder_counts() {
    let world = World::new();
    drop(world.start().await);
    let other = World::new();
    for file in [
        files::ROOT,
        files::ROOT_KEY,
        files::ISSUING,
        files::ISSUING_KEY,
    ] {
        fs::copy(other.path(file), world.path(file)).unwrap();
    }
    let process = world.start().await;
    let root = fs::read_to_string(other.path(files::ROOT)).unwrap();
    assert_eq!(process.authorities.root_pem(), root);
    assert!(verifies(
        &root,
        &own(&process, NOW).await.certificate.pem.to_string(),
        NOW
    ));
}

#[tokio::test]
async fn no_certificate_outlives_its_authority() {
    let world = World::new();
    let process = world.start().await;
    let end = process
        .authorities
        .succession()
        .current()
        .unwrap()
        .not_after
        .clone();
    let late = end.0 - Duration::hours(1);
    assert_eq!(own(&process, late).await.certificate.not_after, end);
}

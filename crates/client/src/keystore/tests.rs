use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use serde_json::{Value, json};

use super::{Keystore, KeystoreError};

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn folder_and_files_are_the_owners_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    let keystore = Keystore::open(&folder).unwrap();
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(parent.path().join("a")), 0o700);

    let locked = keystore.lock().await.unwrap();
    locked.make_key("invoker").unwrap();
    locked.store("invoker", &json!({ "secret": "s" })).unwrap();
    for name in names(&folder) {
        assert_eq!(mode(folder.join(&name)), 0o600, "{name}");
    }
    assert_eq!(
        names(&folder),
        ["capif-invoker.json", "capif-invoker.key", "capif-lock"]
    );
}

#[tokio::test]
async fn what_was_stored_is_loaded_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("keystore");
    let keystore = Keystore::open(&folder).unwrap();
    assert_eq!(keystore.load::<Value>("invoker").unwrap(), None);
    assert!(keystore.key("invoker").unwrap().is_none());
    let locked = keystore.lock().await.unwrap();
    locked.store("invoker", &json!(1)).unwrap();
    locked.store("invoker", &json!({ "two": 2 })).unwrap();
    let key = locked.make_key("invoker").unwrap();
    drop(locked);

    let keystore = Keystore::open(&folder).unwrap();
    assert_eq!(
        keystore.load::<Value>("invoker").unwrap(),
        Some(json!({ "two": 2 }))
    );
    let again = keystore.key("invoker").unwrap().unwrap();
    assert_eq!(again.pem(), key.pem());
    assert!(key.pem().starts_with("-----BEGIN PRIVATE KEY-----"));
}

#[tokio::test]
async fn a_file_that_others_can_read_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(parent.path()).unwrap();
    let locked = keystore.lock().await.unwrap();
    locked.make_key("invoker").unwrap();
    locked.store("invoker", &json!(1)).unwrap();
    for name in ["capif-invoker.key", "capif-invoker.json"] {
        let path = parent.path().join(name);
        for open in [0o640, 0o604, 0o660, 0o666] {
            set_mode(&path, open);
            let error = Keystore::open(parent.path()).unwrap_err();
            assert!(matches!(error, KeystoreError::Exposed { .. }), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        // Also when it is opened to others later.
        let late = match name {
            "capif-invoker.key" => keystore.key("invoker").map(drop),
            _ => keystore.load::<Value>("invoker").map(drop),
        };
        assert!(matches!(late, Err(KeystoreError::Exposed { .. })));
        set_mode(&path, 0o600);
    }
    Keystore::open(parent.path()).unwrap();
}

#[test]
fn a_folder_that_others_can_enter_is_refused_unless_it_is_empty() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("keystore");
    fs::create_dir(&folder).unwrap();
    set_mode(&folder, 0o755);
    Keystore::open(&folder).unwrap();
    assert_eq!(mode(&folder), 0o700);

    fs::write(folder.join("something"), "else").unwrap();
    set_mode(&folder, 0o750);
    let error = Keystore::open(&folder).unwrap_err();
    assert!(error.to_string().contains("chmod 700"), "{error}");

    fs::write(parent.path().join("file"), "").unwrap();
    assert!(Keystore::open(parent.path().join("file")).is_err());
}

#[test]
fn a_link_is_not_taken_for_a_file() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("keystore");
    let keystore = Keystore::open(&folder).unwrap();
    let elsewhere = parent.path().join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    symlink(&elsewhere, folder.join("capif-invoker.json")).unwrap();
    assert!(matches!(
        Keystore::open(&folder).unwrap_err(),
        KeystoreError::Damaged { .. }
    ));
    keystore.erase().unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), b"precious");
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_write_that_was_cut_off_leaves_the_old_state() {
    let parent = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(parent.path()).unwrap();
    let locked = keystore.lock().await.unwrap();
    locked.store("invoker", &json!("old")).unwrap();
    drop(locked);
    // What a crash between write and rename leaves behind.
    let leftover = parent.path().join(".capif-invoker.json.new");
    fs::write(&leftover, "\"ne").unwrap();
    set_mode(&leftover, 0o600);

    let keystore = Keystore::open(parent.path()).unwrap();
    assert_eq!(keystore.load::<String>("invoker").unwrap().unwrap(), "old");
    let locked = keystore.lock().await.unwrap();
    assert!(!leftover.exists());
    locked.store("invoker", &json!("new")).unwrap();
    assert_eq!(locked.load::<String>("invoker").unwrap().unwrap(), "new");
}

#[tokio::test]
async fn a_write_that_fails_leaves_the_old_state() {
    let parent = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(parent.path()).unwrap();
    let locked = keystore.lock().await.unwrap();
    locked.store("invoker", &json!("old")).unwrap();
    // Nothing can be written beside it.
    fs::create_dir(parent.path().join(".capif-invoker.json.new")).unwrap();
    assert!(locked.store("invoker", &json!("new")).is_err());
    assert_eq!(locked.load::<String>("invoker").unwrap().unwrap(), "old");
}

#[tokio::test]
async fn damaged_files_are_told_apart_from_absent_ones() {
    let parent = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(parent.path()).unwrap();
    let locked = keystore.lock().await.unwrap();
    locked
        .store("invoker", &json!({ "canary": "hidden" }))
        .unwrap();
    let key = locked.make_key("invoker").unwrap();
    fs::write(
        parent.path().join("capif-invoker.json"),
        "{\"canary\": hidden",
    )
    .unwrap();
    fs::write(parent.path().join("capif-invoker.key"), &key.pem()[..80]).unwrap();
    let state = keystore.load::<Value>("invoker").unwrap_err();
    assert!(matches!(state, KeystoreError::Damaged { .. }));
    assert!(!state.to_string().contains("hidden"), "{state}");
    assert!(matches!(
        keystore.key("invoker").err(),
        Some(KeystoreError::Damaged { .. })
    ));
    for octets in [
        &b""[..],
        b"\xff\xfe",
        b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    ] {
        fs::write(parent.path().join("capif-invoker.key"), octets).unwrap();
        assert!(matches!(
            keystore.key("invoker").err(),
            Some(KeystoreError::Damaged { .. })
        ));
    }
}

#[tokio::test]
async fn names_cannot_lead_out_of_the_folder() {
    let parent = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(parent.path()).unwrap();
    let locked = keystore.lock().await.unwrap();
    for name in [
        "",
        "../x",
        "a/b",
        ".",
        "UPPER",
        "a.b",
        "a b",
        "a\0b",
        &"a".repeat(65),
    ] {
        assert!(
            matches!(locked.store(name, &json!(1)), Err(KeystoreError::Name(_))),
            "{name:?}"
        );
        assert!(
            matches!(keystore.load::<Value>(name), Err(KeystoreError::Name(_))),
            "{name:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_process_waits_and_then_says_so() {
    let parent = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(parent.path()).unwrap();
    let held = keystore.lock().await.unwrap();
    let error = Keystore::open(parent.path())
        .unwrap()
        .lock()
        .await
        .unwrap_err();
    assert!(matches!(error, KeystoreError::InUse(_)), "{error}");

    let waiting = tokio::spawn(async move { keystore.lock().await.map(drop) });
    tokio::task::yield_now().await;
    drop(held);
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn erasing_removes_every_own_file_and_nothing_else() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("keystore");
    let keystore = Keystore::open(&folder).unwrap();
    let locked = keystore.lock().await.unwrap();
    locked.make_key("aef-0").unwrap();
    locked.store("provider", &json!("canary")).unwrap();
    fs::write(folder.join(".capif-provider.json.new"), "canary").unwrap();
    // A second name for the file shows what was in it when it was removed.
    let witness = parent.path().join("witness");
    fs::hard_link(folder.join("capif-provider.json"), &witness).unwrap();
    let length = fs::metadata(&witness).unwrap().len();
    Keystore::clone(&locked).erase().unwrap();
    assert!(!folder.exists());
    let left = fs::read(&witness).unwrap();
    assert_eq!(left, vec![0; usize::try_from(length).unwrap()]);

    // Again: nothing to do, no harm.
    keystore.clone().erase().unwrap();
    assert!(matches!(keystore.lock().await, Err(KeystoreError::Gone(_))));
}

#[tokio::test]
async fn erasing_leaves_the_files_of_others() {
    let parent = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(parent.path()).unwrap();
    let locked = keystore.lock().await.unwrap();
    locked.store("invoker", &json!(1)).unwrap();
    drop(locked);
    fs::write(parent.path().join("notes.txt"), "mine").unwrap();
    keystore.erase().unwrap();
    assert_eq!(names(parent.path()), ["notes.txt"]);
}

#[tokio::test]
async fn whoever_waited_for_a_folder_that_is_erased_learns_it() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("keystore");
    let keystore = Keystore::open(&folder).unwrap();
    let held = keystore.lock().await.unwrap();
    let other = keystore.clone();
    let waiting = tokio::spawn(async move { other.lock().await.map(drop) });
    tokio::task::yield_now().await;
    keystore.erase().unwrap();
    drop(held);
    assert!(matches!(
        waiting.await.unwrap(),
        Err(KeystoreError::Gone(_))
    ));
}

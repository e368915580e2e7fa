//! Lost answers and crashes: every state in which a folder can be left opens and works, and nobody is locked out.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use capif_client::Keystore;

use super::*;

/// The state of the folder.
type Files = Vec<(String, String)>;

fn restore(folder: &Path, files: &Files) {
    for entry in fs::read_dir(folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&path, mode).unwrap();
    }
}

fn content<'a>(files: &'a Files, name: &str) -> &'a str {
    let (_, text) = files.iter().find(|(found, _)| found == name).unwrap();
    text
}

fn with(files: &Files, name: &str, text: &str) -> Files {
    let mut files: Files = files
        .iter()
        .filter(|(other, _)| other != name)
        .cloned()
        .collect();
    files.push((name.to_owned(), text.to_owned()));
    files
}

/// An invoker in the middle of a renewal that is cut by `cut`; with the folder before, and after the cut.
async fn cut_at(world: &World, path: &'static str) -> (Files, Files) {
    let invoker = world.onboarded().await;
    call(&invoker).await;
    let before = world.files();
    let facts = Arc::clone(&world.facts);
    world.unusual(move |seen| {
        // Done there, unknown here.
        let cut = seen.path == path && seen.method != "POST";
        cut.then(|| {
            drop(crate::world::usual(&facts, seen));
            Reply::Hang
        })
    });
    let _ = invoker.renew(RenewalOptions::default()).await;
    drop(invoker);
    (before, world.files())
}

#[tokio::test]
async fn every_cut_point_leaves_a_folder_that_works() {
    for point in 0..9 {
        let world = world().await;
        world.facts.lock().unwrap().method = Some("PKI");
        let waits_for = if point < 5 { RESOURCE } else { STATUS };
        let (before, asked) = cut_at(&world, waits_for).await;
        let key = "capif-invoker-1.key";
        let new_key = content(&asked, key).to_owned();
        let state = content(&asked, "capif-invoker.json").to_owned();
        let half = &new_key[..new_key.len() / 2];
        let left = match point {
            // While the new key was written.
            0 => with(&before, ".capif-invoker-1.key.new", half),
            // After it was.
            1 => with(&before, key, &new_key),
            // While the request was noted.
            2 => with(
                &with(&before, key, &new_key),
                ".capif-invoker.json.new",
                &state[..40],
            ),
            // After it was noted, and after it was sent: the core function has done it.
            3 => asked.clone(),
            // While the answer was put down.
            4 => with(&asked, ".capif-invoker.json.new", &state[..80]),
            // After it was, before the core function saw it in use.
            5 => asked.clone(),
            // After the core function saw it, before anybody here noted that.
            6 => {
                world.as_usual();
                world.reopened().await.upkeep().await.unwrap();
                asked.clone()
            }
            // After that was noted, before the old key was erased, and in the middle of it.
            _ => {
                world.as_usual();
                world.reopened().await.upkeep().await.unwrap();
                let old = content(&before, "capif-invoker.key");
                let zeros = "\0".repeat(old.len());
                let old = if point == 7 { old } else { &zeros };
                with(&world.files(), "capif-invoker.key", old)
            }
        };
        restore(&world.folder(), &left);
        world.as_usual();
        let invoker = world.reopened().await;
        call(&invoker).await;
        invoker.upkeep().await.unwrap();
        call(&invoker).await;
        // It can be renewed, and renewed again.
        for _ in 0..2 {
            let renewed = invoker.renew(RenewalOptions::default()).await.unwrap();
            assert!(renewed.confirmed, "{point}");
            call(&invoker).await;
        }
        assert_eq!(
            world.key_files().len(),
            1,
            "{point}: {:?}",
            world.key_files()
        );
        let names: Vec<String> = world.files().into_iter().map(|(name, _)| name).collect();
        assert!(
            names.iter().all(|name| !name.starts_with('.')),
            "{point}: {names:?}"
        );
        assert_eq!(
            world.shown_to_aef().last(),
            world.issued().last(),
            "{point}"
        );
        // What was asked once was answered once.
        let patches: Vec<Value> = world
            .ccf
            .seen()
            .iter()
            .filter(|seen| seen.method == "PATCH")
            .map(|seen| seen.json())
            .collect();
        if (3..=4).contains(&point) {
            assert_eq!(patches[0], patches[1], "{point}");
        }
        call(&world.reopened().await).await;
    }
}

#[tokio::test]
async fn offboarding_erases_what_is_pending_too() {
    let world = world().await;
    let (_, asked) = cut_at(&world, RESOURCE).await;
    assert!(asked.iter().any(|(name, _)| name == "capif-invoker-1.key"));
    world.as_usual();
    world.reopened().await.offboard().await.unwrap();
    assert!(!world.folder().exists());
}

#[tokio::test]
async fn a_process_that_shares_the_folder_follows() {
    let world = world().await;
    world.facts.lock().unwrap().method = Some("PKI");
    let one = world.onboarded().await;
    let other = world.reopened().await;
    let third = world.reopened().await;
    call(&one).await;
    call(&other).await;
    one.renew(RenewalOptions::default()).await.unwrap();
    // The old one is retired there: the core function and the AEF do not accept it any more.
    let old = world.issued()[0];
    world.renewing(|renewing| renewing.refused.push(old));
    world.aef.script(move |seen| {
        if seen.shown == Some(old) {
            problem(401, "unknown").with("www-authenticate", "Bearer error=\"invalid_token\"")
        } else {
            crate::world::answer(200, &serde_json::json!({}))
        }
    });
    call(&other).await;
    assert_eq!(third.discover(&Default::default()).await.unwrap().len(), 1);
    assert_eq!(world.shown_to_aef().last(), Some(&world.issued()[1]));
    assert_eq!(world.issued().len(), 2);
}

#[tokio::test]
async fn two_processes_that_renew_at_once_renew_once() {
    let world = world().await;
    let one = world.onboarded().await;
    let other = world.reopened().await;
    world.clock.advance(Duration::days(21));
    let (first, second) = tokio::join!(one.upkeep(), other.upkeep());
    first.unwrap();
    second.unwrap();
    assert_eq!(world.issued().len(), 2);
    for invoker in [&one, &other] {
        call(invoker).await;
        assert!(
            !invoker
                .renewal_status()
                .is_due(capif_transport::Clock::now(world.clock.as_ref()))
        );
    }
    assert_eq!(world.key_files(), ["capif-invoker-1.key"]);
}

#[tokio::test]
async fn what_another_process_began_is_finished() {
    let world = world().await;
    let (_, _) = cut_at(&world, RESOURCE).await;
    world.as_usual();
    let invoker = world.reopened().await;
    assert!(invoker.renewal_status().pending);
    call(&invoker).await;
    eventually("it is finished", || {
        let status = invoker.renewal_status();
        !status.pending && !status.unconfirmed
    })
    .await;
    assert_eq!(world.issued().len(), 2);
}

#[tokio::test]
async fn a_renewed_certificate_that_is_not_accepted_is_given_up() {
    let world = world().await;
    world.facts.lock().unwrap().method = Some("PKI");
    let invoker = world.onboarded().await;
    call(&invoker).await;
    let old = world.issued()[0];
    let refuses = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&refuses);
    world.unusual(move |seen| {
        let refused = seen.shown.is_some_and(|shown| shown != old);
        (refused && switch.load(Ordering::SeqCst)).then(|| problem(401, "unknown"))
    });
    let renewed = invoker.renew(RenewalOptions::default()).await.unwrap();
    assert!(!renewed.confirmed);
    call(&invoker).await;
    assert_eq!(world.shown_to_aef().last(), Some(&old));
    assert_eq!(world.key_files(), ["capif-invoker.key"]);
    call(&world.reopened().await).await;
    // And it can be tried again.
    refuses.store(false, Ordering::SeqCst);
    assert!(
        invoker
            .renew(RenewalOptions::default())
            .await
            .unwrap()
            .confirmed
    );
    call(&invoker).await;
    assert_eq!(world.shown_to_aef().last(), world.issued().last());
}

#[tokio::test]
async fn an_answer_that_is_not_good_is_not_kept() {
    let world = world().await;
    let invoker = world.onboarded().await;
    let facts = Arc::clone(&world.facts);
    let wrong = Arc::new(crate::world::Authority::new("another root"));
    for case in 0..5 {
        let (facts, wrong) = (Arc::clone(&facts), Arc::clone(&wrong));
        world.unusual(move |seen| {
            if seen.method != "PATCH" {
                return None;
            }
            let sent = seen.json();
            let key = sent["onboardingInformation"]["apiInvokerPublicKey"]
                .as_str()
                .unwrap();
            let authority = Arc::clone(&facts.lock().unwrap().authority);
            let mut details = serde_json::json!({
                "apiInvokerId": if case == 0 { "invoker-2" } else { "invoker-1" },
                "onboardingInformation": {
                    "apiInvokerPublicKey": key,
                    "onboardingSecret": "another",
                },
                "notificationDestination": "https://api-invoker.invalid/",
            });
            let certificate = match case {
                0 => authority.sign(key, "invoker-1", "API_INVOKER"),
                1 => authority.stranger("invoker-1"),
                2 => authority.sign(key, "invoker-2", "API_INVOKER"),
                3 => wrong.sign(key, "invoker-1", "API_INVOKER"),
                _ => "nothing".to_owned(),
            };
            details["onboardingInformation"]["apiInvokerCertificate"] = Value::String(certificate);
            Some(crate::world::answer(200, &details))
        });
        let error = invoker.renew(RenewalOptions::default()).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("another API invoker") || text.contains("nothing of it was kept"),
            "{text}"
        );
        assert_eq!(world.key_files(), ["capif-invoker.key"], "{case}");
        assert!(!invoker.renewal_status().pending, "{case}");
    }
    world.as_usual();
    call(&invoker).await;
    invoker.renew(RenewalOptions::default()).await.unwrap();
    Keystore::open(world.folder()).unwrap();
}

#[tokio::test]
async fn what_was_begun_and_is_out_of_place_now_gives_way() {
    let world = world().await;
    let (_, _) = cut_at(&world, RESOURCE).await;
    let before = world.ccf.seen();
    let begun = before
        .iter()
        .rfind(|seen| seen.method == "PATCH")
        .unwrap()
        .json();
    world.unusual(move |seen| {
        (seen.method == "PATCH" && seen.json() == begun)
            .then(|| problem(400, "this key may be in other hands"))
    });
    let invoker = world.reopened().await;
    assert!(
        invoker
            .renew(RenewalOptions::default())
            .await
            .unwrap()
            .confirmed
    );
    assert_eq!(world.key_files().len(), 1);
    call(&invoker).await;
}

#[tokio::test]
async fn who_leaves_with_a_replaced_certificate_is_not_taken_for_gone() {
    let world = world().await;
    let one = world.onboarded().await;
    let other = world.reopened().await;
    one.renew(RenewalOptions::default()).await.unwrap();
    let old = world.issued()[0];
    world.renewing(|renewing| renewing.refused.push(old));
    assert_eq!(
        other.offboard().await.unwrap(),
        capif_client::Departure::Confirmed
    );
    assert!(!world.folder().exists());
}

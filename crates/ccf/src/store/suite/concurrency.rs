//! Many at once: who commits, who reads, who watches.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use capif_procedures::changes::{Change, Expect, Kind, Revision};

use super::{
    super::{Observer, Stored},
    Mirror, Place, append, assert_conflict, changes, commit, delete, delete_prefix, key, open, put,
    require, scan, value,
};

/// A deletion by prefix takes every record that a commit before it added, and none of a commit after it.
pub(super) async fn prefix_and_concurrent_appends(place: &impl Place) {
    let store = open(place).await;
    let commits = (0..200).map(|number| {
        let step = match number % 10 {
            5 => delete_prefix(Kind::Notification, "s/1/"),
            _ => append("s/1/", "1"),
        };
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let revision = store.commit(changes([step.clone()])).await.unwrap();
            (revision, matches!(step, Change::DeletePrefix { .. }))
        })
    });
    let mut appended = Vec::new();
    let mut deleted = Revision(0);
    for outcome in commits.collect::<Vec<_>>() {
        match outcome.await.unwrap() {
            (revision, true) => deleted = deleted.max(revision),
            (revision, false) => appended.push(revision),
        }
    }
    appended.retain(|revision| *revision > deleted);
    appended.sort_unstable();
    let found = scan(store.as_ref(), Kind::Notification, "s/1/").await;
    let left: Vec<_> = found.iter().map(|(_, stored)| stored.revision).collect();
    assert_eq!(left, appended);
}

/// Observers learn of each commit, once, in order, with prefixes and sequences filled in, before the answer.
pub(super) async fn observers(place: &impl Place) {
    let store = open(place).await;
    let mirror = Arc::new(Mirror::default());
    let second = Arc::new(Mirror::default());
    store.watch(Arc::clone(&mirror) as Arc<dyn Observer>);
    store.watch(Arc::clone(&second) as Arc<dyn Observer>);
    let commits = (0..300).map(|number| {
        let store = Arc::clone(&store);
        let mirrors = [Arc::clone(&mirror), Arc::clone(&second)];
        tokio::spawn(async move {
            let id = format!("{}/{}", number % 7, number % 11);
            let steps = match number % 5 {
                0 => vec![delete_prefix(Kind::Invoker, &format!("{}/", number % 7))],
                1 => vec![put(&id, Expect::Any, "1"), delete(&id, Expect::Any)],
                2 => vec![delete(&id, Expect::Any), put(&id, Expect::Any, "2")],
                3 => vec![append("s/", "1"), put(&id, Expect::Any, "3")],
                _ => vec![put(&id, Expect::Any, "4"), require("none", Expect::Present)],
            };
            if let Ok(revision) = store.commit(changes(steps)).await {
                for mirror in mirrors {
                    assert!(mirror.records.lock().unwrap().0 >= revision);
                }
            }
        })
    });
    for outcome in commits.collect::<Vec<_>>() {
        outcome.await.unwrap();
    }
    let mut everything = scan(store.as_ref(), Kind::Invoker, "").await;
    everything.extend(scan(store.as_ref(), Kind::Notification, "").await);
    let everything: BTreeMap<_, _> = everything.into_iter().collect();
    assert!(!everything.is_empty());
    assert_eq!(mirror.records.lock().unwrap().1, everything);
    assert_eq!(second.records.lock().unwrap().1, everything);
}

/// Whoever reads while others commit sees each commit wholly or not at all.
pub(super) async fn no_half_commits(place: &impl Place) {
    let store = open(place).await;
    let done = Arc::new(AtomicBool::new(false));
    let (stop, reader) = (Arc::clone(&done), Arc::clone(&store));
    let reader = tokio::spawn(async move {
        let number = |stored: Option<Stored>| {
            stored.map_or(0, |stored| {
                str::from_utf8(&stored.value).unwrap().parse().unwrap()
            })
        };
        while !stop.load(Ordering::Relaxed) {
            let x: u32 = number(reader.get(&key("x")).await.unwrap());
            let y: u32 = number(reader.get(&key("y")).await.unwrap());
            assert!(y >= x, "x is {x} already, y still {y}");
            let both = scan(reader.as_ref(), Kind::Invoker, "").await;
            assert!(
                both.windows(2)
                    .all(|pair| pair[0].1.value == pair[1].1.value)
            );
            tokio::task::yield_now().await;
        }
    });
    for number in 1..=300 {
        let number = number.to_string();
        let steps = [
            put("x", Expect::Any, &number),
            put("y", Expect::Any, &number),
        ];
        commit(store.as_ref(), steps).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    reader.await.unwrap();
}

/// Of many who want to be the first to write a record, one is.
pub(super) async fn one_winner(place: &impl Place) {
    let store = open(place).await;
    let commits = (0..64).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let step = put("prize", Expect::Absent, &number.to_string());
            (number, store.commit(changes([step])).await)
        })
    });
    let mut winners = Vec::new();
    for outcome in commits.collect::<Vec<_>>() {
        match outcome.await.unwrap() {
            (number, Ok(_)) => winners.push(number.to_string()),
            (_, outcome) => assert_conflict(outcome, "prize"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(
        value(store.as_ref(), "prize").await.as_ref(),
        winners.first()
    );
}

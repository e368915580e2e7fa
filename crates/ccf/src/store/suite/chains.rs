//! The chain: its records, its numbers, and that nothing but a chaining or pruning step reaches it.

use std::sync::Arc;

use capif_procedures::changes::{Change, Expect, Key, Kind, Revision};

use super::{
    super::{
        Chained, CommitError, Fault, Link, Store,
        chain::{self, BASE_ID},
    },
    Place, append, changes, commit, ids, in_order, open, put, require, scan,
};

fn link(value: &str) -> Change {
    Change::Chain {
        kind: Kind::Audit,
        value: value.into(),
    }
}

fn prune(through: u64) -> Change {
    Change::Prune {
        kind: Kind::Audit,
        through,
    }
}

/// Recomputes the chain from its beginning. Returns its records as they were written, and its end.
pub(in super::super) async fn trail(store: &dyn Store) -> (Vec<String>, Link) {
    let mut end = Link::default();
    let mut texts = Vec::new();
    for (key, stored) in scan(store, Kind::Audit, "").await {
        let chained: Chained = serde_json::from_slice(&stored.value).unwrap();
        let claimed = chained.claimed().unwrap();
        if key.id == BASE_ID {
            assert_eq!(chained.record.get(), "null");
            end = claimed;
            continue;
        }
        end = end.next(chained.record.get().as_bytes());
        assert_eq!(claimed, end);
        assert_eq!(key.id, chain::id(end.sequence));
        texts.push(chained.record.get().to_owned());
    }
    (texts, end)
}

/// Records of the chain are numbered without a gap and tied to one another: in one commit, in several that are written
/// together, where some between them are refused, where the record is all that a commit writes, and after a reopening.
pub(super) async fn links(place: &impl Place) {
    let store = open(place).await;
    let alone = commit(store.as_ref(), [link(r#"{"a":1}"#)]).await.unwrap();
    assert_eq!(alone, Revision(1));
    let again = commit(store.as_ref(), [link(r#"{"a":1}"#)]).await.unwrap();
    assert_eq!(again, Revision(2), "the same record is another one");

    let group = [
        vec![link(r#"{ "b": 2 }"#), put("one", Expect::Absent, "1")],
        vec![link("3"), put("one", Expect::Absent, "2")],
        vec![require("none", Expect::Present), link("4")],
        vec![link("5"), append("s/", "1"), link("6")],
        vec![require("none", Expect::Absent), link("7")],
    ];
    let commits = group
        .into_iter()
        .map(|steps| store.commit(changes(steps)))
        .collect();
    let outcomes = in_order(commits).await;
    let happened: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(happened, [true, false, false, true, true]);

    let expected = [r#"{"a":1}"#, r#"{"a":1}"#, r#"{ "b": 2 }"#, "5", "6", "7"];
    let (texts, end) = trail(store.as_ref()).await;
    assert_eq!(texts, expected);
    drop(store);
    let store = open(place).await;
    assert_eq!(trail(store.as_ref()).await, (texts, end));
    commit(store.as_ref(), [link("8")]).await.unwrap();
    let (texts, next) = trail(store.as_ref()).await;
    assert_eq!(texts.len(), 7);
    assert_eq!(next, end.next(b"8"));
}

/// However many write at once, there is one chain.
pub(super) async fn one_chain(place: &impl Place) {
    let store = open(place).await;
    let writers = (0..4).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for number in 0..100 {
                let text = format!("{{\"writer\":{writer},\"number\":{number}}}");
                commit(store.as_ref(), [link(&text)]).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let (texts, end) = trail(store.as_ref()).await;
    assert_eq!((texts.len(), end.sequence), (400, 400));
    for writer in 0..4 {
        let own = format!("{{\"writer\":{writer},");
        let own: Vec<_> = texts.iter().filter(|text| text.starts_with(&own)).collect();
        let expected: Vec<_> = (0..100)
            .map(|number| format!("{{\"writer\":{writer},\"number\":{number}}}"))
            .collect();
        assert!(own.into_iter().eq(&expected));
    }
}

/// Nothing writes, removes or asks for a record of the chain in another way, and nothing else is chained.
pub(super) async fn out_of_reach(place: &impl Place) {
    let store = open(place).await;
    let store = store.as_ref();
    commit(store, [link("1")]).await.unwrap();
    let key = || Key::new(Kind::Audit, chain::id(1));
    let attempts = [
        Change::Put {
            key: key(),
            expect: Expect::Any,
            value: b"2".to_vec(),
        },
        Change::Delete {
            key: key(),
            expect: Expect::Any,
        },
        Change::DeletePrefix {
            kind: Kind::Audit,
            prefix: "0".to_owned(),
        },
        Change::Append {
            kind: Kind::Audit,
            prefix: String::new(),
            value: b"2".to_vec(),
        },
        Change::Chain {
            kind: Kind::Invoker,
            value: b"2".to_vec(),
        },
        Change::Prune {
            kind: Kind::Invoker,
            through: 1,
        },
    ];
    for step in attempts {
        let outcome = commit(store, [put("with", Expect::Any, "1"), step]).await;
        assert!(
            matches!(outcome, Err(CommitError::Fault(Fault::Invalid(_)))),
            "{outcome:?}"
        );
    }
    assert_eq!(trail(store).await.0, ["1"]);
    assert_eq!(ids(store, Kind::Invoker, "").await, [""; 0]);
}

/// The beginning is pruned, never the last record, and the rest is tied to what went, also after a reopening.
pub(super) async fn pruning(place: &impl Place) {
    let store = open(place).await;
    for number in 1..=10 {
        commit(store.as_ref(), [link(&number.to_string())])
            .await
            .unwrap();
    }
    for through in [0, 10, 11, u64::MAX] {
        let outcome = commit(store.as_ref(), [prune(through), link("no")]).await;
        assert!(matches!(outcome, Err(CommitError::Conflict(_))));
    }
    let (_, end) = trail(store.as_ref()).await;
    assert_eq!(end.sequence, 10);
    commit(store.as_ref(), [prune(4), link("11")])
        .await
        .unwrap();
    let (texts, end) = trail(store.as_ref()).await;
    assert_eq!(texts, ["5", "6", "7", "8", "9", "10", "11"]);
    let gone = commit(store.as_ref(), [prune(3)]).await;
    assert!(matches!(gone, Err(CommitError::Conflict(_))));

    // Of records that are not yet written, too.
    let group = vec![
        store.commit(changes([link("12")])),
        store.commit(changes([link("13")])),
        store.commit(changes([prune(12), link("14")])),
    ];
    for outcome in in_order(group).await {
        outcome.unwrap();
    }
    drop(store);
    let store = open(place).await;
    let (texts, last) = trail(store.as_ref()).await;
    assert_eq!(texts, ["13", "14"]);
    assert_eq!(last, end.next(b"12").next(b"13").next(b"14"));
}

//! What a commit writes, and when it does not.

use capif_procedures::changes::{Change, Expect, Key, Kind, Revision};

use super::{
    super::{CommitError, Fault},
    Place, append, assert_conflict, changes, commit, delete, delete_prefix, ids, key, open, put,
    require, scan, value,
};

/// Each expectation lets each kind of step pass where it holds, and stops it where it does not.
pub(super) async fn conditions(place: &impl Place) {
    let store = open(place).await;
    let store = store.as_ref();
    type Of = fn(Revision) -> Expect;
    let cases: [(bool, Of, bool); 10] = [
        (true, |_| Expect::Any, true),
        (true, |_| Expect::Absent, false),
        (true, |_| Expect::Present, true),
        (true, Expect::At, true),
        (true, |written| Expect::At(Revision(written.0 + 1)), false),
        (false, |_| Expect::Any, true),
        (false, |_| Expect::Absent, true),
        (false, |_| Expect::Present, false),
        (false, Expect::At, false),
        (false, |_| Expect::At(Revision(0)), false),
    ];
    for (number, (there, expect, holds)) in cases.into_iter().enumerate() {
        type Step = fn(&str, Expect) -> Change;
        let before = there.then_some("before");
        let steps: [(Step, Option<&str>); 3] = [
            (require, before),
            (|id, expect| put(id, expect, "after"), Some("after")),
            (delete, None),
        ];
        for (kind, (step, after)) in steps.into_iter().enumerate() {
            let id = format!("{number}/{kind}");
            let written = commit(store, [put(&id, Expect::Absent, "before")])
                .await
                .unwrap();
            if !there {
                commit(store, [delete(&id, Expect::Present)]).await.unwrap();
            }
            let outcome = commit(store, [step(&id, expect(written))]).await;
            if holds {
                outcome.unwrap();
                assert_eq!(value(store, &id).await.as_deref(), after, "case {id}");
            } else {
                assert_conflict(outcome, &id);
                assert_eq!(value(store, &id).await.as_deref(), before, "case {id}");
            }
        }
    }
}

/// A step is judged by what the steps before it in the same commit leave.
pub(super) async fn conditions_within_a_commit(place: &impl Place) {
    let store = open(place).await;
    let store = store.as_ref();
    let first = commit(store, [put("old", Expect::Absent, "1")])
        .await
        .unwrap();
    let good = [
        put("new", Expect::Absent, "1"),
        require("new", Expect::Present),
        delete("old", Expect::At(first)),
        require("old", Expect::Absent),
        put("old", Expect::Absent, "2"),
        delete("new", Expect::Present),
        put("new", Expect::Absent, "2"),
    ];
    commit(store, good).await.unwrap();
    assert_eq!(value(store, "old").await.unwrap(), "2");
    assert_eq!(value(store, "new").await.unwrap(), "2");
    let bad = [
        (
            "new",
            put("new", Expect::Any, "3"),
            require("new", Expect::Absent),
        ),
        (
            "new",
            delete("new", Expect::Any),
            require("new", Expect::Present),
        ),
        (
            "n",
            put("n", Expect::Any, "3"),
            put("n", Expect::Absent, "4"),
        ),
        (
            "new",
            delete_prefix(Kind::Invoker, "ne"),
            delete("new", Expect::Present),
        ),
    ];
    for (id, before, step) in bad {
        assert_conflict(commit(store, [before, step]).await, id);
    }
    assert_eq!(ids(store, Kind::Invoker, "").await, ["new", "old"]);
    assert_eq!(value(store, "new").await.unwrap(), "2");
}

/// A conflict in a later step leaves the earlier ones unwritten, and takes no number.
pub(super) async fn whole_or_nothing(place: &impl Place) {
    let store = open(place).await;
    let store = store.as_ref();
    let first = commit(store, [put("kept", Expect::Absent, "1")])
        .await
        .unwrap();
    let steps = [
        put("a", Expect::Any, "1"),
        delete("kept", Expect::Any),
        append("s/", "1"),
        delete_prefix(Kind::Invoker, "k"),
        require("b", Expect::Present),
        put("c", Expect::Any, "1"),
    ];
    assert_conflict(commit(store, steps).await, "b");
    assert_eq!(ids(store, Kind::Invoker, "").await, ["kept"]);
    assert_eq!(ids(store, Kind::Notification, "").await, [""; 0]);
    let next = commit(store, [put("a", Expect::Absent, "1")])
        .await
        .unwrap();
    assert_eq!(next.0, first.0 + 1);
}

/// Numbers grow by one per commit that changes something, belong to what it wrote, and go on after a reopening, also when
/// the records that bore the last ones are gone.
pub(super) async fn revisions(place: &impl Place) {
    let mut last = Revision(0);
    for round in 0..3 {
        let store = open(place).await;
        let store = store.as_ref();
        for step in 0..5 {
            let id = format!("{round}/{step}");
            let revision = commit(store, [put(&id, Expect::Absent, "1")])
                .await
                .unwrap();
            assert_eq!(revision.0, last.0 + 1);
            last = revision;
            let stored = store.get(&key(&id)).await.unwrap().unwrap();
            assert_eq!(stored.revision, revision);
        }
        assert_eq!(commit(store, []).await.unwrap(), last);
        assert_eq!(
            commit(store, [require("none", Expect::Absent)])
                .await
                .unwrap(),
            last
        );
        assert_eq!(
            commit(store, [delete("none", Expect::Any)]).await.unwrap(),
            last
        );
        last = commit(store, [delete_prefix(Kind::Invoker, &format!("{round}/"))])
            .await
            .unwrap();
    }
}

/// Appended records stand in the order of their commits and of the steps within, and no id comes twice, also after what
/// bore it is deleted and the store reopened.
pub(super) async fn appends(place: &impl Place) {
    let mut seen = Vec::new();
    for round in 0..3 {
        let store = open(place).await;
        let store = store.as_ref();
        for number in 0..4 {
            let steps = ["1", "2"].map(|step| append("s/é/", &format!("{round}{number}{step}")));
            commit(store, steps).await.unwrap();
        }
        let found = scan(store, Kind::Notification, "s/é/").await;
        let values: Vec<_> = found
            .iter()
            .map(|(_, stored)| stored.value.to_vec())
            .collect();
        assert_eq!(values.len(), 8);
        assert!(values.is_sorted());
        for (key, _) in found {
            let digits = key.id.strip_prefix("s/é/").unwrap();
            assert!(digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()));
            seen.push(key.id);
        }
        commit(store, [delete_prefix(Kind::Notification, "s/")])
            .await
            .unwrap();
        assert_eq!(ids(store, Kind::Notification, "").await, [""; 0]);
    }
    assert!(seen.is_sorted_by(|one, next| one < next));
}

/// A prefix reaches its own ids and no neighbour: not one that sorts next to it, not one of another kind.
pub(super) async fn prefixes(place: &impl Place) {
    let store = open(place).await;
    let store = store.as_ref();
    let prefixes = ["a/", "a", "é", "\u{10ffff}", "a/\u{10ffff}", "\0", "~"];
    let everything = [
        "",
        "\0",
        "\0\0",
        "A",
        "a",
        "a.",
        "a/",
        "a/\0",
        "a/1",
        "a/1/2",
        "a/\u{7f}",
        "a/é",
        "a/\u{10ffff}",
        "a/\u{10ffff}/1",
        "a0",
        "aa",
        "b",
        "~",
        "~~",
        "é",
        "é/1",
        "ê",
        "\u{ff}",
        "\u{10ffff}",
        "\u{10ffff}/1",
    ];
    let kinds = [Kind::Invoker, Kind::ProviderDomain, Kind::CredentialUse];
    let fill = || {
        let keys = kinds
            .iter()
            .flat_map(|kind| everything.map(|id| Key::new(*kind, id)));
        changes(keys.map(|key| Change::Put {
            key,
            expect: Expect::Any,
            value: b"1".to_vec(),
        }))
    };
    for prefix in prefixes {
        store.commit(fill()).await.unwrap();
        let mut all = everything.to_vec();
        all.sort_unstable();
        let (within, without): (Vec<&str>, Vec<&str>) =
            all.iter().copied().partition(|id| id.starts_with(prefix));
        assert_eq!(
            ids(store, Kind::Invoker, prefix).await,
            within,
            "{prefix:?}"
        );
        commit(store, [delete_prefix(Kind::Invoker, prefix)])
            .await
            .unwrap();
        assert_eq!(ids(store, Kind::Invoker, "").await, without, "{prefix:?}");
        assert_eq!(
            ids(store, Kind::ProviderDomain, "").await,
            all,
            "{prefix:?}"
        );
        assert_eq!(ids(store, Kind::CredentialUse, "").await, all, "{prefix:?}");
    }
    // Within a commit: what its own steps put there goes too, what they put afterwards stays.
    let steps = [
        put("a/new", Expect::Any, "1"),
        delete_prefix(Kind::Invoker, "a/"),
        put("a/newer", Expect::Absent, "1"),
        require("a/new", Expect::Absent),
    ];
    commit(store, steps).await.unwrap();
    assert_eq!(ids(store, Kind::Invoker, "a/").await, ["a/newer"]);
}

/// What no engine can hold is refused as such, and changes nothing.
pub(super) async fn refusals(place: &impl Place) {
    let store = open(place).await;
    let store = store.as_ref();
    let long = "x".repeat(1 << 20);
    let steps = [
        delete_prefix(Kind::Invoker, ""),
        put(&long, Expect::Any, "1"),
        delete(&long, Expect::Any),
        require(&long, Expect::Any),
        delete_prefix(Kind::Invoker, &long),
        append(&long, "1"),
        put("large", Expect::Any, &"x".repeat(32 << 20)),
    ];
    for step in steps {
        let outcome = commit(store, [put("a", Expect::Any, "1"), step]).await;
        assert!(matches!(
            outcome,
            Err(CommitError::Fault(Fault::Invalid(_)))
        ));
    }
    assert_eq!(ids(store, Kind::Invoker, "").await, [""; 0]);
}

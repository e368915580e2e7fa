//! What reading gives back.

use capif_procedures::changes::{Change, Changes, Expect, Key, Kind, Record};
use serde::{Deserialize, Serialize};

use super::{
    super::{Fault, Page, load, load_all},
    Place, commit, open, put,
};

/// Pages of any size, one after the other, give the whole in order, once.
pub(super) async fn pages(place: &impl Place) {
    let store = open(place).await;
    let store = store.as_ref();
    let names: Vec<_> = (0..25).map(|number| format!("p/{number:02}")).collect();
    let others = ["o", "p", "p0", "q"].map(|id| put(id, Expect::Any, "1"));
    let wanted = names.iter().map(|id| put(id, Expect::Any, "1"));
    commit(store, wanted.chain(others)).await.unwrap();
    for limit in [1, 2, 7, 24, 25, 26, 100] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = Page {
                kind: Kind::Invoker,
                prefix: "p/".to_owned(),
                after: after.take(),
                limit,
            };
            let page = store.scan(page).await.unwrap();
            let full = page.len() == limit;
            assert!(page.len() <= limit);
            found.extend(page.into_iter().map(|(key, _)| key.id));
            after = found.last().cloned();
            if !full {
                break;
            }
        }
        assert_eq!(found, names, "pages of {limit}");
    }
    for (after, limit, count) in [
        ("a", 100, 25),
        ("p/", 100, 25),
        ("p/23", 100, 1),
        ("p/235", 100, 1),
        ("p/24", 100, 0),
        ("z", 100, 0),
        ("p/00", 0, 0),
    ] {
        let page = Page {
            kind: Kind::Invoker,
            prefix: "p/".to_owned(),
            after: Some(after.to_owned()),
            limit,
        };
        assert_eq!(
            store.scan(page).await.unwrap().len(),
            count,
            "after {after}"
        );
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Thing {
    id: String,
    number: u32,
}

impl Record for Thing {
    const KIND: Kind = Kind::ServiceApi;

    fn record_id(&self) -> String {
        self.id.clone()
    }
}

/// Records come back as what they were, over several pages, and one that does not decode is named but not quoted.
pub(super) async fn typed_records(place: &impl Place) {
    let store = open(place).await;
    let store = store.as_ref();
    let mut changes = Changes::new();
    for number in 0..1200 {
        let id = format!("t/{number:04}");
        changes.put(&Thing { id, number }, Expect::Absent);
    }
    let revision = store.commit(changes).await.unwrap();
    let found = load_all::<Thing>(store, "t/").await.unwrap();
    assert!(found.iter().map(|thing| thing.record.number).eq(0..1200));
    assert!(found.iter().all(|thing| thing.revision == revision));
    assert_eq!(load_all::<Thing>(store, "t/010").await.unwrap().len(), 10);
    let thing = load::<Thing>(store, "t/0007").await.unwrap().unwrap();
    assert_eq!((thing.record.number, thing.revision), (7, revision));
    assert!(load::<Thing>(store, "t/7").await.unwrap().is_none());

    let bad = Change::Put {
        key: Key::new(Kind::ServiceApi, "bad"),
        expect: Expect::Any,
        value: br#"{"id":"bad","number":"secret"}"#.to_vec(),
    };
    commit(store, [bad]).await.unwrap();
    for fault in [
        load::<Thing>(store, "bad").await.unwrap_err(),
        load_all::<Thing>(store, "").await.unwrap_err(),
    ] {
        assert!(matches!(&fault, Fault::Corrupt { id, .. } if id == "bad"));
        assert!(!format!("{fault} {fault:?}").contains("secret"));
    }
}

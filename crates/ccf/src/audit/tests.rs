//! The trail over a real store: what is written, what is found out, what is held in memory.

use std::{fs, path::Path, sync::Arc};

use capif_procedures::changes::{Change, Changes, Kind};
use serde_json::value::RawValue;
use tempfile::TempDir;
use time::OffsetDateTime;

use super::{
    trail::{HEAD_FILE, Trail},
    verification::{Broken, Mark, Verification, Verified, pruned_through},
    *,
};
use crate::store::{Chained, EmbeddedStore, Link, Page, Store};

const AT: DateTime = DateTime(OffsetDateTime::UNIX_EPOCH);

async fn store(dir: &Path) -> Arc<dyn Store> {
    // A process that another test is just starting holds copies of all open files for a moment, locks included.
    for _ in 0..100_000 {
        if let Ok(store) = EmbeddedStore::open(&dir.join("store")) {
            return Arc::new(store);
        }
        tokio::task::yield_now().await;
    }
    Arc::new(EmbeddedStore::open(&dir.join("store")).unwrap())
}

async fn act(store: &dyn Store, subject: &str) {
    let mut changes = Changes::new();
    Act::by_operator("Offboard", subject).record(&mut changes, AT);
    store.commit(changes).await.unwrap();
}

async fn acts(store: &dyn Store, subjects: std::ops::Range<usize>) {
    for subject in subjects {
        act(store, &format!("INV{subject}")).await;
    }
}

async fn records(store: &dyn Store) -> Vec<Chained> {
    let page = Page {
        kind: Kind::Audit,
        prefix: String::new(),
        after: None,
        limit: usize::MAX,
    };
    let found = store.scan(page).await.unwrap();
    found
        .iter()
        .map(|(_, stored)| serde_json::from_slice(&stored.value).unwrap())
        .collect()
}

fn verify(records: &[Chained], marks: Vec<Mark>) -> Result<Verified, Broken> {
    let mut verification = Verification::new(marks);
    for chained in records {
        verification.take(chained)?;
    }
    verification.finish()
}

fn copies(records: &[Chained]) -> Vec<Chained> {
    let copy = |chained: &Chained| Chained {
        sequence: chained.sequence,
        link: chained.link.clone(),
        record: chained.record.clone(),
    };
    records.iter().map(copy).collect()
}

fn mark(link: Link) -> Mark {
    Mark {
        noted: HEAD_FILE,
        sequence: Some(link.sequence),
        digest: link.digest,
    }
}

/// P-13: of a hundred edits every one is found, at the record that was edited: in its text, its link or its number.
#[tokio::test]
async fn a_hundred_edits_are_all_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    acts(store.as_ref(), 0..50).await;
    let whole = records(store.as_ref()).await;
    assert_eq!(verify(&whole, Vec::new()).unwrap().records, 50);
    let mut found = 0;
    for edit in 0..100 {
        let place = (edit * 37) % 50;
        let mut edited = copies(&whole);
        let spoilt = &mut edited[place];
        match edit % 4 {
            0 => {
                // One letter of the text, each time another one, left as JSON.
                let mut text = spoilt.record.get().to_owned().into_bytes();
                let letters: Vec<usize> = (0..text.len())
                    .filter(|at| text[*at].is_ascii_alphanumeric())
                    .collect();
                let at = letters[(edit * 7) % letters.len()];
                text[at] = if text[at] == b'1' { b'2' } else { b'1' };
                match RawValue::from_string(String::from_utf8(text).unwrap()) {
                    Ok(text) => spoilt.record = text,
                    Err(_) => spoilt.record = RawValue::NULL.to_owned(),
                }
            }
            1 => {
                // White space that means nothing to JSON.
                let text = spoilt.record.get().replacen(':', ": ", 1);
                spoilt.record = RawValue::from_string(text).unwrap();
            }
            2 => {
                let digit = edit % 64;
                let other = if spoilt.link.as_bytes()[digit] == b'0' {
                    "1"
                } else {
                    "0"
                };
                spoilt.link.replace_range(digit..=digit, other);
            }
            _ => spoilt.sequence += 1 + edit as u64,
        }
        let broken = verify(&edited, Vec::new()).unwrap_err();
        assert_eq!(broken.sequence, place as u64 + 1, "edit {edit}: {broken}");
        found += 1;
    }
    assert_eq!(found, 100);
}

/// A record that is missing, put in twice, or exchanged with its neighbour; a text written anew with the link that belongs to
/// it, which breaks the next one; and a beginning that is missing.
#[tokio::test]
async fn cuts_and_exchanges_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    acts(store.as_ref(), 0..20).await;
    let whole = records(store.as_ref()).await;
    for place in 0..19_usize {
        let number = place as u64 + 1;
        let mut cut = copies(&whole);
        cut.remove(place);
        assert_eq!(verify(&cut, Vec::new()).unwrap_err().sequence, number);

        let mut twice = copies(&whole);
        twice.insert(place, copies(&whole).remove(place));
        assert_eq!(verify(&twice, Vec::new()).unwrap_err().sequence, number + 1);

        let mut exchanged = copies(&whole);
        exchanged.swap(place, place + 1);
        assert_eq!(verify(&exchanged, Vec::new()).unwrap_err().sequence, number);

        let mut renamed = copies(&whole);
        renamed.swap(place, place + 1);
        renamed[place].sequence = number;
        renamed[place + 1].sequence = number + 1;
        assert_eq!(verify(&renamed, Vec::new()).unwrap_err().sequence, number);

        let mut written = copies(&whole);
        let before = match place {
            0 => Link::default(),
            _ => whole[place - 1].claimed().unwrap(),
        };
        let text = written[place].record.get().replace("Offboard", "Nothing");
        written[place].link = before.next(text.as_bytes()).hex();
        written[place].record = RawValue::from_string(text).unwrap();
        let broken = verify(&written, Vec::new()).unwrap_err();
        assert_eq!(broken.sequence, number + 1);

        let late = copies(&whole[place + 1..]);
        assert_eq!(verify(&late, Vec::new()).unwrap_err().sequence, 1);
    }
}

/// What a chain cannot tell of itself: that its end is gone, or that all of it was made anew. A link noted earlier can.
#[tokio::test]
async fn a_missing_end_is_found_by_a_link_noted_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    acts(store.as_ref(), 0..20).await;
    let whole = records(store.as_ref()).await;
    let end = verify(&whole, Vec::new()).unwrap().end;
    let noted = Mark {
        noted: "--head",
        sequence: None,
        digest: end.digest,
    };
    for left in 0..20 {
        assert!(verify(&whole[..left], Vec::new()).is_ok());
        let broken = verify(&whole[..left], vec![mark(end)]).unwrap_err();
        assert_eq!(broken.sequence, left as u64 + 1);
        assert!(broken.reason.contains("cut off"), "{broken}");
        verify(&whole[..left], vec![noted.clone()]).unwrap_err();
    }
    // It still stands in a trail that has grown since.
    acts(store.as_ref(), 20..25).await;
    let grown = records(store.as_ref()).await;
    verify(&grown, vec![mark(end), noted.clone()]).unwrap();
    // All anew, with links that are right for what they say now.
    let mut link = Link::default();
    let mut anew = copies(&grown);
    for chained in &mut anew {
        let text = chained.record.get().replace("INV", "ABC");
        link = link.next(text.as_bytes());
        chained.link = link.hex();
        chained.record = RawValue::from_string(text).unwrap();
    }
    assert!(verify(&anew, Vec::new()).is_ok());
    assert_eq!(verify(&anew, vec![mark(end)]).unwrap_err().sequence, 20);
    verify(&anew, vec![noted]).unwrap_err();
}

/// A trail that was pruned is whole if a record says so, and only then.
#[tokio::test]
async fn a_pruned_beginning_must_be_accounted_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    acts(store.as_ref(), 0..10).await;
    let before = records(store.as_ref()).await;
    let fourth = before[3].claimed().unwrap();
    let prune = |act: Option<Act>, through: u64| {
        let mut changes = Changes::new();
        changes.steps.push(Change::Prune {
            kind: Kind::Audit,
            through,
        });
        if let Some(act) = act {
            act.record(&mut changes, AT);
        }
        changes
    };
    let named = Act::by_task(PRUNE, "").detail(pruned_through(&fourth));
    store.commit(prune(Some(named), 4)).await.unwrap();
    let pruned = records(store.as_ref()).await;
    let verified = verify(&pruned, vec![mark(before[9].claimed().unwrap())]).unwrap();
    assert_eq!((verified.records, verified.base), (7, fourth));
    verify(&pruned, vec![mark(fourth)]).unwrap();
    verify(&pruned, vec![mark(before[1].claimed().unwrap())]).unwrap_err();

    // The last two of the beginning are taken off as well, and what stands for it is made to fit.
    let mut cut = copies(&pruned);
    cut.drain(1..3);
    cut[0].sequence = before[5].sequence;
    cut[0].link.clone_from(&before[5].link);
    assert_eq!(verify(&cut, Vec::new()).unwrap_err().sequence, 6);

    store.commit(prune(None, 7)).await.unwrap();
    let broken = verify(&records(store.as_ref()).await, Vec::new()).unwrap_err();
    assert_eq!(broken.sequence, 7);
    assert!(broken.reason.contains("pruned"), "{broken}");
}

async fn opened(dir: &TempDir) -> (Arc<dyn Store>, Arc<Trail>) {
    let store = store(dir.path()).await;
    let trail = Trail::open(dir.path(), &store).await.unwrap();
    (store, trail)
}

fn head_file(dir: &TempDir) -> Option<Link> {
    let text = fs::read_to_string(dir.path().join(HEAD_FILE)).ok()?;
    Some(text.parse().unwrap())
}

/// The head file follows the trail, also past records that a crash kept from it, and is for the owner alone.
#[tokio::test]
async fn the_head_file_follows() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (store, trail) = opened(&dir).await;
    assert_eq!(head_file(&dir), Some(Link::default()), "no record yet");
    verify(&[], vec![mark(Link::default())]).unwrap();
    acts(store.as_ref(), 0..3).await;
    trail.write_head();
    let third = records(store.as_ref()).await[2].claimed().unwrap();
    assert_eq!(head_file(&dir), Some(third));
    assert_eq!(trail.end(), Some(third));
    let mode = fs::metadata(dir.path().join(HEAD_FILE)).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    // Killed before the file was brought up to date.
    acts(store.as_ref(), 3..2500).await;
    drop((store, trail));
    let (store, trail) = opened(&dir).await;
    assert_eq!(trail.broken(), None);
    let last = records(store.as_ref()).await[2499].claimed().unwrap();
    assert_eq!(trail.end(), Some(last));
    trail.write_head();
    assert_eq!(head_file(&dir), Some(last));
    verify(&records(store.as_ref()).await, vec![mark(last)]).unwrap();
}

/// A store that was put back to an earlier time, or is another one, is told at the start; the core function starts all the
/// same, and the file stays as it is, so that the proof is not overwritten.
#[tokio::test]
async fn a_store_of_an_earlier_time_is_found_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (store, trail) = opened(&dir).await;
    acts(store.as_ref(), 0..3).await;
    drop((store, trail));
    let earlier = tempfile::tempdir().unwrap();
    copy(&dir.path().join("store"), &earlier.path().join("store"));
    let (store, trail) = opened(&dir).await;
    acts(store.as_ref(), 3..6).await;
    trail.write_head();
    let noted = head_file(&dir).unwrap();
    assert_eq!(noted.sequence, 6);
    drop((store, trail));

    fs::remove_dir_all(dir.path().join("store")).unwrap();
    copy(&earlier.path().join("store"), &dir.path().join("store"));
    let (store, trail) = opened(&dir).await;
    assert_eq!(trail.broken().unwrap(), "record 6 is not there");
    let broken = verify(&records(store.as_ref()).await, vec![mark(noted)]).unwrap_err();
    assert_eq!(broken.sequence, 4);
    // It goes on from there: soon there is a sixth record again, but not the one that there was.
    acts(store.as_ref(), 0..3).await;
    trail.write_head();
    assert_eq!(head_file(&dir), Some(noted));
    drop((store, trail));
    let (store, trail) = opened(&dir).await;
    assert_eq!(
        trail.broken().unwrap(),
        "record 6 is not the one that was written"
    );
    let broken = verify(&records(store.as_ref()).await, vec![mark(noted)]).unwrap_err();
    assert_eq!(broken.sequence, 6);
    drop((store, trail));

    // The operator has looked and moves the file away: from here on the trail is followed again.
    fs::remove_file(dir.path().join(HEAD_FILE)).unwrap();
    let (_store, trail) = opened(&dir).await;
    assert_eq!(trail.broken(), None);
    trail.write_head();
    assert_eq!(head_file(&dir).unwrap().sequence, 6);
    fs::write(dir.path().join(HEAD_FILE), "6 what\n").unwrap();
    drop((_store, trail));
    let (_store, trail) = opened(&dir).await;
    assert!(trail.broken().is_some());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// P-17: of the trail nothing but its last record is in memory: neither the view nor the trail keeps any other.
#[tokio::test]
async fn records_are_not_kept_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (store, trail) = opened(&dir).await;
    let view = crate::view::View::load(store.as_ref()).await.unwrap();
    let shown = format!("{view:?}").len();
    act(store.as_ref(), "INV0").await;
    let kept = format!("{trail:?}").len();
    acts(store.as_ref(), 1..10).await;
    assert_eq!(format!("{view:?}").len(), shown);
    assert!(format!("{trail:?}").len() < kept + 100);
}

/// What others chose is bounded and cannot mislead whoever reads it; what is ours stays as it is.
#[test]
fn text_of_others_is_written_out() {
    assert_eq!(
        plain("AEF AEF1: 3gpp#a:b; münchen"),
        "AEF AEF1: 3gpp#a:b; münchen"
    );
    assert_eq!(
        plain("a\nb\u{1b}[2J\u{202e}"),
        "a\\u{a}b\\u{1b}[2J\\u{202e}"
    );
    let long = plain(&"x\u{0}".repeat(10_000));
    assert!(long.chars().count() <= 10 * TEXT_CHARS_MAX && long.ends_with('…'));
}

/// A record says who, what, to whom, with which outcome and in which request.
#[tokio::test]
async fn a_record_tells_the_act() {
    let of = |act: &Act| {
        let mut changes = Changes::new();
        act.record(&mut changes, AT);
        match changes.steps.pop() {
            Some(Change::Chain {
                kind: Kind::Audit,
                value,
            }) => String::from_utf8(value).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let act = Act::by_caller(&"AEF AEF1", "Op", "r1", "INV1").detail("all");
    assert_eq!(
        of(&act),
        r#"{"at":"1970-01-01T00:00:00Z","actor":"AEF AEF1","operation":"Op","subject":"INV1","outcome":"done","requestId":"r1","detail":"all"}"#
    );
    let act = Act::by_task("Sweep", "").refused();
    assert_eq!(
        of(&act),
        r#"{"at":"1970-01-01T00:00:00Z","actor":"core function","operation":"Sweep","outcome":"refused"}"#
    );
    for (name, actor) in [(None, "operator"), (Some("amy".to_owned()), "operator amy")] {
        let operator = Operator {
            name,
            request_id: "r2".to_owned(),
        };
        let within = OPERATOR
            .scope(operator, async { of(&Act::by_operator("Revoke", "INV1")) })
            .await;
        let within: AuditRecord = serde_json::from_str(&within).unwrap();
        assert_eq!(within.actor, actor);
        assert_eq!(within.request_id, "r2");
    }
    let without: AuditRecord =
        serde_json::from_str(&of(&Act::by_operator("Revoke", "INV1"))).unwrap();
    assert_eq!(without.request_id, "");
}

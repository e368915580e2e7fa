//! Journal files as they are found after crashes.

use tempfile::TempDir;

use super::*;

/// A batch with one item of so many bytes.
fn batch(number: u64, bytes: usize) -> Vec<u8> {
    let mut item = vec![ITEM, 0, 0];
    item.extend(1u64.to_le_bytes());
    item.extend(3u16.to_le_bytes());
    item.extend(u32::try_from(bytes).unwrap().to_le_bytes());
    item.extend(u32::try_from(bytes).unwrap().to_le_bytes());
    item.extend(b"key");
    item.extend(vec![b'v'; bytes]);
    let mut checksum = Xxh3::new();
    checksum.update(&item);
    let mut batch = vec![START];
    batch.extend(1u32.to_le_bytes());
    batch.extend(number.to_le_bytes());
    batch.extend(item);
    batch.push(END);
    batch.extend(checksum.digest().to_le_bytes());
    batch.extend(TRAILER);
    batch
}

/// A folder with these journal files, each made longer by blank bytes.
fn folder(files: &[&[u8]], blank: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (number, bytes) in files.iter().enumerate() {
        let path = dir.path().join(format!("{number}.jnl"));
        fs::write(path, [bytes, vec![0; blank].as_slice()].concat()).unwrap();
    }
    dir
}

fn file(dir: &TempDir, number: usize) -> Vec<u8> {
    fs::read(dir.path().join(format!("{number}.jnl"))).unwrap()
}

/// Batches longer than a piece and shorter ones, with and without a blank end: all are found, and nothing is changed.
#[test]
fn whole_files_stay_as_they_are() {
    let batches = [
        batch(1, 10),
        batch(2, 3 * PIECE_BYTES + 17),
        batch(3, 5),
        batch(4, PIECE_BYTES),
    ];
    let bytes = batches.concat();
    for blank in [0, 1, 100, PIECE_BYTES, 5 * PIECE_BYTES + 3] {
        let dir = folder(&[&bytes, &bytes], blank);
        let before = file(&dir, 1);
        settle(dir.path()).unwrap();
        assert_eq!(file(&dir, 1), before);
        let survey = survey(&dir.path().join("1.jnl")).unwrap();
        let last = survey.last.unwrap();
        assert_eq!((last.number, last.length), (4, batches[3].len()));
        assert_eq!(survey.end, bytes.len() as u64);
        assert!(is_blank(&survey.rest) && survey.rest.len() < PIECE_BYTES);
    }
    settle(folder(&[&[]], PIECE_BYTES).path()).unwrap();
    settle(folder(&[], 0).path()).unwrap();
}

/// The last batch of the last file may be torn: it is cut off, wherever the tear is.
#[test]
fn a_torn_end_is_cut_off() {
    let whole = [batch(1, 10), batch(2, PIECE_BYTES)].concat();
    let torn = batch(3, 2 * PIECE_BYTES);
    for length in [1, 12, PIECE_BYTES, torn.len() - 1] {
        for blank in [0, 2 * PIECE_BYTES] {
            let bytes = [whole.as_slice(), &torn[..length]].concat();
            let dir = folder(&[&bytes], blank);
            settle(dir.path()).unwrap();
            assert_eq!(file(&dir, 0), whole, "{length} bytes of it");
        }
    }
    let mut holed = torn.clone();
    holed[PIECE_BYTES..PIECE_BYTES + 512].fill(0);
    let dir = folder(&[&[whole.as_slice(), &holed].concat()], 100);
    settle(dir.path()).unwrap();
    assert_eq!(file(&dir, 0), whole);
}

/// Damage before a batch that was acknowledged is no crash, and neither is a file that was left behind and is not whole.
#[test]
fn damage_is_refused() {
    let mut damaged = [batch(1, 10), batch(2, PIECE_BYTES), batch(3, 10)].concat();
    damaged[PIECE_BYTES] ^= 1;
    let dir = folder(&[&damaged], PIECE_BYTES);
    assert!(matches!(settle(dir.path()), Err(Fault::Damaged { .. })));
    assert_eq!(file(&dir, 0).len(), damaged.len() + PIECE_BYTES);

    let short = batch(1, 10);
    let dir = folder(&[&short[..20], &batch(2, 10)], 0);
    assert!(matches!(settle(dir.path()), Err(Fault::Damaged { .. })));
}

//! `capif audit` against a core function that runs: what is whole, what is not, and what is to be noted elsewhere.

use std::{fs, path::Path};

use http::StatusCode;
use serde_json::Value;

use super::trail;
use crate::support::{World, process::Machine};

/// A core function with some history.
async fn history() -> World {
    let world = World::start().await;
    acts(&world, 3).await;
    world
}

async fn acts(world: &World, count: usize) {
    for _ in 0..count {
        world.raw_invoker(&[]).await;
    }
}

fn folder(world: &World) -> &str {
    world.dir.path().to_str().unwrap()
}

/// P-13: `capif audit verify` passes, says where the trail ends, and goes on passing over stop, start and growth; a link that was
/// noted earlier still stands in it, and one of another trail does not.
#[tokio::test]
async fn a_trail_that_nobody_touched_is_whole() {
    let mut world = history().await;
    let machine = Machine::new();
    let dir = folder(&world).to_owned();
    let verify = ["audit", "verify", "--dir", &dir];
    let first = machine.capif(&verify).await.done();
    assert!(
        first.stderr.contains("the audit trail is whole"),
        "{first:?}"
    );
    let head = machine
        .capif(&["audit", "head", "--dir", &dir])
        .await
        .done();
    assert_eq!(head.stdout, first.stdout);
    let (number, link) = head.stdout.trim().split_once(' ').unwrap();
    assert_eq!(number.parse::<usize>().unwrap(), trail(&world).await.len());

    world.stop().await;
    let file = fs::read_to_string(world.dir.path().join("audit.head")).unwrap();
    assert_eq!(file, head.stdout, "written at the end");
    world.resume().await;
    acts(&world, 2).await;
    let noted = ["audit", "verify", "--head", link, "--dir", &dir];
    let grown = machine.capif(&noted).await.done();
    assert_ne!(grown.stdout, first.stdout);

    let other = history().await;
    let noted = ["audit", "verify", "--head", link, "--dir", folder(&other)];
    machine.capif(&noted).await.failed(2, "--head names");
    machine
        .capif(&["audit", "verify", "--dir", folder(&other)])
        .await
        .done();
}

/// An export is the trail to the letter: it verifies wherever it is, and every touch of it is found, with its place.
#[tokio::test]
async fn a_touched_export_is_found_out() {
    let world = history().await;
    let machine = Machine::new();
    let export = machine
        .capif(&["audit", "list", "--output", "json", "--dir", folder(&world)])
        .await
        .done()
        .stdout;
    let lines: Vec<&str> = export.lines().collect();
    assert_eq!(lines.len(), trail(&world).await.len());
    let file = machine.work().join("trail.jsonl");
    let path = file.to_str().unwrap().to_owned();
    let verify = ["audit", "verify", "--file", &path];
    fs::write(&file, &export).unwrap();
    let whole = machine.capif(&verify).await.done();
    let (_, link) = whole.stdout.trim().split_once(' ').unwrap();

    // Every tenth octet of the file, each time another one.
    for at in (0..export.len()).step_by(export.len() / 10) {
        let mut octets = export.clone().into_bytes();
        octets[at] = if octets[at] == b'1' { b'2' } else { b'1' };
        fs::write(&file, octets).unwrap();
        let broken = machine.capif(&verify).await.failed(2, "broken at record");
        let number = export[..at].matches('\n').count() + 1;
        assert!(
            broken.stderr.contains(&format!("record {number}:")),
            "{at}: {broken:?}"
        );
    }
    for cut in 0..lines.len() - 1 {
        let mut left = lines.clone();
        left.remove(cut);
        fs::write(&file, left.join("\n")).unwrap();
        machine
            .capif(&verify)
            .await
            .failed(2, &format!("record {}:", cut + 1));
    }
    fs::write(&file, lines[..2].join("\n")).unwrap();
    machine.capif(&verify).await.done();
    let noted = ["audit", "verify", "--file", &path, "--head", link];
    machine.capif(&noted).await.failed(2, "--head names");
}

/// A store that was put back to an earlier time is told at the start, which happens all the same, and by `verify`, until the
/// operator has looked and moved the head file away. The record of it stays.
#[tokio::test]
async fn a_store_put_back_is_found_out() {
    let mut world = history().await;
    let machine = Machine::new();
    let dir = folder(&world).to_owned();
    world.stop().await;
    let (store, kept) = (
        world.dir.path().join("store"),
        world.dir.path().join("kept"),
    );
    copy(&store, &kept);
    world.resume().await;
    acts(&world, 1).await;
    world.stop().await;

    fs::remove_dir_all(&store).unwrap();
    fs::rename(&kept, &store).unwrap();
    world.resume().await;
    // It serves all the same.
    acts(&world, 1).await;
    let verify = ["audit", "verify", "--dir", &dir];
    machine.capif(&verify).await.failed(2, "audit.head");
    world.stop().await;
    world.resume().await;
    machine.capif(&verify).await.failed(2, "audit.head");

    world.stop().await;
    fs::rename(
        world.dir.path().join("audit.head"),
        world.dir.path().join("looked-at"),
    )
    .unwrap();
    world.resume().await;
    machine.capif(&verify).await.done();
    let listed = ["audit", "list", "--dir", &dir];
    let listed = machine.capif(&listed).await.done();
    assert!(listed.stdout.contains("AuditTrailBroken"), "{listed:?}");
}

/// What is too old is pruned where the operator wants it; the rest is still whole, and each pruning has its record.
#[tokio::test]
async fn a_pruned_trail_is_whole() {
    let mut world = history().await;
    let machine = Machine::new();
    let dir = folder(&world).to_owned();
    let early = trail(&world).await.len();
    world.clock.advance(time::Duration::days(10));
    acts(&world, 2).await;
    let late = trail(&world).await.len() - early;
    world.stop().await;
    world.config.audit.days = 5;
    world.resume().await;
    crate::support::eventually("the old ones are gone", || async {
        let left = trail(&world).await;
        left.first()
            .is_some_and(|first| first["operation"] == "Invite")
            && left.len() == late + 1
    })
    .await;
    let verified = machine
        .capif(&["audit", "verify", "--dir", &dir])
        .await
        .done();
    assert!(verified.stderr.contains("pruned"), "{verified:?}");
    let records = trail(&world).await;
    assert_eq!(records.last().unwrap()["operation"], "PruneAuditTrail");

    let export = ["audit", "list", "--output", "json", "--dir", &dir];
    let export = machine.capif(&export).await.done().stdout;
    let file = machine.work().join("trail.jsonl");
    fs::write(&file, export).unwrap();
    let verify = ["audit", "verify", "--file", file.to_str().unwrap()];
    machine.capif(&verify).await.done();
}

/// `capif audit list` narrows by time and by id, for people and for programs.
#[tokio::test]
async fn a_listing_is_narrowed() {
    let world = history().await;
    let machine = Machine::new();
    let invoker = world.raw_invoker(&[]).await;
    let noon = world.now() + 3600;
    world.clock.advance(time::Duration::hours(1));
    let answer = invoker
        .delete(&format!(
            "/api-invoker-management/v1/onboardedInvokers/{}",
            invoker.id
        ))
        .await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let dir = folder(&world);
    let of = ["audit", "list", "--subject", &invoker.id, "--dir", dir];
    let of = machine.capif(&of).await.done().stdout;
    let operations: Vec<&str> = of
        .lines()
        .skip(1)
        .filter_map(|line| {
            line.split_whitespace()
                .find(|word| word.ends_with("APIInvoker"))
        })
        .collect();
    assert_eq!(
        operations,
        ["CreateOnboardedAPIInvoker", "DeleteIndOnboardedAPIInvoker"]
    );
    let noon =
        capif_spec::common::DateTime(time::OffsetDateTime::from_unix_timestamp(noon).unwrap());
    let noon = noon.to_string();
    let late = [
        "audit", "list", "--since", &noon, "--output", "json", "--dir", dir,
    ];
    let late = machine.capif(&late).await.done().stdout;
    assert_eq!(late.lines().count(), 1);
    let record: Value = serde_json::from_str(late.trim()).unwrap();
    assert_eq!(
        record["record"]["actor"],
        format!("API_INVOKER {}", invoker.id)
    );
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

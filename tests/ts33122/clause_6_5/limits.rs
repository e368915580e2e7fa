//! Access control per call (TS 33.122 clause 6.5.1, TS 23.222 clause 8.23, R-ACL-01): totals and rates exact to the call, also with
//! several processes of one AEF; ranges of time; over-use refused, logged, and reported.

use capif_spec::{common::DateTime, publish_service::SecurityMethod};
use capif_transport::Clock;
use http::StatusCode;
use serde_json::json;

use super::processes::join;
use crate::support::site::{ALL, Line, Site};

/// How many of so many calls at once, over these lines, are answered with each status.
async fn calls(lines: &[Line], count: usize) -> (usize, usize) {
    let all = (0..count).map(|number| {
        let line = lines[number % lines.len()].clone();
        async move { line.call().await.map(|answer| answer.status) }
    });
    let answers = futures_util::future::join_all(all).await;
    let with = |status| {
        answers
            .iter()
            .filter(|answer| **answer == Some(status))
            .count()
    };
    (with(StatusCode::OK), with(StatusCode::TOO_MANY_REQUESTS))
}

/// R-ACL-01: with a total of so many, so many calls get through, over several processes and connections, and not one more.
#[tokio::test]
async fn a_total_is_exact_over_several_processes() {
    for method in [SecurityMethod::Pki, SecurityMethod::Oauth] {
        let site = Site::start(&ALL).await;
        let second = join(&site, &[]).await;
        let amy = site.world.raw_invoker(&[]).await;
        let credential = site.negotiate(&amy, &method).await;
        site.limit(&amy, json!({ "total": 100 })).await;
        let lines: Vec<Line> = (0..6)
            .map(|number| match number % 2 {
                0 => site.line(&amy, &credential),
                _ => site.line_to(second.address(), &amy, &credential),
            })
            .collect();
        assert_eq!(calls(&lines, 99).await, (99, 0));
        let (served, refused) = calls(&lines, 51).await;
        assert_eq!((served, refused), (1, 50), "{method}");
        assert_eq!(site.backend.seen().len(), 100);
    }
}

/// R-ACL-01: over-use is refused with its cause, logged, and reported once, and the core function revokes; a new negotiation
/// brings no new total.
#[tokio::test]
async fn over_use_is_logged_and_reported() {
    let site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let bob = site.world.raw_invoker(&[]).await;
    let credential = site.negotiate(&amy, &SecurityMethod::Psk).await;
    let bobs = site.negotiate(&bob, &SecurityMethod::Pki).await;
    site.limit(&amy, json!({ "total": 2 })).await;
    let line = site.line(&amy, &credential);
    for status in [200, 200, 429, 429] {
        let answer = line.call().await.unwrap();
        assert_eq!(answer.status, status);
        if status == 429 {
            assert_eq!(answer.cause(), "OVERLIMIT_USAGE");
            assert!(!answer.headers.contains_key("retry-after"));
        }
    }
    // Revoked by the report: the key opens nothing any more.
    site.disconnected(&amy).await;
    site.settled().await;
    assert!(line.call().await.is_none());
    assert!(site.line(&amy, &credential).call().await.is_none());
    let again = site.negotiate(&amy, &SecurityMethod::Pki).await;
    assert_eq!(site.line(&amy, &again).status().await, 429);
    assert_eq!(site.line(&bob, &bobs).status().await, 200);
    assert_eq!(site.backend.seen().len(), 3);
    site.gateway.drain(crate::support::SOON).await;
    let logs = site.world.list("logs").await;
    let refused = logs.iter().filter(|row| row["log"]["result"] == "429");
    assert_eq!(refused.count(), 3);
}

/// R-ACL-01: a rate is exact within any second, over several processes, and says when the next call may come.
#[tokio::test]
async fn a_rate_is_exact_over_several_processes() {
    let site = Site::start(&ALL).await;
    let second = join(&site, &[]).await;
    let amy = site.world.raw_invoker(&[]).await;
    let credential = site.negotiate(&amy, &SecurityMethod::Oauth).await;
    site.limit(&amy, json!({ "perSecond": 10 })).await;
    let lines = [
        site.line(&amy, &credential),
        site.line_to(second.address(), &amy, &credential),
    ];
    for second in 1..=3 {
        assert_eq!(calls(&lines, 30).await, (10, 20), "{second}");
        site.world.clock.advance(time::Duration::milliseconds(999));
        let answer = lines[0].call().await.unwrap();
        assert_eq!(answer.cause(), "OVERLIMIT_USAGE");
        assert_eq!(answer.headers["retry-after"], "1");
        site.world.clock.advance(time::Duration::milliseconds(1));
    }
    assert_eq!(site.backend.seen().len(), 30);
    // A rate is no reason to revoke.
    assert_eq!(lines[0].status().await, 200);
}

/// R-ACL-01: calls come within the ranges of time alone.
#[tokio::test]
async fn ranges_of_time_are_kept() {
    let site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let credential = site.negotiate(&amy, &SecurityMethod::Pki).await;
    let line = site.line(&amy, &credential);
    assert_eq!(line.status().await, 200);
    let at = |seconds: i64| DateTime(site.world.clock.now() + time::Duration::seconds(seconds));
    let times = json!([{ "from": at(100), "to": at(200) }]);
    site.limit(&amy, json!({ "times": times })).await;
    for (advance, status) in [(0, 403), (99, 403), (1, 200), (99, 200), (1, 403)] {
        site.world.clock.advance(time::Duration::seconds(advance));
        let answer = line.call().await.unwrap();
        assert_eq!(answer.status, status, "{advance}");
        if status == 403 {
            answer.cause();
            assert!(!answer.headers.contains_key("www-authenticate"));
        }
    }
}

/// R-ACL-02: a policy that is set, changed or removed counts as soon as its event is acknowledged.
#[tokio::test]
async fn a_changed_policy_counts_at_once() {
    let site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let credential = site.negotiate(&amy, &SecurityMethod::Oauth).await;
    let line = site.line(&amy, &credential);
    assert_eq!(line.status().await, 200);
    site.limit(&amy, json!({ "total": 0 })).await;
    assert_eq!(line.status().await, 429);
    site.limit(&amy, json!({ "total": 1 })).await;
    for status in [200, 429] {
        assert_eq!(line.status().await, status);
    }
    let body = json!({ "api": { "name": "weather" }, "invoker": amy.id });
    let (status, _) = site
        .world
        .operator(http::Method::POST, "/policies/remove", Some(body))
        .await;
    assert_eq!(status, StatusCode::OK);
    site.settled().await;
    assert_eq!(line.status().await, 200);
}

/// P-39: without the core function a call that counts is not let through; one that does not count is, while what is known is
/// young enough.
#[tokio::test]
async fn without_the_core_function_nothing_that_counts_gets_through() {
    let mut site = Site::start(&ALL).await;
    let amy = site.world.raw_invoker(&[]).await;
    let bob = site.world.raw_invoker(&[]).await;
    let amys = site.negotiate(&amy, &SecurityMethod::Pki).await;
    let bobs = site.negotiate(&bob, &SecurityMethod::Pki).await;
    site.limit(&amy, json!({ "total": 10 })).await;
    let (amy, bob) = (site.line(&amy, &amys), site.line(&bob, &bobs));
    assert_eq!((amy.status().await, bob.status().await), (200, 200));
    site.world.stop().await;
    assert_eq!((amy.status().await, bob.status().await), (503, 200));
    site.world.resume().await;
    assert_eq!(calls(&[amy], 20).await, (9, 11));
}

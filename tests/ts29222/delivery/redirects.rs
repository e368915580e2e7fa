//! Redirects of receivers are followed (TS 29.122 clause 5.2.10, TS 29.222 annex A: 307 and 308 of every callback), each target judged
//! anew (P-34).

use tokio::net::TcpListener;

use super::{nothing_waits, publish, told, wanted};
use crate::{
    support::{World, receiver::Receiver},
    ts29222::events::subscribe,
};

/// 307 and 308 lead on, by an address or by a path, and whoever is at the end acknowledges.
#[tokio::test]
async fn a_notification_follows_its_receiver() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let (old, new) = (Receiver::start(&world), Receiver::start(&world));
    old.redirect_to(&new.url("/moved"));
    old.answer(&[307, 308]);
    subscribe(&domain.aef, &wanted(&old.url("/events"), "4")).await;
    let mut ids = publish(&domain, &["weather", "traffic"]).await;
    assert_eq!(told(&new.acknowledged(2).await), ids);
    nothing_waits(&world).await;
    assert_eq!(old.seen().len(), 2, "asked once for each");
    for notice in new.seen() {
        assert_eq!(
            (notice.method.as_str(), notice.path.as_str()),
            ("POST", "/moved")
        );
        assert_eq!(notice.headers["content-type"], "application/json");
    }
    // A path leads on at the same place.
    old.redirect_to("/elsewhere");
    old.answer(&[307]);
    ids.extend(publish(&domain, &["maps"]).await);
    assert_eq!(told(&old.acknowledged(1).await), ids[2..]);
    assert_eq!(old.seen().last().unwrap().path, "/elsewhere");
}

/// A redirect out of policy is not followed: no connection is made, and nothing is acknowledged by it. Neither is one without end.
#[tokio::test]
async fn redirects_out_of_policy_lead_nowhere() {
    let world = World::with(|config| config.events.retry_seconds_max = 1).await;
    let domain = world.domain("acme").await;
    let forbidden = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = forbidden.local_addr().unwrap().port();
    let receiver = Receiver::start(&world);
    subscribe(&domain.aef, &wanted(&receiver.url("/events"), "4")).await;
    let locations = [
        format!("https://localhost:{port}/"),
        format!("https://127.0.0.2:{port}/"),
        format!("https://user@127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}@evil.example/"),
        format!("http://127.0.0.1:{port}/"),
        format!("//127.0.0.1:{port}/"),
        format!("https://2130706433:{port}/"),
        format!("https://[::1]:{port}/"),
        "https://169.254.169.254/".to_owned(),
        "file:///etc/passwd".to_owned(),
        String::new(),
    ];
    for (count, location) in locations.iter().enumerate() {
        receiver.redirect_to(location);
        receiver.answer(&[307]);
        publish(&domain, &[&format!("api-{count}")]).await;
        // The next attempt is not redirected.
        receiver.acknowledged(count + 1).await;
        assert_eq!(receiver.seen().len(), 2 * (count + 1), "{location}");
    }
    let dialled = std::time::Duration::from_millis(100);
    let dialled = tokio::time::timeout(dialled, forbidden.accept()).await;
    assert!(dialled.is_err(), "nobody came");

    // In a circle it goes three times, then the attempt has failed.
    let before = receiver.seen().len();
    receiver.redirect_to("/events");
    receiver.answer(&[307, 308, 307, 308]);
    publish(&domain, &["circle"]).await;
    receiver.acknowledged(locations.len() + 1).await;
    assert_eq!(receiver.seen().len(), before + 5);
    nothing_waits(&world).await;
}

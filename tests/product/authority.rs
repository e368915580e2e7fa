//! `capif ca` and `capif keys`: what an operator types, and what it gets.

use capif_ccf::config::Compat;

use crate::support::{compat, process::Machine};

#[tokio::test]
async fn another_authority_and_another_key() {
    let mut machine = Machine::new();
    machine.capif(&["init"]).await.done();
    let _ccf = machine.core_function().await;
    let status = async || {
        machine
            .capif(&["ca", "status", "--output", "json"])
            .await
            .done()
            .json()
    };

    let before = status().await;
    assert_eq!(before["generations"].as_array().unwrap().len(), 1);
    machine
        .capif(&["ca", "retire"])
        .await
        .failed(1, "nothing to retire");
    machine
        .capif(&["ca", "roll", "--overlap", "a week"])
        .await
        .failed(1, "like 30d");

    let rolled = machine
        .capif(&["ca", "roll", "--root", "--overlap", "7d"])
        .await
        .done();
    assert!(
        rolled.stderr.contains("authority 2 signs from now on"),
        "{rolled:?}"
    );
    assert!(rolled.stderr.contains("capif ca retire"), "{rolled:?}");
    let after = status().await;
    let states = after["generations"].as_array().unwrap();
    assert_eq!(states[0]["state"], "overlapping");
    assert_eq!(states[1]["state"], "current");
    let new_root = states[1]["rootFingerprint"].as_str().unwrap();
    assert_ne!(states[0]["rootFingerprint"], new_root);
    // The code of now carries the new root.
    let table = machine.capif(&["ca", "status"]).await.done();
    assert!(table.stdout.contains(new_root), "{table:?}");
    machine
        .capif(&["ca", "roll"])
        .await
        .failed(1, "capif ca retire");
    let retired = machine.capif(&["ca", "retire"]).await.done();
    assert!(
        retired.stderr.contains("authority 1 is retired"),
        "{retired:?}"
    );
    assert_eq!(status().await["generations"][0]["state"], "retired");

    let keys = async || {
        let keys = machine
            .capif(&["keys", "list", "--output", "json"])
            .await
            .done()
            .json();
        let rows = keys.as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["state"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    if compat() == Compat::Opencapif {
        // The key of the server certificate, which stands last, signs in the place of the others.
        assert_eq!(keys().await, ["idle", "signing"]);
        let rotate = machine.capif(&["keys", "rotate"]).await;
        rotate.failed(1, "in a compromise alone");
        let rotate = ["keys", "rotate", "--compromise"];
        machine.capif(&rotate).await.done();
        assert_eq!(keys().await, ["idle", "signing"]);
        return;
    }
    assert_eq!(keys().await, ["signing"]);
    machine.capif(&["keys", "rotate"]).await.done();
    assert_eq!(keys().await, ["signing", "ahead"]);
    machine
        .capif(&["keys", "rotate"])
        .await
        .failed(1, "handed out already");
    machine
        .capif(&["keys", "rotate", "--compromise"])
        .await
        .done();
    assert_eq!(keys().await, ["signing"]);
}

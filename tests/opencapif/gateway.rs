//! Someone else's provider gateway in place of ours, as it is published and without a change.

use serde_json::{Value, json};

use super::{Core, python};

/// It onboards by an account, publishes what its two files say, serves it, and checks tokens with the key of the certificate that it
/// saw. An invoker of the SDK finds the API and calls through it; who has no token or a forged one does not. Then it removes itself.
#[tokio::test]
async fn someone_elses_gateway_serves_our_invokers() {
    let made_by = "tests/opencapif/sdk gateway";
    let Some(python) = python("CAPIF_TEST_PROVIDER_GATEWAY", made_by) else {
        return;
    };
    let core = Core::start().await;
    core.user("ada", "correct horse");
    // Nobody listens there: nothing of this run subscribes.
    let plan = json!({ "receiver": 9 });
    let output = core.run(python, "gateway.py", plan).await;
    let said = String::from_utf8_lossy(&output.stdout);
    let steps: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let count = |name: &str| steps.iter().filter(|step| step["step"] == name).count();
    assert_eq!(steps.len(), 20, "{said}");
    assert_eq!(count("call refused"), 6, "{said}");
    assert_eq!(count("gateway removed itself"), 1, "{said}");
    for kind in ["invokers", "providers", "apis"] {
        let left = core.listed(kind).await;
        assert_eq!(left, json!([]), "{kind}");
    }
}

//! Policies, allowances and revocation, as an exposing function asks for them (TS 23.222 clause 8.23).

use capif_client::{ErrorKind, Limit};
use capif_spec::{common::ApiInvokerId, security::Cause};
use serde_json::{Value, json};

use super::{try_register, two_aefs, world};
use crate::world::{answer, problem};

const POLICIES: &str = "/access-control-policy/v1/accessControlPolicyList";

#[tokio::test]
async fn an_exposing_function_controls_under_its_own_name() {
    let world = world(|seen, _| {
        let path = seen.path.as_str();
        Some(match (seen.method.as_str(), path) {
            ("GET", path)
                if path == format!("{POLICIES}/api-1?aef-id=aef-1&api-invoker-id=a%2Fb") =>
            {
                answer(
                    200,
                    &json!({ "apiInvokerPolicies": [
                    { "apiInvokerId": "other", "allowedTotalInvocations": 1 },
                    { "apiInvokerId": "a/b", "allowedTotalInvocations": 7 },
                ] }),
                )
            }
            ("GET", path) if path.starts_with(POLICIES) => problem(404, "there is none"),
            ("POST", "/capif-allowances/v1/api-1") => {
                let wanted = seen.json()["wanted"].as_u64().unwrap();
                match wanted {
                    1 => answer(200, &json!({ "granted": 1 })),
                    2 => answer(
                        200,
                        &json!({ "granted": 1, "exhausted": "rate", "retryAfterMs": 30 }),
                    ),
                    3 => answer(200, &json!({ "granted": 4 })),
                    _ => answer(200, &json!({ "granted": 0, "exhausted": "patience" })),
                }
            }
            ("POST", "/capif-security/v1/trustedInvokers/a%2Fb/delete") => {
                answer(204, &Value::Null)
            }
            ("POST", "/capif-security/v1/trustedInvokers/gone/delete") => {
                problem(404, "there is none")
            }
            _ => return None,
        })
    })
    .await;
    let provider = try_register(&world, two_aefs()).await.unwrap();
    world.ccf.forget();
    let (api, invoker, gone) = (
        "api-1".into(),
        ApiInvokerId::new("a/b"),
        ApiInvokerId::new("gone"),
    );
    let policy = provider
        .access_control_policy(&api, &invoker)
        .await
        .unwrap();
    assert_eq!(policy.unwrap().allowed_total_invocations, Some(7));
    assert_eq!(
        provider.access_control_policy(&api, &gone).await.unwrap(),
        None
    );

    let one = provider.allowance(&api, &invoker, 1).await.unwrap();
    assert_eq!((one.granted, one.exhausted), (1, None));
    let two = provider.allowance(&api, &invoker, 2).await.unwrap();
    assert_eq!(
        (two.granted, two.exhausted, two.retry_after_ms),
        (1, Some(Limit::Rate), Some(30))
    );
    // More than was asked for, and a limit that there is not.
    for wanted in [3, 4] {
        let error = provider
            .allowance(&api, &invoker, wanted)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    }

    let revoke = |id| provider.revoke(id, vec!["api-1".into()], Cause::OverlimitUsage);
    assert!(revoke(&invoker).await.unwrap());
    assert!(!revoke(&gone).await.unwrap());
    let seen = world.ccf.seen();
    assert!(
        seen.iter()
            .all(|seen| seen.peer.as_deref() == Some("aef-1"))
    );
    let notice = seen.iter().find(|seen| seen.path.ends_with("a%2Fb/delete"));
    assert_eq!(
        notice.unwrap().json(),
        json!({ "apiInvokerId": "a/b", "aefId": "aef-1", "apiIds": ["api-1"], "cause": "OVERLIMIT_USAGE" })
    );
}

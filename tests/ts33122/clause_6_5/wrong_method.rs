//! Only the method of the context counts, whatever else an invoker could prove (TS 33.122 clauses 6.3 and 6.5, D-20).

use capif_spec::publish_service::SecurityMethod;

use super::{INVALID_TOKEN, assert_refused, supported_methods};
use crate::support::site::{ALL, Credential, Site};

/// R-6.7-02: three contexts, three proofs. A certificate or a token of another method is answered with the indicator; a key of
/// a method that was given up opens no session any more, and on an open one it is answered so too.
#[tokio::test]
async fn another_method_than_that_of_the_context_is_refused() {
    for context in ALL {
        let site = Site::start(&ALL).await;
        let amy = site.world.raw_invoker(&[]).await;
        let mut credentials = Vec::new();
        let mut lines = Vec::new();
        for method in ALL
            .iter()
            .filter(|method| **method != context)
            .chain([&context])
        {
            let credential = site.negotiate(&amy, method).await;
            let line = site.line(&amy, &credential);
            assert_eq!(line.status().await, 200, "{method} under {method}");
            credentials.push((method.clone(), credential));
            lines.push(line);
        }
        let served = site.backend.seen().len();
        for ((method, credential), open) in credentials.iter().zip(&lines) {
            let fresh = site.line(&amy, credential);
            if *method == context {
                for line in [open, &fresh] {
                    assert_eq!(line.status().await, 200, "{method} under {context}");
                }
                continue;
            }
            for (line, is_open) in [(open, true), (&fresh, false)] {
                let Some(answer) = line.call().await else {
                    // Nothing but the session that was open before knows the key.
                    assert!(
                        *method == SecurityMethod::Psk && !is_open,
                        "{method} under {context}"
                    );
                    continue;
                };
                assert_eq!(answer.cause(), "SECURITY_METHOD_MISMATCH");
                assert_refused(&answer, http::StatusCode::UNAUTHORIZED, Some("Bearer"));
                assert_eq!(supported_methods(&answer), ["PSK", "PKI", "OAUTH"]);
            }
        }
        assert_eq!(site.backend.seen().len(), served + 2);
    }
}

/// R-6.5.1-02: without any context nothing is proved to anybody, whatever was proved before.
#[tokio::test]
async fn without_a_context_no_method_counts() {
    let site = Site::start(&ALL).await;
    for method in ALL {
        let amy = site.world.raw_invoker(&[]).await;
        let credential = site.negotiate(&amy, &method).await;
        assert_eq!(site.line(&amy, &credential).status().await, 200);
        let served = site.backend.seen().len();
        let provider = site.provider().await;
        let apis = vec![site.api_id().await.into()];
        let cause = capif_spec::security::Cause::OtherReason;
        let id = amy.id.as_str().into();
        assert!(provider.revoke(&id, apis, cause).await.unwrap());
        site.settled().await;
        match site.line(&amy, &credential).call().await {
            None => assert!(matches!(credential, Credential::Psk(_))),
            Some(answer) => {
                assert_refused(&answer, http::StatusCode::UNAUTHORIZED, INVALID_TOKEN);
            }
        }
        assert_eq!(site.backend.seen().len(), served);
    }
}

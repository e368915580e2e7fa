use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{
    fixtures::*,
    state::{Entry, Hidden, Route},
    topology_hiding::shown,
};

fn route(from: &str, aef: &str) -> Route {
    Route {
        from: from.parse().unwrap(),
        aef_id: aef.into(),
    }
}

/// TS 29.222 clause 5.9: rules with the addresses of callers, those that name none last; for the AEF that hides, and for nobody else.
#[test]
fn who_hides_is_told_where_calls_go() {
    let rule = TopologyHiding {
        hidden: Hidden::Api("API".into()),
        aef_id: "EDGE".into(),
        entry: Entry {
            domain_name: Some("edge.example".to_owned()),
            ..Entry::default()
        },
        routes: vec![
            route("192.0.2.0/25", "AEF2"),
            route("2001:db8::/127", "AEF2"),
            route("198.51.100.7", "AEF2"),
            route("0.0.0.0/0", "AEF9"),
        ],
        since: now(),
        gone: false,
    };
    let mut rules = Rules::default();
    rules.put(Arc::new(versioned(rule)));
    let profiles = [profile("AEF1", &[Pki]), profile("AEF2", &[Pki])];
    let plain = api("API", "weather", &profiles);
    let hidden = shown(plain.clone(), plain.description.clone(), &rules);
    let found = information(Some(&hidden), &rules, &"EDGE".into()).unwrap();
    assert_eq!(
        serde_json::to_value(&found).unwrap(),
        json!({ "routingRules": [
            {
                "ipv4AddrRanges": [
                    { "start": "192.0.2.0", "end": "192.0.2.127" },
                    { "start": "198.51.100.7", "end": "198.51.100.7" },
                ],
                "ipv6AddrRanges": [{ "start": "2001:db8::", "end": "2001:db8::1" }],
                "aefProfile": profiles[1],
            },
            { "aefProfile": profiles[0] },
        ]})
    );
    let none = Refusal::NotFound {
        what: "routing information",
    };
    for aef in ["AEF1", "AEF2", "AEF9", ""] {
        let refused = information(Some(&hidden), &rules, &aef.into());
        assert_eq!(refused.unwrap_err(), none);
    }
    for api in [None, Some(&plain)] {
        let refused = information(api, &rules, &"EDGE".into());
        assert_eq!(refused.unwrap_err(), none);
    }
}

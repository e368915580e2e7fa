//! The hosts where a function serves.

use super::*;

/// The vendor member that names hosts takes DNS names and addresses, at most 16, and no wildcard.
#[test]
fn rules_of_hosts() {
    let longest = format!("{}.{}", "a".repeat(63), "b".repeat(63));
    let good = [
        json!([]),
        json!(["gw.example"]),
        json!(["localhost", "GW-1.example", "0.pool.example"]),
        json!(["192.0.2.1", "2001:db8::1", "::1"]),
        json!([longest]),
        json!(vec!["gw.example"; 16]),
    ];
    let long_label = "a".repeat(64);
    let long_name = format!("{}b", "a.".repeat(127));
    assert_eq!(long_name.len(), 255);
    let bad = [
        json!("gw.example"),
        json!({ "0": "gw.example" }),
        json!(null),
        json!([null]),
        json!([7]),
        json!([["gw.example"]]),
        json!([""]),
        json!(["gw.example", ""]),
        json!(["*.example"]),
        json!(["gw.example."]),
        json!([".example"]),
        json!(["gw..example"]),
        json!(["-gw.example"]),
        json!(["gw-.example"]),
        json!(["gw_1.example"]),
        json!(["gw.example:443"]),
        json!(["[::1]"]),
        json!(["https://gw.example"]),
        json!(["gw.example/path"]),
        json!(["gw example"]),
        json!(["gw.exämple"]),
        json!(["gw.example\u{0}"]),
        json!(["192.0.2.1/24"]),
        json!([long_label]),
        json!([long_name]),
        json!(vec!["gw.example"; 17]),
    ];
    let attempt = |hosts: &Value| {
        registered(request(&[
            wanted("AMF", 1),
            serving(wanted("AEF", 2), hosts.clone()),
        ]))
    };
    for hosts in good {
        let plan = attempt(&hosts).unwrap();
        let order = plan.orders().nth(1).unwrap();
        assert_eq!(json!(order.hosts()), hosts);
        let (_, answer) = completed(plan, &[], &[]);
        let aef = &answer.api_prov_funcs.unwrap()[1];
        assert_eq!(aef.extra[HOSTS_MEMBER]["hosts"], hosts);
    }
    for hosts in bad {
        let refusal = attempt(&hosts).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Malformed { pointer, .. }
                if pointer == "/apiProvFuncs/1/vendorSpecific-capif/hosts"),
            "{hosts}: {refusal:?}"
        );
    }
    // Other vendors' members and other shapes of this one say nothing about hosts.
    for vendor in [json!("gw.example"), json!({}), json!({ "host": "x" })] {
        let mut aef = wanted("AEF", 2);
        aef[HOSTS_MEMBER] = vendor;
        let plan = registered(request(&[wanted("AMF", 1), aef])).unwrap();
        assert_eq!(plan.orders().nth(1).unwrap().hosts(), [] as [&str; 0]);
    }
}

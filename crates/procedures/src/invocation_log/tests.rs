use serde_json::{Value, json};

use super::*;
use crate::{
    changes::{Change, Key, Kind},
    fixtures::*,
    state::Role,
};

fn call(api: &str) -> Value {
    json!({
        "apiId": api,
        "apiName": "weather",
        "apiVersion": "v1",
        "resourceName": "today",
        "protocol": "HTTP_1_1",
        "result": "200",
    })
}

fn report(aef: &str, logs: &[Value]) -> InvocationLog {
    wire(json!({ "aefId": aef, "apiInvokerId": "INV", "logs": logs }))
}

fn recorded(report: &InvocationLog, apis: &[ServiceApi]) -> Result<Changes, Refusal> {
    let by_id = |id: &str| apis.iter().find(|api| api.id.as_str() == id);
    record(
        report,
        &AefId::from("AEF"),
        by_id,
        std::iter::empty(),
        &now(),
    )
}

fn apis() -> Vec<ServiceApi> {
    vec![
        api(
            "API1",
            "weather",
            &[profile("AEF2", &[Pki]), profile("AEF", &[Pki])],
        ),
        api("API2", "traffic", &[profile("AEF", &[Oauth])]),
        api("API3", "maps", &[profile("AEF2", &[Oauth])]),
    ]
}

/// TS 23.222 clause 8.19: the CCF stores each call of a report under the AEF that reported it, in the order of the report.
#[test]
fn each_call_is_kept() {
    let report = report("AEF", &[call("API1"), call("API2"), call("API1")]);
    let changes = recorded(&report, &apis()).unwrap();
    assert_eq!(
        changes.steps[0],
        requirement(Kind::ProviderFunction, "AEF", Expect::Present)
    );
    let entries: Vec<InvocationLogEntry> = changes.steps[1..]
        .iter()
        .map(|step| match step {
            Change::Append {
                kind: Kind::InvocationLog,
                prefix,
                value,
            } => {
                assert_eq!(prefix, "AEF/");
                serde_json::from_slice(value).unwrap()
            }
            step => panic!("{step:?}"),
        })
        .collect();
    let expected: Vec<InvocationLogEntry> = report
        .logs
        .iter()
        .map(|log| InvocationLogEntry {
            aef_id: "AEF".into(),
            api_invoker_id: "INV".into(),
            log: log.clone(),
            received: now(),
        })
        .collect();
    assert_eq!(entries, expected);

    let mut world = World::default().with(&function("AEF", Role::Aef, 1));
    world.commit(changes.clone()).unwrap();
    assert_eq!(world.ids(Kind::InvocationLog).len(), 3);
    assert_eq!(
        World::default().commit(changes),
        Err(Key::new(Kind::ProviderFunction, "AEF"))
    );
}

/// TS 29.222 clause 5.8: an AEF reports in its own name.
#[test]
fn a_report_in_anothers_name_is_refused() {
    for aef in ["AEF2", "aef", "AEF ", ""] {
        assert_eq!(
            recorded(&report(aef, &[call("API1")]), &apis()),
            Err(Refusal::NotTheCaller { place: "body" })
        );
    }
}

/// TS 29.222 clause 5.8: an AEF reports calls of APIs that it exposes. One that it does not, or that nobody published, spoils
/// the report, wherever it stands.
#[test]
fn a_report_about_foreign_apis_is_refused() {
    let cases: [(&[&str], usize); 5] = [
        (&["API3"], 0),
        (&["API9"], 0),
        (&["API1", "API1", "API3"], 2),
        (&["API1", "API9", "API1"], 1),
        (&["api1"], 0),
    ];
    for (ids, culprit) in cases {
        let logs: Vec<Value> = ids.iter().map(|id| call(id)).collect();
        let refusal = recorded(&report("AEF", &logs), &apis()).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Malformed { pointer, .. }
                if *pointer == format!("/logs/{culprit}/apiId")),
            "{ids:?}: {refusal:?}"
        );
    }
    let withdrawn = recorded(&report("AEF", &[call("API1")]), &[]);
    assert!(withdrawn.is_err());
}

/// An entry takes as much of the store as it is long: neither what a call says, nor the id that stands in each of them, is without end.
#[test]
fn entries_are_bounded() {
    let mut long = call("API1");
    long["inputParameters"] = json!("x".repeat(ENTRY_BYTES_MAX));
    let whose = |id: usize| {
        let mut report = report("AEF", &[call("API1"), call("API1")]);
        report.api_invoker_id = "x".repeat(id).as_str().into();
        report
    };
    for (report, culprit) in [
        (report("AEF", &[call("API1"), long]), "/logs/1"),
        (whose(ENTRY_BYTES_MAX), "/logs/0"),
    ] {
        let refusal = recorded(&report, &apis()).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Malformed { pointer, .. } if pointer == culprit),
            "{refusal:?}"
        );
    }
    assert!(recorded(&whose(ENTRY_BYTES_MAX / 2), &apis()).is_ok());
}

/// TS 29.222 clause 8.7.4.2.2: a report holds at least one call, and at most so many.
#[test]
fn reports_are_bounded() {
    for (count, good) in [
        (0, false),
        (1, true),
        (ENTRIES_MAX, true),
        (ENTRIES_MAX + 1, false),
    ] {
        let report = report("AEF", &vec![call("API1"); count]);
        match recorded(&report, &apis()) {
            Ok(changes) => {
                assert!(good, "{count}");
                assert_eq!(changes.steps.len(), count + 1);
            }
            Err(Refusal::Malformed { pointer, .. }) => {
                assert!(!good, "{count}");
                assert_eq!(pointer, "/logs");
            }
            Err(refusal) => panic!("{count}: {refusal}"),
        }
    }
}

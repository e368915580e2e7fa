//! Queries against a naive reference, which reads the JSON of each entry.

use super::*;

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

const TEXTS: [(&str, [&str; 3]); 7] = [
    ("apiId", ["API1", "API2", "API3"]),
    ("apiName", ["weather", "traffic", "sea"]),
    ("apiVersion", ["v1", "v2", "v3"]),
    ("protocol", ["HTTP_1_1", "HTTP_2", "NEW"]),
    ("operation", ["GET", "POST", "NEW"]),
    ("result", ["200", "403", "500"]),
    ("resourceName", ["r1", "r2", "r3"]),
];
const AEFS: [&str; 3] = ["AEF1", "AEF2", "AEF3"];
const INVOKERS: [&str; 3] = ["INV1", "INV2", "INV3"];
const HOSTS: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
const SLICES: [&str; 2] = ["s1", "s2"];

/// A moment of some seconds around noon.
fn moment(dice: &mut Dice) -> String {
    format!("2026-01-31T12:00:0{}Z", dice.below(5))
}

fn log(dice: &mut Dice) -> Value {
    let mut log = json!({});
    for (member, values) in TEXTS {
        if member != "operation" || dice.below(2) == 0 {
            log[member] = json!(dice.pick(&values));
        }
    }
    if dice.below(2) == 0 {
        log["invocationTime"] = json!(moment(dice));
    }
    for member in ["srcInterface", "destInterface"] {
        if dice.below(2) == 0 {
            log[member] = json!({ "ipv4Addr": dice.pick(&HOSTS), "port": dice.below(2) });
        }
    }
    if dice.below(2) == 0 {
        log["netSliceInfo"] = json!({ "nsiId": dice.pick(&SLICES) });
    }
    log
}

/// A query as the members that it asks for.
fn query(dice: &mut Dice) -> Value {
    let rarely = 2 + dice.below(8);
    let mut query = json!({});
    let mut perhaps = |dice: &mut Dice, name: &str, value: &dyn Fn(&mut Dice) -> Value| {
        if dice.below(rarely) == 0 {
            query[name] = value(dice);
        }
    };
    for (member, values) in TEXTS {
        perhaps(dice, member, &|dice| json!(dice.pick(&values)));
    }
    perhaps(dice, "aef", &|dice| json!(dice.pick(&AEFS)));
    perhaps(dice, "invoker", &|dice| json!(dice.pick(&INVOKERS)));
    perhaps(dice, "start", &|dice| json!(moment(dice)));
    perhaps(dice, "end", &|dice| json!(moment(dice)));
    for member in ["srcInterface", "destInterface"] {
        perhaps(dice, member, &|dice| {
            let mut interface = json!({ "ipv4Addr": dice.pick(&HOSTS) });
            if dice.below(2) == 0 {
                interface["port"] = json!(dice.below(2));
            }
            interface
        });
    }
    perhaps(dice, "slice", &|dice| json!(dice.pick(&SLICES)));
    query["features"] = json!(dice.below(4));
    query
}

fn criteria(query: &Value) -> Criteria {
    let text = |name: &str| query[name].as_str().map(str::to_owned);
    let whole = |name: &str| query.get(name).map(|value| wire(value.clone()));
    Criteria {
        aef_id: text("aef").map(AefId::from),
        api_invoker_id: text("invoker").map(ApiInvokerId::from),
        time_range_start: text("start").and_then(|text| time(&text)),
        time_range_end: text("end").and_then(|text| time(&text)),
        api_id: text("apiId"),
        api_name: text("apiName"),
        api_version: text("apiVersion"),
        protocol: text("protocol").map(|text| text.as_str().into()),
        operation: text("operation").map(|text| text.as_str().into()),
        result: text("result"),
        resource_name: text("resourceName"),
        src_interface: whole("srcInterface"),
        dest_interface: whole("destInterface"),
        net_slices: match text("slice") {
            Some(id) => wire(json!([{ "nsiId": id }])),
            None => Vec::new(),
        },
        supported_features: Some(
            format!("{:x}", query["features"].as_u64().unwrap())
                .as_str()
                .into(),
        ),
    }
}

/// Whether an entry is asked for. Times of this test compare as texts.
fn reference(query: &Value, aef: &str, invoker: &str, received: &str, log: &Value) -> bool {
    let same = |name: &str, actual: &Value| query[name].is_null() || query[name] == *actual;
    let at = log["invocationTime"].as_str().unwrap_or(received);
    let slices = query["features"].as_u64().unwrap() & 2 != 0;
    TEXTS.iter().all(|(member, _)| same(member, &log[*member]))
        && same("aef", &json!(aef))
        && same("invoker", &json!(invoker))
        && query["start"].as_str().is_none_or(|start| start <= at)
        && query["end"].as_str().is_none_or(|end| at <= end)
        && (!slices || same("slice", &log["netSliceInfo"]["nsiId"]))
        && ["srcInterface", "destInterface"].iter().all(|member| {
            let wanted = query[*member].as_object().into_iter().flatten();
            wanted
                .into_iter()
                .all(|(name, value)| log[*member][name] == *value)
        })
}

/// TS 29.222 table 8.8.2.2.3.1-1: 10 000 random queries over random entries find what the naive reference finds, in order and in
/// the shape that their number asks for.
#[test]
fn ten_thousand_queries_as_the_reference_answers_them() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let (mut none, mut one, mut several, mut refused) = (0, 0, 0, 0);
    let mut entries: Vec<(InvocationLogEntry, String, Value)> = Vec::new();
    for round in 0..10_000 {
        if round % 100 == 0 {
            entries = (0..60)
                .map(|_| {
                    let (log, received) = (log(&mut dice), moment(&mut dice));
                    let entry = InvocationLogEntry {
                        aef_id: dice.pick(&AEFS).into(),
                        api_invoker_id: dice.pick(&INVOKERS).into(),
                        log: wire(log.clone()),
                        received: received.parse().unwrap(),
                    };
                    (entry, received, log)
                })
                .collect();
        }
        let query = query(&mut dice);
        let features = query["features"].as_u64().unwrap();
        let mut expected: Vec<(String, Vec<Value>)> = Vec::new();
        for (entry, received, log) in &entries {
            let (aef, invoker) = (entry.aef_id.as_str(), entry.api_invoker_id.as_str());
            if !reference(&query, aef, invoker, received, log) {
                continue;
            }
            let mut log = log.clone();
            if features & 2 == 0 {
                log.as_object_mut().unwrap().remove("netSliceInfo");
            }
            let of = format!("{aef} {invoker}");
            match expected.iter_mut().find(|(known, _)| *known == of) {
                Some((_, logs)) => logs.push(log),
                None => expected.push((of, vec![log])),
            }
        }
        let held: Vec<InvocationLogEntry> =
            entries.iter().map(|(entry, ..)| entry.clone()).collect();
        let answer = answer(&criteria(&query), &held);
        let told = match answer {
            Err(Refusal::NotFound { .. }) => {
                none += 1;
                Vec::new()
            }
            Err(Refusal::Malformed { .. }) => {
                assert!(expected.len() > 1 && features & 1 == 0, "{query}");
                refused += 1;
                continue;
            }
            Err(refusal) => panic!("{refusal}"),
            Ok(answer) => {
                let logs = match answer.get("multipleInvocationLogs") {
                    Some(logs) => {
                        assert!(expected.len() > 1 && features & 1 == 1);
                        several += 1;
                        logs.as_array().unwrap().clone()
                    }
                    None => {
                        one += 1;
                        vec![answer]
                    }
                };
                let parts = logs.iter().map(|log| {
                    let of = ["aefId", "apiInvokerId"].map(|id| log[id].as_str().unwrap());
                    (of.join(" "), log["logs"].as_array().unwrap().clone())
                });
                parts.collect()
            }
        };
        assert_eq!(told, expected, "{query}");
    }
    assert!(
        none > 1000 && one > 1000 && several > 1000 && refused > 1000,
        "{none} {one} {several} {refused}"
    );
}

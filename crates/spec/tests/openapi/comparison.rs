//! The comparison itself.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    files::{Files, Schema},
    table::{self, Entry, Kind},
};

const NOT_RUN: &str = "NOT RUN: there are no OpenAPI files; set CAPIF_OPENAPI to the folder that holds TS29222_*.yaml";

#[test]
fn types_are_those_of_the_published_files() {
    let Some(files) = Files::find() else {
        println!("{NOT_RUN}");
        return;
    };
    let mut complaints = Vec::new();
    for entry in table::entries() {
        let schema = files.schema(entry.file, entry.schema);
        for complaint in compare(&files, &schema, &entry) {
            complaints.push(format!("{}: {complaint}", entry.schema));
        }
    }
    complaints.extend(missing_entries(&files));
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Every schema of the CAPIF files is compared, or excused.
fn missing_entries(files: &Files) -> Vec<String> {
    let published: BTreeSet<(String, String)> = files.capif_schemas();
    assert_eq!(published.len(), 75, "the number of schemas in V19.5.0");
    let entries = table::entries();
    let known: BTreeSet<(String, String)> = entries
        .iter()
        .map(|entry| (entry.file, entry.schema))
        .chain(
            table::EXCUSED
                .iter()
                .map(|(file, schema, _)| (*file, *schema)),
        )
        .map(|(file, schema)| (file.to_owned(), schema.to_owned()))
        .collect();
    published
        .difference(&known)
        .map(|(file, schema)| {
            format!("{file} has schema {schema}, which is neither compared nor excused")
        })
        .collect()
}

fn compare(files: &Files, schema: &Schema, entry: &Entry) -> Vec<String> {
    match &entry.kind {
        Kind::Object { example, misses } => {
            compare_object(files, schema, entry.schema, example, *misses)
        }
        Kind::Enumeration(known) => {
            let published = schema.enumeration();
            let known: Vec<String> = known.iter().map(|value| (*value).to_owned()).collect();
            if published == known {
                Vec::new()
            } else {
                vec![format!("values {known:?}, published {published:?}")]
            }
        }
    }
}

fn compare_object(
    files: &Files,
    schema: &Schema,
    schema_name: &str,
    example: &Map<String, Value>,
    misses: fn(Value) -> Option<String>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    let published = files.properties(schema);
    let required = schema.required();
    for (name, property) in &published {
        let Some(value) = example.get(name) else {
            complaints.push(format!("member {name} is missing"));
            continue;
        };
        let wanted = files.json_type(property);
        let excused = table::OTHER_TYPE
            .iter()
            .any(|(schema, member, _)| *schema == schema_name && member == name);
        if let Some(wanted) = wanted
            && !excused
            && wanted != json_type(value)
        {
            complaints.push(format!(
                "member {name} is {}, published {wanted}",
                json_type(value)
            ));
        }
        let mut document = example.clone();
        document.remove(name);
        let missed = misses(Value::Object(document));
        match (required.contains(name), missed) {
            (true, Some(member)) if member == *name => {}
            (false, None) => {}
            (true, other) => {
                complaints.push(format!("{name} is mandatory, but left out: {other:?}"))
            }
            (false, other) => {
                complaints.push(format!("{name} is optional, but left out: {other:?}"))
            }
        }
    }
    for name in example.keys() {
        let excused = table::ADDED
            .iter()
            .any(|(schema, members, _)| *schema == schema_name && members.contains(&name.as_str()));
        if !published.contains_key(name) && !excused {
            complaints.push(format!("member {name} is not published"));
        }
    }
    if let Some(member) = misses(Value::Object(example.clone())) {
        complaints.push(format!("the example itself misses {member}"));
    }
    complaints
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[test]
fn values_of_members_of_a_token_are_those_of_the_published_files() {
    use capif_spec::security::{AccessTokenError, AccessTokenReq, AccessTokenRsp};

    let Some(files) = Files::find() else {
        println!("{NOT_RUN}");
        return;
    };
    let published = |schema: &str, member: &str| {
        let schema = files.schema("TS29222_CAPIF_Security_API.yaml", schema);
        schema.property(member).enumeration()
    };
    assert_eq!(
        published("AccessTokenReq", "grant_type"),
        AccessTokenReq::GRANT_TYPES
    );
    assert_eq!(
        published("AccessTokenRsp", "token_type"),
        [AccessTokenRsp::BEARER]
    );
    assert_eq!(
        published("AccessTokenErr", "error"),
        AccessTokenError::KNOWN
    );
}

#[test]
fn an_audit_answer_is_one_log_or_several() {
    use capif_spec::{auditing::InvocationLogsRetrieveRes as Answer, json};

    let one = r#"{"aefId":"a","apiInvokerId":"i","logs":[]}"#;
    let several = format!(r#"{{"multipleInvocationLogs":[{one}]}}"#);
    let read = |text: &str| json::from_slice::<Answer>(text.as_bytes());
    assert!(matches!(read(one), Ok(Answer::One(_))));
    assert!(matches!(read(&several), Ok(Answer::Several(_))));
    for text in [one, &several] {
        let written = serde_json::to_string(&read(text).unwrap()).unwrap();
        assert_eq!(written, *text);
    }
    assert!(read("{}").is_err());
    assert!(read("[]").is_err());
}

//! What the operator's API offers, as an OpenAPI document that is made of the table.

use serde_json::{Map, Value, json};

use super::operations::{Door, Names, Operation, Right, TABLES, answer};

pub(super) const OPERATIONS: &[Operation] =
    &[Operation::get("/openapi.json", "this description", |_| {
        answer(async { Ok(description()) })
    })];

fn description() -> Value {
    let mut paths = Map::new();
    for operation in TABLES.iter().copied().flatten() {
        let path = paths
            .entry(operation.path)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(path) = path {
            path.insert(operation.method.to_ascii_lowercase(), row(operation));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "CAPIF core function: operator's API",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "operator": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "operator": [] }],
    })
}

fn row(operation: &Operation) -> Value {
    let in_path = operation.path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({
            "name": name,
            "in": "path",
            "required": true,
            "schema": { "type": "string" },
        }))
    });
    let in_query = operation.query.iter().map(|(name, what)| {
        json!({
            "name": name,
            "in": "query",
            "description": what,
            "schema": { "type": "string" },
        })
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let needs = match (operation.door, operation.right) {
        (Door::Folder, _) => "the socket in the core function's folder",
        (Door::Any, Right::Read) => "a credential",
        (Door::Any, Right::Write) => "a credential that is not for looking only",
    };
    let mut row = json!({
        "operationId": id(operation),
        "summary": operation.what,
        "description": format!("Needs {needs}."),
        "parameters": parameters,
        "responses": {
            "2XX": { "description": "done" },
            "default": {
                "description": "refused",
                "content": { "application/problem+json": {} },
            },
        },
    });
    if !operation.body.is_empty()
        && let Value::Object(row) = &mut row
    {
        row.insert("requestBody".to_owned(), body(operation.body));
    }
    row
}

/// `GET /audit/head` becomes `getAuditHead`.
fn id(operation: &Operation) -> String {
    let mut id = operation.method.to_ascii_lowercase();
    for word in operation.path.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut letters = word.chars();
        id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        id.push_str(letters.as_str());
    }
    id
}

fn body(members: Names) -> Value {
    let properties: Map<String, Value> = members
        .iter()
        .map(|(name, what)| ((*name).to_owned(), json!({ "description": what })))
        .collect();
    json!({
        "required": true,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": properties,
                    "additionalProperties": false,
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_is_described_under_a_name_of_its_own() {
        let description = description();
        let mut ids = BTreeSet::new();
        for operation in TABLES.iter().copied().flatten() {
            let method = operation.method.to_ascii_lowercase();
            let row = &description["paths"][operation.path][&method];
            let id = row["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id}");
            assert_eq!(row["summary"], operation.what);
            let parameters = operation.path.matches('{').count() + operation.query.len();
            assert_eq!(row["parameters"].as_array().unwrap().len(), parameters);
            assert_eq!(row["requestBody"].is_null(), operation.body.is_empty());
        }
        assert_eq!(
            description["paths"]["/audit/head"]["get"]["operationId"],
            "getAuditHead"
        );
        assert_eq!(
            description["paths"]["/operators"]["post"]["description"],
            "Needs the socket in the core function's folder."
        );
    }
}

//! The published descriptions of TS 29.222 annex A: which operations there are, what each may answer, and whether a document fits.
//!
//! They are 3GPP's and not part of this repository. The tests look for them in the folder that the environment variable
//! `CAPIF_OPENAPI` names, else beside the repository, and say so if there are none.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
};

use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

/// One operation or callback.
#[derive(Debug)]
pub(super) struct Described {
    /// The operationId; of a callback the name of its schema.
    pub(super) id: String,
    /// The path with the API's name and version in front; empty for a callback.
    pub(super) path: String,
    /// Its parameters beside those in the path.
    pub(super) parameters: Vec<Value>,
    /// Media type and schema of what it takes.
    pub(super) takes: Option<(String, Value)>,
    /// By status, the last of which may be `default`.
    pub(super) answers: BTreeMap<String, Value>,
    file: usize,
}

pub(super) struct Descriptions {
    files: Vec<Value>,
    pub(super) operations: Vec<Described>,
    pub(super) callbacks: Vec<Described>,
    validators: Mutex<BTreeMap<(usize, String), Arc<Validator>>>,
}

static FOUND: LazyLock<Option<Descriptions>> = LazyLock::new(Descriptions::read);

impl Descriptions {
    /// The descriptions; says that a test did not run if they are not there.
    pub(super) fn find(test: &str) -> Option<&'static Self> {
        let found = FOUND.as_ref();
        if found.is_none() {
            eprintln!(
                "NOT RUN: {test}: the OpenAPI descriptions of TS 29.222 are not there; name their folder in CAPIF_OPENAPI"
            );
        }
        found
    }

    fn read() -> Option<Self> {
        let folder = env::var_os("CAPIF_OPENAPI").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/openapi"),
            PathBuf::from,
        );
        let entries = fs::read_dir(folder.join("bundled")).ok()?;
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|kind| kind == "yaml"));
        paths.sort();
        let mut found = Self {
            files: Vec::new(),
            operations: Vec::new(),
            callbacks: Vec::new(),
            validators: Mutex::default(),
        };
        for path in paths {
            let mut file: Value = yaml_serde::from_str(&fs::read_to_string(path).unwrap()).unwrap();
            nullable(&mut file);
            found.take(file);
        }
        assert_eq!(found.operations.len(), 32);
        assert_eq!(found.callbacks.len(), 3);
        Some(found)
    }

    fn take(&mut self, file: Value) {
        let number = self.files.len();
        let base = file["servers"][0]["url"].as_str().unwrap();
        let base = base.strip_prefix("{apiRoot}").unwrap();
        for (path, item) in file["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                let id = operation["operationId"].as_str().unwrap();
                let described = described(&file, number, id, operation);
                for (_, callback) in operation["callbacks"].as_object().into_iter().flatten() {
                    let (_, callback) = callback.as_object().unwrap().iter().next().unwrap();
                    let mut callback = described_callback(&file, number, &callback["post"]);
                    callback.path = String::new();
                    self.callbacks.push(callback);
                }
                self.operations.push(Described {
                    path: format!("{base}{path}"),
                    ..described
                });
            }
        }
        self.files.push(file);
    }

    /// An operation by its id.
    pub(super) fn operation(&self, id: &str) -> Option<&Described> {
        self.operations.iter().find(|operation| operation.id == id)
    }

    /// A callback by the name of what it carries.
    pub(super) fn callback(&self, schema: &str) -> &Described {
        let found = self.callbacks.iter().find(|callback| callback.id == schema);
        found.unwrap_or_else(|| panic!("no callback carries {schema}"))
    }

    /// What is wrong with a document by a schema of the file that describes an operation.
    pub(super) fn mistakes(&self, of: &Described, schema: &Value, document: &Value) -> Vec<String> {
        let key = (of.file, schema.to_string());
        let validator = Arc::clone(
            self.validators
                .lock()
                .unwrap()
                .entry(key)
                .or_insert_with(|| Arc::new(self.validator(of.file, schema))),
        );
        validator
            .iter_errors(document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    fn validator(&self, file: usize, schema: &Value) -> Validator {
        let whole = json!({ "allOf": [schema], "components": self.files[file]["components"] });
        // Schemas of OpenAPI 3.0 are those of draft 4 but for `nullable`, which was taken out before.
        jsonschema::options()
            .with_draft(Draft::Draft4)
            .should_validate_formats(true)
            .build(&whole)
            .unwrap()
    }

    /// The schema that a reference names, or the schema itself.
    pub(super) fn resolved<'a>(&'a self, of: &Described, schema: &'a Value) -> &'a Value {
        resolved(&self.files[of.file], schema)
    }
}

fn described(file: &Value, number: usize, id: &str, operation: &Value) -> Described {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let takes = operation["requestBody"]["content"]
        .as_object()
        .and_then(|content| content.iter().next())
        .map(|(media, content)| (media.clone(), content["schema"].clone()));
    let answers = operation["responses"].as_object().unwrap().iter();
    Described {
        id: id.to_owned(),
        path: String::new(),
        parameters: parameters
            .map(|parameter| resolved(file, parameter).clone())
            .filter(|parameter| parameter["in"] != "path")
            .collect(),
        takes,
        answers: answers
            .map(|(status, answer)| (status.clone(), resolved(file, answer).clone()))
            .collect(),
        file: number,
    }
}

fn described_callback(file: &Value, number: usize, operation: &Value) -> Described {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    let name = schema.as_str().unwrap().rsplit('/').next().unwrap();
    described(file, number, name, operation)
}

fn resolved<'a>(file: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let target = file.pointer(reference.trim_start_matches('#')).unwrap();
            resolved(file, target)
        }
        None => value,
    }
}

/// Says in the way of JSON Schema that a value may be `null`.
fn nullable(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.get("nullable") == Some(&Value::Bool(true)) {
                members.remove("nullable");
                let kind = members.remove("type").unwrap();
                members.insert("type".to_owned(), json!([kind, "null"]));
            }
            members.values_mut().for_each(nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(nullable),
        _ => {}
    }
}

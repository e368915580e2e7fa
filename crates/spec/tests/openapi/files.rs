//! The OpenAPI files and what they say about a schema.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    env, fs,
    path::{Path, PathBuf},
    rc::Rc,
};

use serde_json::Value;

/// The folder of the files; each is read once.
pub(crate) struct Files {
    folder: PathBuf,
    read: RefCell<HashMap<String, Rc<Value>>>,
}

/// A schema and the file that it stands in, to which its references are relative.
pub(crate) struct Schema {
    file: String,
    body: Value,
}

impl Files {
    /// The folder, if it is there.
    pub(crate) fn find() -> Option<Self> {
        let folder = env::var_os("CAPIF_OPENAPI").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/openapi"),
            PathBuf::from,
        );
        folder.is_dir().then(|| Self {
            folder,
            read: RefCell::default(),
        })
    }

    fn file(&self, name: &str) -> Rc<Value> {
        if let Some(file) = self.read.borrow().get(name) {
            return Rc::clone(file);
        }
        let text = fs::read_to_string(self.folder.join(name)).unwrap();
        let file: Rc<Value> = Rc::new(yaml_serde::from_str(&text).unwrap());
        self.read
            .borrow_mut()
            .insert(name.to_owned(), Rc::clone(&file));
        file
    }

    /// File and name of every schema of TS 29.222.
    pub(crate) fn capif_schemas(&self) -> BTreeSet<(String, String)> {
        let names = fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("TS29222_") && name.ends_with(".yaml"));
        let mut schemas = BTreeSet::new();
        for name in names {
            let file = self.file(&name);
            let defined = file["components"]["schemas"].as_object().unwrap();
            schemas.extend(defined.keys().map(|schema| (name.clone(), schema.clone())));
        }
        schemas
    }

    /// A schema by file and name.
    pub(crate) fn schema(&self, file: &str, name: &str) -> Schema {
        let body = self.file(file)["components"]["schemas"][name].clone();
        assert!(body.is_object(), "{file} has no schema {name}");
        Schema {
            file: file.to_owned(),
            body,
        }
    }

    /// What a schema refers to, if that is all it says; else itself.
    fn resolve(&self, schema: &Schema) -> Schema {
        let Some(reference) = schema.body["$ref"].as_str() else {
            return Schema {
                file: schema.file.clone(),
                body: schema.body.clone(),
            };
        };
        let (file, pointer) = reference.split_once('#').unwrap();
        let file = if file.is_empty() { &schema.file } else { file };
        let body = self.file(file).pointer(pointer).unwrap().clone();
        self.resolve(&Schema {
            file: file.to_owned(),
            body,
        })
    }

    /// The members of an object, those of its parts included.
    pub(crate) fn properties(&self, schema: &Schema) -> BTreeMap<String, Schema> {
        let within = |body: &Value| Schema {
            file: schema.file.clone(),
            body: body.clone(),
        };
        let mut properties = BTreeMap::new();
        for part in schema.body["allOf"].as_array().into_iter().flatten() {
            properties.extend(self.properties(&self.resolve(&within(part))));
        }
        for (name, property) in schema.body["properties"].as_object().into_iter().flatten() {
            properties.insert(name.clone(), within(property));
        }
        properties
    }

    /// The JSON type of a value; none if it may be anything.
    pub(crate) fn json_type(&self, schema: &Schema) -> Option<String> {
        let schema = self.resolve(schema);
        if let Some(name) = schema.body["type"].as_str() {
            return Some(name.to_owned());
        }
        let first = &schema.body["anyOf"][0]["type"];
        if let Some(name) = first.as_str() {
            return Some(name.to_owned());
        }
        schema.body["properties"]
            .is_object()
            .then(|| "object".to_owned())
    }
}

impl Schema {
    /// The names of mandatory members.
    pub(crate) fn required(&self) -> BTreeSet<String> {
        texts(&self.body["required"]).into_iter().collect()
    }

    /// The values of an enumeration, open, closed, or of the property named.
    pub(crate) fn enumeration(&self) -> Vec<String> {
        let open = &self.body["anyOf"][0]["enum"];
        texts(if open.is_array() {
            open
        } else {
            &self.body["enum"]
        })
    }

    /// The schema of a member.
    pub(crate) fn property(&self, name: &str) -> Self {
        Self {
            file: self.file.clone(),
            body: self.body["properties"][name].clone(),
        }
    }
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

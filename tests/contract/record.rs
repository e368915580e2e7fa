//! What was asked and answered, held against the descriptions: the status is one that the operation has, the body is of its media
//! type and fits its schema, the headers are there. What was seen is counted, and what was not is listed in `unvisited.txt`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use super::descriptions::{Described, Descriptions};
use crate::support::wire::Answer;

/// Operation and status.
pub(super) type Pair = (String, String);

/// What may be seen no other way, by status: who, and why not.
const UNVISITED: &str = include_str!("unvisited.txt");

pub(super) struct Record {
    pub(super) descriptions: &'static Descriptions,
    visited: Mutex<BTreeSet<Pair>>,
    mistakes: Mutex<Vec<String>>,
}

impl Record {
    pub(super) fn new(descriptions: &'static Descriptions) -> Self {
        Self {
            descriptions,
            visited: Mutex::default(),
            mistakes: Mutex::default(),
        }
    }

    /// Takes an answer down.
    pub(super) fn answered(&self, id: &str, what: &str, answer: &Answer) {
        let Some(described) = self.descriptions.operation(id) else {
            return;
        };
        let (status, mistakes) = self.check(described, answer);
        self.visited.lock().unwrap().insert((id.to_owned(), status));
        let mistakes = mistakes
            .into_iter()
            .map(|mistake| format!("{id}, {what}, {}: {mistake}", answer.status.as_u16()));
        self.mistakes.lock().unwrap().extend(mistakes);
    }

    /// Notes something that is not as it must be.
    pub(super) fn mistake(&self, text: String) {
        self.mistakes.lock().unwrap().push(text);
    }

    fn check(&self, described: &Described, answer: &Answer) -> (String, Vec<String>) {
        let mut mistakes = Vec::new();
        let number = answer.status.as_u16().to_string();
        let (status, shape) = match described.answers.get(&number) {
            Some(shape) => (number, shape),
            None => ("default".to_owned(), &described.answers["default"]),
        };
        let media = answer
            .headers
            .get("content-type")
            .map(|value| value.to_str().unwrap().to_owned());
        if status == "default" {
            if !answer.status.is_client_error() {
                mistakes.push("is not described".to_owned());
            }
            // The description leaves the body open; ours is the same problem as everywhere.
            answer.cause();
            return (status, mistakes);
        }
        match shape["content"].as_object() {
            // None is described; ours says in words where it leads, for those who are not sent on by themselves.
            None if answer.status.is_redirection() => drop(answer.cause()),
            None if !answer.body.is_empty() => mistakes.push("has a body".to_owned()),
            None => {}
            Some(content) => {
                let media = media.unwrap_or_default();
                match content.get(&media) {
                    None => mistakes.push(format!("is of type `{media}`")),
                    Some(content) => {
                        let body = answer.json();
                        mistakes.extend(self.descriptions.mistakes(
                            described,
                            &content["schema"],
                            &body,
                        ));
                    }
                }
            }
        }
        for (name, header) in shape["headers"].as_object().into_iter().flatten() {
            if header["required"] == true && !answer.headers.contains_key(name.as_str()) {
                mistakes.push(format!("has no {name}"));
            }
        }
        (status, mistakes)
    }

    /// Every mistake so far, none of which there may be.
    #[track_caller]
    pub(super) fn assert_no_mistakes(&self) {
        let mistakes = self.mistakes.lock().unwrap();
        let few: Vec<&String> = mistakes.iter().take(60).collect();
        assert!(mistakes.is_empty(), "{}: {few:#?}", mistakes.len());
    }

    /// Compares what was not visited with the list, line by line.
    #[track_caller]
    pub(super) fn assert_unvisited_are_listed(&self) {
        let visited = self.visited.lock().unwrap();
        let mut all = BTreeSet::new();
        for operation in &self.descriptions.operations {
            for status in operation.answers.keys() {
                all.insert((operation.id.clone(), status.clone()));
            }
        }
        let listed = self.listed();
        let missed: BTreeSet<Pair> = all.difference(&visited).cloned().collect();
        let unlisted: Vec<&Pair> = missed.difference(&listed).collect();
        let stale: Vec<&Pair> = listed.difference(&missed).collect();
        assert!(
            unlisted.is_empty() && stale.is_empty(),
            "{} of {} visited\nneither visited nor listed in unvisited.txt: {}\nlisted there without need: {}",
            all.len() - missed.len(),
            all.len(),
            by_status(&unlisted),
            by_status(&stale)
        );
    }

    /// The pairs of the list. A line is `status operation … : reason`; `*` stands for every operation that has the status.
    fn listed(&self) -> BTreeSet<Pair> {
        let mut listed = BTreeSet::new();
        for line in UNVISITED.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (pairs, reason) = line.split_once(" : ").unwrap_or_else(|| panic!("{line}"));
            assert!(reason.len() > 10, "no reason: {line}");
            let mut words = pairs.split_whitespace();
            let status = words.next().unwrap();
            for word in words {
                if word == "*" {
                    let having = self.descriptions.operations.iter();
                    let having = having.filter(|operation| operation.answers.contains_key(status));
                    listed
                        .extend(having.map(|operation| (operation.id.clone(), status.to_owned())));
                } else {
                    let operation = self.descriptions.operation(word);
                    let known = operation.is_some_and(|found| found.answers.contains_key(status));
                    assert!(known, "{word} has no {status}");
                    let new = listed.insert((word.to_owned(), status.to_owned()));
                    assert!(new, "{word} {status} is listed twice");
                }
            }
        }
        listed
    }
}

fn by_status(pairs: &[&Pair]) -> String {
    let mut by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, status) in pairs {
        by.entry(status).or_default().push(id);
    }
    by.into_iter()
        .map(|(status, ids)| format!("\n{status} {}", ids.join(" ")))
        .collect()
}

//! What a workload is told.

use std::str::FromStr;

/// Pairs of `--name value`.
pub struct Arguments(Vec<(String, String)>);

impl Arguments {
    pub fn new(words: &[String]) -> Self {
        let pairs = words.chunks(2).map(|pair| match pair {
            [name, value] => (name.clone(), value.clone()),
            _ => panic!("{} needs a value", pair[0]),
        });
        Self(pairs.collect())
    }

    /// The value of an argument, or what counts without it.
    pub fn get<T: FromStr>(&self, name: &str, default: T) -> T {
        let value = self.0.iter().find(|(known, _)| known == name);
        match value {
            None => default,
            Some((_, text)) => text
                .parse()
                .unwrap_or_else(|_| panic!("{text} is no value for {name}")),
        }
    }
}

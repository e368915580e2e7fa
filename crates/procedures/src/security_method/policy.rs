//! What the operator allows.

use std::collections::BTreeMap;

use capif_spec::publish_service::SecurityMethod;

/// The local policy of TS 33.122 clause 6.3.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The methods that may be selected, the preferred one first.
    pub methods: Vec<SecurityMethod>,
    /// The same for single APIs, by name, in the place of `methods`; an empty list allows none.
    pub by_api: BTreeMap<String, Vec<SecurityMethod>>,
    /// Whether every access token is bound to the invoker's certificate (RFC 8705), wherever it goes.
    pub certificate_bound_tokens: bool,
    /// Whether access tokens are signed with RS256, as deployed AEFs ask for, and not with ES256.
    pub rsa_tokens: bool,
}

impl Policy {
    /// The algorithm by which access tokens are signed (RFC 7518 section 3.1).
    pub(crate) fn token_algorithm(&self) -> &'static str {
        if self.rsa_tokens { "RS256" } else { "ES256" }
    }

    /// The methods of one API.
    fn of_api(&self, name: &str) -> &[SecurityMethod] {
        self.by_api.get(name).unwrap_or(&self.methods)
    }

    /// Whether a method may be used for an API.
    pub(super) fn allows(&self, name: &str, method: &SecurityMethod) -> bool {
        self.of_api(name).contains(method)
    }

    /// Whether no method at all may be used for an API.
    pub(super) fn closes(&self, name: &str) -> bool {
        self.of_api(name).is_empty()
    }

    /// The methods that are allowed for every one of some APIs. Where their lists differ in order, the general one counts.
    pub(super) fn of_apis<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<SecurityMethod> {
        let mut lists: Vec<&[SecurityMethod]> = Vec::new();
        for list in names.map(|name| self.of_api(name)) {
            if !lists.contains(&list) {
                lists.push(list);
            }
        }
        let Some((first, others)) = lists.split_first() else {
            return Vec::new();
        };
        let mut common = first.to_vec();
        common.retain(|method| others.iter().all(|list| list.contains(method)));
        if !others.is_empty() {
            let place = |method: &SecurityMethod| {
                self.methods
                    .iter()
                    .position(|known| known == method)
                    .unwrap_or(usize::MAX)
            };
            // The words settle what the general list leaves open, so that the order of the APIs never does.
            common.sort_by(|one, other| {
                place(one)
                    .cmp(&place(other))
                    .then_with(|| one.as_str().cmp(other.as_str()))
            });
        }
        common
    }
}

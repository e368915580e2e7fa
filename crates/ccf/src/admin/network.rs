//! The operator's API over the network (P-37): always over TLS, for holders of a credential, and for no web page.
//!
//! There is no credential to begin with, and no way over the network to the first one. A page in a browser that reaches this
//! listener, by whatever name, is refused before anything is looked at: no request of ours carries `Origin`, and the host must be one
//! that the certificate names. Nothing is answered that would let a page read it.

use std::net::IpAddr;

use capif_procedures::{operator, refusal::Refusal};
use capif_spec::common::DateTime;
use capif_transport::Connection;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use super::{
    operations::{Door, Operation, Right},
    operators::digest_of,
};
use crate::{
    api::{bearer, failures::Failures, problem::ApiError},
    audit::{Act, Operator},
    core::Core,
};

/// What every answer carries, so that a browser does nothing with it.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The door to the network.
pub(super) struct Network {
    /// The names and addresses of the core function.
    hosts: Vec<String>,
    /// Wrong tokens, by where they came from.
    failures: Failures,
}

/// Who asks, and what it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) name: String,
    right: Right,
}

impl Network {
    pub(super) fn new(hosts: Vec<String>) -> Self {
        Self {
            hosts,
            failures: Failures::default(),
        }
    }

    /// Refuses what a page in a browser may have sent.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        if headers.contains_key(header::ORIGIN) {
            return Err(ApiError::WebPage);
        }
        let mut given = headers.get_all(header::HOST).iter();
        let named = match (given.next(), given.next()) {
            (Some(host), None) => host.to_str().ok().and_then(|host| host.parse().ok()),
            (Some(_), Some(_)) => return Err(ApiError::OtherHost),
            // HTTP/2 has it in the address.
            (None, _) => uri.authority().cloned(),
        };
        let is_ours = |authority: &http::uri::Authority| {
            let host = authority.host();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
        };
        match (named, uri.authority()) {
            (Some(named), other) if is_ours(&named) && other.is_none_or(is_ours) => Ok(()),
            _ => Err(ApiError::OtherHost),
        }
    }

    /// Who asks. A wrong token is counted; a right one is right at any time, so that nobody locks the operator out by guessing.
    pub(super) fn identify(
        &self,
        core: &Core,
        headers: &HeaderMap,
        connection: &Connection,
    ) -> Result<Holder, ApiError> {
        let token = digest_of(bearer(headers)?);
        let now = core.clock.now();
        let refusal = {
            let records = core.view.read();
            match operator::recognise(&token, records.operators(), &DateTime(now)) {
                Ok(credential) => {
                    let right = match credential.read_only {
                        true => Right::Read,
                        false => Right::Write,
                    };
                    return Ok(Holder {
                        name: credential.name.clone(),
                        right,
                    });
                }
                Err(refusal) => refusal,
            }
        };
        let from = neighbourhood(connection.remote.ip());
        if let Some(seconds) = self.failures.must_wait(&from, now) {
            return Err(ApiError::SecretsExhausted(seconds));
        }
        self.failures.count(&from, now);
        Err(refusal.into())
    }
}

impl Holder {
    /// Lets it through to an operation, or says why not.
    pub(super) fn may(&self, operation: &Operation) -> Result<(), ApiError> {
        if operation.right > self.right {
            return Err(ApiError::ReadOnly);
        }
        match operation.door {
            Door::Any => Ok(()),
            Door::Folder => Err(ApiError::NotFromAfar),
        }
    }
}

/// Where guesses count together: an address, or the network that one household of IPv6 has.
fn neighbourhood(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64;
            format!("{network:x}/64")
        }
    }
}

/// Adds what every answer carries.
pub(super) fn guard(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The act that was refused, if the audit trail is to know of it.
pub(super) fn noteworthy(
    error: &ApiError,
    who: &Operator,
    path: &str,
    connection: &Connection,
) -> Option<Act> {
    let what = match error {
        ApiError::Refused(Refusal::CredentialRefused) => "credential refused",
        ApiError::Refused(Refusal::CredentialExpired) => "credential outside its time",
        ApiError::ReadOnly => "for looking only",
        ApiError::NotFromAfar => "in the folder only",
        _ => return None,
    };
    let request_id = &who.request_id;
    let who = match &who.name {
        Some(_) => who.to_string(),
        None => "anonymous".to_owned(),
    };
    let detail = format!("{what}; from {}", connection.remote);
    let act = Act::by_caller(&who, "Operate", request_id, path);
    Some(act.detail(detail).refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, hosts: &[&str], origin: Option<&str>) -> Result<(), ApiError> {
        let network = Network::new(vec![
            "localhost".to_owned(),
            "::1".to_owned(),
            "ccf.example".to_owned(),
        ]);
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::try_from(*host).unwrap());
        }
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::try_from(origin).unwrap());
        }
        network.check(&uri.parse().unwrap(), &headers)
    }

    #[test]
    fn a_page_is_refused_whatever_name_it_uses() {
        for (uri, hosts) in [
            ("/invokers", vec!["localhost:8482"]),
            ("/invokers", vec!["LOCALHOST"]),
            ("/invokers", vec!["[::1]:8482"]),
            ("https://ccf.example:8482/invokers", vec![]),
            ("https://ccf.example/invokers", vec!["ccf.example"]),
        ] {
            assert!(check(uri, &hosts, None).is_ok(), "{uri} {hosts:?}");
            for origin in ["https://ccf.example", "null", ""] {
                assert!(matches!(
                    check(uri, &hosts, Some(origin)),
                    Err(ApiError::WebPage)
                ));
            }
        }
        for (uri, hosts) in [
            ("/invokers", vec![]),
            ("/invokers", vec!["evil.example"]),
            ("/invokers", vec!["evil.example:8482"]),
            ("/invokers", vec!["localhost@evil.example"]),
            ("/invokers", vec!["localhost.evil.example"]),
            ("/invokers", vec!["localhost", "evil.example"]),
            ("https://evil.example/invokers", vec!["localhost"]),
            ("https://evil.example/invokers", vec![]),
        ] {
            assert!(
                matches!(check(uri, &hosts, None), Err(ApiError::OtherHost)),
                "{uri} {hosts:?}"
            );
        }
    }

    #[test]
    fn who_may_look_may_not_act_and_nobody_makes_operators_from_afar() {
        let holder = |right| Holder {
            name: "amy".to_owned(),
            right,
        };
        let tables = super::super::operations::TABLES.iter().copied();
        for operation in tables.flatten() {
            let (looks, acts) = (holder(Right::Read), holder(Right::Write));
            let is_get = operation.method == "GET";
            assert_eq!(looks.may(operation).is_ok(), is_get, "{}", operation.path);
            let makes = operation.path.starts_with("/operators") && !is_get;
            assert_eq!(acts.may(operation).is_ok(), !makes, "{}", operation.path);
        }
    }

    #[test]
    fn guesses_of_one_household_count_together() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}

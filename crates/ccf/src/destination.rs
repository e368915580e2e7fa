//! Where notifications go (P-34). A destination is judged when somebody asks for it, again each time that something is sent there,
//! and so is every place that it redirects to; then the address is judged that is about to be dialled.
//!
//! There are two ways. A function of a provider may be notified at the hosts of its own domain: those for which AEFs of the domain
//! are certified, and where an AEF's certificate of the CAPIF authority is shown. Everybody else, and everything else, is notified
//! where the operator lets callbacks go, and believed by the anchors that the operator names. Neither: nobody is asked anything.
//!
//! Beside both, and off unless the operator lists places: without TLS, to deployed receivers that know nothing else. What becomes of
//! an enrolment holds a certificate and an Onboard_Secret, and never goes that way.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use capif_procedures::{changes::Changes, delivery, refusal::Refusal, state::Role};
use capif_spec::common::{ApiInvokerId, Uri, WebsockNotifConfig};
use http::Uri as HttpUri;

use crate::{config::Place, core::Core, view::Records};

/// The longest address that a receiver may redirect to.
const LOCATION_BYTES_MAX: usize = 2048;

/// Of how many places the log says that nothing is sent there.
const UNTOLD_MAX: usize = 1000;

/// By which means somebody is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// An AEF of the receiver's own domain.
    Own,
    /// A host to which the operator lets callbacks go.
    Allowed,
    /// The same without TLS.
    Insecure,
}

/// What a message is about, and so whether it may be seen on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// An event, a revocation or a test.
    Notice,
    /// What becomes of an enrolment: once it is approved, its certificate and its Onboard_Secret.
    Enrolment,
}

/// Places of which the log has said that nothing is sent there, and why.
#[derive(Debug, Default)]
pub(crate) struct Untold(Mutex<HashSet<String>>);

impl Untold {
    fn is_new(&self, reason: &str) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.len() < UNTOLD_MAX && said.insert(reason.to_owned())
    }
}

impl Core {
    /// In which ways a receiver may be told of something at a destination; none if it may not.
    pub(crate) fn ways(
        &self,
        records: &Records,
        receiver: &str,
        destination: &str,
        content: Content,
    ) -> Vec<Way> {
        let Some(place) = Place::of(destination) else {
            return Vec::new();
        };
        let is_listed = self.config.callbacks.lets(&place);
        if !place.is_secure() {
            let may_go = is_listed && content == Content::Notice;
            return may_go.then_some(Way::Insecure).into_iter().collect();
        }
        let own = is_own(records, receiver, &place).then_some(Way::Own);
        let allowed = is_listed.then_some(Way::Allowed);
        own.into_iter().chain(allowed).collect()
    }

    /// Refuses a destination at which a receiver is never told of such a thing.
    ///
    /// # Errors
    /// Says what can be done about it.
    pub(crate) fn judge_destination(
        &self,
        records: &Records,
        receiver: &str,
        destination: &Uri,
        content: Content,
    ) -> Result<(), Refusal> {
        let text = destination.as_str();
        let refused = |reason| Err(Refusal::incorrect("/notificationDestination", reason));
        if !["https://", "http://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
        {
            return refused("notifications are delivered over https");
        }
        if !self.ways(records, receiver, text, content).is_empty() {
            return Ok(());
        }
        match (text.starts_with("https://"), content) {
            (true, _) => Err(Refusal::DestinationNotAllowed),
            (false, Content::Notice) => refused(
                "notifications are delivered over https; without TLS only where the operator adds host and port to \
                 `callbacks.insecure_http`",
            ),
            (false, Content::Enrolment) => {
                refused("what becomes of an enrolment is delivered over https only")
            }
        }
    }

    /// Says in the log why nothing is sent to a destination and what would change that, once for each place.
    pub(crate) fn say_untold(&self, destination: &str, content: Content) {
        let Some(place) = Place::of(destination) else {
            return;
        };
        let reason = match (place.is_secure(), content) {
            (true, _) => format!(
                "nothing is sent to https://{place}: `allow = [\"{place}\"]` under [callbacks] would change that"
            ),
            (false, Content::Notice) => format!(
                "nothing is sent to http://{place}: `insecure_http = [\"{place}\"]` under [callbacks] would change that, and have \
                 notifications travel without TLS"
            ),
            (false, Content::Enrolment) => format!(
                "nothing is sent to http://{place} of what becomes of enrolments, since that never travels without TLS: the API \
                 invoker sends its request again"
            ),
        };
        if self.untold.is_new(&reason) {
            tracing::warn!("{reason}");
        }
    }

    /// Sends a test notification of a resource of an API invoker, where it is to be told of that. `link` is the resource's path.
    ///
    /// # Errors
    /// As [`Core::judge_destination`], unless a WebSocket leads there.
    pub(crate) fn test_way(
        &self,
        records: &Records,
        changes: &mut Changes,
        invoker: &ApiInvokerId,
        (destination, websocket): (&Uri, Option<&WebsockNotifConfig>),
        (resource, path): (&str, &str),
    ) -> Result<(), Refusal> {
        let socket = websocket.and_then(|config| config.websocket_uri.as_ref());
        let content = match resource {
            delivery::ONBOARDING => Content::Enrolment,
            _ => Content::Notice,
        };
        if socket.is_none() {
            self.judge_destination(records, invoker.as_str(), destination, content)?;
        }
        let destination = socket.unwrap_or(destination);
        let link = format!("{}{path}", self.api_root);
        delivery::test_callback(changes, invoker, destination, resource, &link, &self.now());
        Ok(())
    }
}

/// Whether a place is at a host for which an AEF of the receiver's domain is certified.
fn is_own(records: &Records, receiver: &str, place: &Place) -> bool {
    let domain = records
        .function(receiver)
        .and_then(|held| records.domain(held.record.domain_id.as_str()));
    let Some(domain) = domain else { return false };
    let functions = domain.record.functions.iter();
    functions
        .filter_map(|id| records.function(id.as_str()))
        .filter(|held| held.record.role == Role::Aef)
        .flat_map(|held| held.record.hosts.iter())
        .any(|host| place.is_at(host))
}

/// Where a redirect leads (RFC 9110 section 10.2.2): an address of its own, or another path at the same place. From https never to
/// http.
pub(crate) fn redirected(from: &str, location: &str) -> Option<String> {
    if location.len() > LOCATION_BYTES_MAX {
        return None;
    }
    let base: HttpUri = from.parse().ok()?;
    let scheme = base.scheme_str()?;
    let is_plain = location.starts_with("http://") && scheme == "http";
    if location.starts_with("https://") || is_plain {
        return Some(location.to_owned());
    }
    let is_path = location.starts_with('/') && !location.starts_with("//");
    is_path.then_some(format!("{scheme}://{}{location}", base.authority()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCATIONS: [(&str, Option<&str>); 7] = [
        ("https://b.example/z", Some("https://b.example/z")),
        ("//b.example/z", None),
        ("z", None),
        ("HTTPS://b.example/", None),
        ("HTTP://b.example/", None),
        ("javascript:alert(1)", None),
        ("", None),
    ];

    #[test]
    fn redirects_are_absolute_or_paths() {
        for from in ["https://a.example:8443/x/y", "http://a.example:8443/x/y"] {
            for (location, expected) in LOCATIONS {
                let found = redirected(from, location);
                assert_eq!(found.as_deref(), expected, "{from} {location}");
            }
            assert_eq!(redirected(from, &format!("/{}", "x".repeat(4096))), None);
        }
    }

    #[test]
    fn redirects_lead_out_of_http_and_never_into_it() {
        let (secure, plain) = ("https://a.example:8443/x", "http://a.example:8080/x");
        for (from, location, expected) in [
            (secure, "/z?q=1", Some("https://a.example:8443/z?q=1")),
            (secure, "http://a.example:8443/z", None),
            (plain, "/z?q=1", Some("http://a.example:8080/z?q=1")),
            (plain, "http://b.example/z", Some("http://b.example/z")),
        ] {
            assert_eq!(
                redirected(from, location).as_deref(),
                expected,
                "{location}"
            );
        }
    }

    #[test]
    fn the_log_says_it_once_and_has_an_end() {
        let untold = Untold::default();
        assert!(untold.is_new("a"));
        assert!(!untold.is_new("a"));
        let more = (0..2 * UNTOLD_MAX).filter(|number| untold.is_new(&number.to_string()));
        assert_eq!(more.count(), UNTOLD_MAX - 1);
    }
}

//! Where notifications go (P-34). A destination is judged when somebody asks for it, again each time that something is sent there,
//! and so is every place that it redirects to; then the address is judged that is about to be dialled.
//!
//! There are two ways. A function of a provider may be notified at the hosts of its own domain: those for which AEFs of the domain
//! are certified, and where an AEF's certificate of the CAPIF authority is shown. Everybody else, and everything else, is notified
//! where the operator lets callbacks go, and believed by the anchors that the operator names. Neither: nobody is asked anything.

use capif_procedures::{changes::Changes, delivery, refusal::Refusal, state::Role};
use capif_spec::common::{ApiInvokerId, Uri, WebsockNotifConfig};
use http::Uri as HttpUri;

use crate::{config::Place, core::Core, view::Records};

/// The longest address that a receiver may redirect to.
const LOCATION_BYTES_MAX: usize = 2048;

/// By which means somebody is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// An AEF of the receiver's own domain.
    Own,
    /// A host to which the operator lets callbacks go.
    Allowed,
}

impl Core {
    /// In which ways a receiver may be notified at a destination; none if it may not.
    pub(crate) fn ways(&self, records: &Records, receiver: &str, destination: &str) -> Vec<Way> {
        let Some(place) = Place::of(destination) else {
            return Vec::new();
        };
        let own = is_own(records, receiver, &place).then_some(Way::Own);
        let allowed = self.config.callbacks.lets(&place).then_some(Way::Allowed);
        own.into_iter().chain(allowed).collect()
    }

    /// Refuses a destination at which a receiver is never notified.
    ///
    /// # Errors
    /// [`Refusal::DestinationNotAllowed`], which says what can be done about it.
    pub(crate) fn judge_destination(
        &self,
        records: &Records,
        receiver: &str,
        destination: &Uri,
    ) -> Result<(), Refusal> {
        if !destination.as_str().starts_with("https://") {
            return Err(Refusal::incorrect(
                "/notificationDestination",
                "notifications are delivered over https only",
            ));
        }
        if self
            .ways(records, receiver, destination.as_str())
            .is_empty()
        {
            return Err(Refusal::DestinationNotAllowed);
        }
        Ok(())
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
        if socket.is_none() {
            self.judge_destination(records, invoker.as_str(), destination)?;
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

/// Where a redirect leads (RFC 9110 section 10.2.2): an address of its own, or another path at the same place.
pub(crate) fn redirected(from: &str, location: &str) -> Option<String> {
    if location.len() > LOCATION_BYTES_MAX {
        return None;
    }
    if location.starts_with("https://") {
        return Some(location.to_owned());
    }
    let is_path = location.starts_with('/') && !location.starts_with("//");
    let base: HttpUri = from.parse().ok()?;
    is_path.then_some(format!("https://{}{location}", base.authority()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_absolute_or_paths() {
        let from = "https://a.example:8443/x/y";
        for (location, expected) in [
            ("https://b.example/z", Some("https://b.example/z")),
            ("/z?q=1", Some("https://a.example:8443/z?q=1")),
            ("//b.example/z", None),
            ("z", None),
            ("http://a.example:8443/z", None),
            ("HTTPS://b.example/", None),
            ("javascript:alert(1)", None),
            ("", None),
        ] {
            assert_eq!(
                redirected(from, location).as_deref(),
                expected,
                "{location}"
            );
        }
        assert_eq!(redirected(from, &format!("/{}", "x".repeat(4096))), None);
    }
}

//! What procedures ask of the published APIs, so that none of them looks at all.

use capif_spec::{common::AefId, publish_service::InterfaceDescription};

use super::Catalogue;
use crate::state::{ApiReach, ServiceApi};

/// The published APIs. A [`Catalogue`] looks them up; a list of all of them, which small ones are, is looked through.
pub trait Published<'a>: Clone {
    /// Those within a reach, by their ids.
    fn within(&self, reach: &ApiReach) -> impl Iterator<Item = &'a ServiceApi>;

    /// Those that an AEF exposes, by their ids; others may be among them.
    fn around(&self, aef: &AefId) -> impl Iterator<Item = &'a ServiceApi>;

    /// Those exposed at the interface of an address, however it is written, by their ids; others may be among them.
    fn at(&self, address: &InterfaceDescription) -> impl Iterator<Item = &'a ServiceApi>;
}

impl<'a> Published<'a> for &'a Catalogue {
    fn within(&self, reach: &ApiReach) -> impl Iterator<Item = &'a ServiceApi> {
        Catalogue::within(self, reach)
    }

    fn around(&self, aef: &AefId) -> impl Iterator<Item = &'a ServiceApi> {
        self.of_aefs(std::iter::once(aef)).into_iter()
    }

    fn at(&self, address: &InterfaceDescription) -> impl Iterator<Item = &'a ServiceApi> {
        self.at_interface(address).into_iter()
    }
}

impl<'a, I: Iterator<Item = &'a ServiceApi> + Clone> Published<'a> for I {
    fn within(&self, reach: &ApiReach) -> impl Iterator<Item = &'a ServiceApi> {
        self.clone().filter(|api| reach.includes(api))
    }

    fn around(&self, _: &AefId) -> impl Iterator<Item = &'a ServiceApi> {
        self.clone()
    }

    fn at(&self, _: &InterfaceDescription) -> impl Iterator<Item = &'a ServiceApi> {
        self.clone()
    }
}

//! Versions of an API, their resources and operations.

use super::{CommunicationType, Operation};
use crate::{
    checked::{self, Checked, Violation},
    common::DateTime,
};

object! {
    /// A version of an API (TS 29.222 clause 8.2.4.2.5).
    pub struct Version {
        /// The major version as it stands in URIs, such as `v1`.
        pub api_version: String,
        /// When the version is planned to retire.
        pub expiry: Option<DateTime>,
        /// Its resources; not empty.
        pub resources: Option<Vec<Resource>>,
        /// Its operations that belong to no resource; not empty.
        pub cust_operations: Option<Vec<CustomOperation>>,
    }
}

impl Checked for Version {
    fn check(&self) -> Result<(), Violation> {
        checked::bounded("apiVersion", &self.api_version)?;
        checked::list("resources", &self.resources)?;
        checked::list("custOperations", &self.cust_operations)
    }
}

object! {
    /// A resource of an API (TS 29.222 clause 8.2.4.2.6).
    pub struct Resource {
        /// The name.
        pub resource_name: String,
        /// How parties talk about it.
        pub comm_type: CommunicationType,
        /// Its place below the version, as a relative URI (TS 29.122 clause 5.2.4).
        pub uri: String,
        /// The name of the one custom operation, as it stands in the URI.
        pub cust_op_name: Option<String>,
        /// Its custom operations; not empty.
        pub cust_operations: Option<Vec<CustomOperation>>,
        /// The HTTP methods it takes, where the protocol is HTTP; not empty.
        pub operations: Option<Vec<Operation>>,
        /// A text for people.
        pub description: Option<String>,
    }
}

impl Checked for Resource {
    fn check(&self) -> Result<(), Violation> {
        checked::bounded("resourceName", &self.resource_name)?;
        checked::bounded("uri", &self.uri)?;
        checked::bounded("custOpName", &self.cust_op_name)?;
        checked::list("custOperations", &self.cust_operations)?;
        checked::not_empty("operations", &self.operations)?;
        checked::bounded("description", &self.description)
    }
}

object! {
    /// An operation beyond the plain HTTP methods (TS 29.222 clause 8.2.4.2.7).
    pub struct CustomOperation {
        /// How parties talk.
        pub comm_type: CommunicationType,
        /// The name, as it stands in the URI (TS 29.122 clause 5.2.4).
        pub cust_op_name: String,
        /// The HTTP methods it takes, where the protocol is HTTP; not empty.
        pub operations: Option<Vec<Operation>>,
        /// A text for people.
        pub description: Option<String>,
    }
}

impl Checked for CustomOperation {
    fn check(&self) -> Result<(), Violation> {
        checked::bounded("custOpName", &self.cust_op_name)?;
        checked::not_empty("operations", &self.operations)?;
        checked::bounded("description", &self.description)
    }
}

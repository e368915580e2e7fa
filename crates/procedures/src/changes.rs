//! What a procedure wants written: all of it or nothing.
//!
//! A procedure never writes. It returns [`Changes`]; the store commits them whole or refuses them because a
//! record moved since the procedure looked at it. On refusal the edge loads again and calls the procedure again.

use serde::{Serialize, de::DeserializeOwned};

/// One table of records. The order is the order of the procedures that make them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A credential of enrolment or registration that was used up (D-26). Id: digest of issuer and `jti`.
    CredentialUse = 1,
    /// A credential that a provider handed over before its use (TS 33.122 clause 6.1 step 2). Id: SHA-256 of the token.
    RegisteredCredential = 2,
    /// An onboarded API invoker. Id: API invoker id.
    Invoker = 3,
    /// A registered API provider domain. Id: domain id.
    ProviderDomain = 4,
    /// An AEF, APF or AMF of a domain. Id: function id.
    ProviderFunction = 5,
    /// A published service API. Id: service API id.
    ServiceApi = 6,
    /// A name that at most one published API of a domain holds. Id: domain id, `/`, API name.
    ServiceApiName = 7,
    /// The security context of an API invoker. Id: API invoker id.
    SecurityContext = 8,
    /// An event subscription. Id: subscriber id, `/`, subscription id.
    Subscription = 9,
    /// A notification that waits for its acknowledgement. Id: subscriber id, `/`, subscription id, `/`, sequence.
    Notification = 10,
    /// An invocation log entry. Id: AEF id, `/`, sequence.
    InvocationLog = 11,
    /// An access control policy. Id: service API id, `/`, API invoker id or `*`.
    AccessControlPolicy = 12,
    /// What an API invoker used of an API under a total. Id: API invoker id, `/`, service API id.
    Usage = 13,
    /// A revocation that waits for the acknowledgement of an AEF. Id: AEF id, `/`, host and port, `/`, sequence.
    Revocation = 14,
    /// A notification of revocation that waits for its API invoker. Id: API invoker id, `/`, sequence.
    Callback = 15,
    /// A certificate that was revoked before its end. Id: number of the authority, `/`, serial number.
    RevokedCertificate = 16,
    /// What is kept of an offboarded API invoker. Id: API invoker id.
    Departure = 17,
    /// A record of a security-relevant act, chained to the one before. Id: sequence.
    Audit = 18,
    /// One authority that issues or issued certificates. Id: its number.
    Authority = 19,
    /// A key that signs or signed access tokens. Id: `kid`.
    TokenKey = 20,
    /// An onboarding, or an update of one, that waits for the operator. Id: API invoker id.
    PendingEnrolment = 21,
    /// What hides the topology behind published APIs. Id: `api/` and service API id, or `name/`, domain id, `/` and API name.
    TopologyHiding = 22,
    /// Whether somebody is shown some APIs. Id: audience, `/`, scope.
    DiscoveryPolicy = 23,
    /// How far the reports on a subscription have come. Id: subscriber id, `/`, subscription id.
    Reporting = 24,
    /// A credential of the operator's API, by its digest. Id: its name.
    OperatorCredential = 25,
    /// How long invocation log entries of an API are kept. Id: service API id.
    LogRetention = 26,
    /// An account of the account service. Id: its name.
    Account = 27,
}

impl Kind {
    /// Every kind, for scans of the whole store.
    pub const ALL: [Self; 27] = [
        Self::CredentialUse,
        Self::RegisteredCredential,
        Self::Invoker,
        Self::ProviderDomain,
        Self::ProviderFunction,
        Self::ServiceApi,
        Self::ServiceApiName,
        Self::SecurityContext,
        Self::Subscription,
        Self::Notification,
        Self::InvocationLog,
        Self::AccessControlPolicy,
        Self::Usage,
        Self::Revocation,
        Self::Callback,
        Self::RevokedCertificate,
        Self::Departure,
        Self::Audit,
        Self::Authority,
        Self::TokenKey,
        Self::PendingEnrolment,
        Self::TopologyHiding,
        Self::DiscoveryPolicy,
        Self::Reporting,
        Self::OperatorCredential,
        Self::LogRetention,
        Self::Account,
    ];

    /// The kind with this number, as engines store it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// The name of a record: its table and its id within the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table.
    pub kind: Kind,
    /// The id within the table; parts of a composed id are joined by `/`.
    pub id: String,
}

impl Key {
    /// Names a record.
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
        }
    }
}

/// The number of the commit that wrote a record last. Grows with every commit, never repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// What must still be true of a record for the commit to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing is asked.
    Any,
    /// No such record exists.
    Absent,
    /// The record exists, at whatever revision.
    Present,
    /// The record is the one that the decision was made on.
    At(Revision),
}

/// A record type: where it is kept and under which id.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The table that holds records of this type.
    const KIND: Kind;

    /// The id of this record within its table.
    fn record_id(&self) -> String;
}

/// One step of a commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Writes a record under its key.
    Put {
        /// The record's name.
        key: Key,
        /// What must hold.
        expect: Expect,
        /// The record as JSON.
        value: Vec<u8>,
    },
    /// Removes a record; removing what is not there is no error unless `expect` says so.
    Delete {
        /// The record's name.
        key: Key,
        /// What must hold.
        expect: Expect,
    },
    /// Removes every record whose id begins with `prefix`, those included that arrive until the commit itself.
    DeletePrefix {
        /// The table.
        kind: Kind,
        /// The beginning of the ids; never empty.
        prefix: String,
    },
    /// Writes a record under the id `prefix` + a sequence of twenty digits that grows in commit order.
    Append {
        /// The table.
        kind: Kind,
        /// The beginning of the id, `/` included.
        prefix: String,
        /// The record as JSON.
        value: Vec<u8>,
    },
    /// Writes a record at the end of the one chain of the store. The commit gives it its number and the digest that ties it to
    /// the record before; no other step reaches the records of the chain.
    Chain {
        /// The table.
        kind: Kind,
        /// The record as JSON.
        value: Vec<u8>,
    },
    /// Forgets the beginning of the chain; where it begins from then on is kept. Its last record stays in any case.
    Prune {
        /// The table.
        kind: Kind,
        /// The number of the last record that goes.
        through: u64,
    },
    /// Writes nothing, but the commit is refused unless this holds.
    Require {
        /// The record's name.
        key: Key,
        /// What must hold.
        expect: Expect,
    },
}

/// The whole of what one procedure writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The steps, in the order in which they are applied.
    pub steps: Vec<Change>,
}

impl Changes {
    /// Nothing to write yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is written and nothing required.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Writes a record.
    pub fn put<R: Record>(&mut self, record: &R, expect: Expect) {
        let key = Key::new(R::KIND, record.record_id());
        self.steps.push(Change::Put {
            key,
            expect,
            value: encode(record),
        });
    }

    /// Removes a record.
    pub fn delete<R: Record>(&mut self, id: impl Into<String>, expect: Expect) {
        let key = Key::new(R::KIND, id);
        self.steps.push(Change::Delete { key, expect });
    }

    /// Removes every record of a type whose id begins with `prefix`.
    pub fn delete_prefix<R: Record>(&mut self, prefix: impl Into<String>) {
        self.steps.push(Change::DeletePrefix {
            kind: R::KIND,
            prefix: prefix.into(),
        });
    }

    /// Writes a record under a sequence number given by the commit.
    pub fn append<R: Record>(&mut self, prefix: impl Into<String>, record: &R) {
        self.steps.push(Change::Append {
            kind: R::KIND,
            prefix: prefix.into(),
            value: encode(record),
        });
    }

    /// Makes the commit depend on a record.
    pub fn require<R: Record>(&mut self, id: impl Into<String>, expect: Expect) {
        let key = Key::new(R::KIND, id);
        self.steps.push(Change::Require { key, expect });
    }
}

/// A record that was read, with the revision to decide on.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned<R> {
    /// The record.
    pub record: R,
    /// The commit that wrote it.
    pub revision: Revision,
}

fn encode<R: Record>(record: &R) -> Vec<u8> {
    // Holds because records are structs with string keys, which JSON can always express.
    #[expect(clippy::expect_used, reason = "records always encode")]
    serde_json::to_vec(record).expect("a record is a JSON object")
}

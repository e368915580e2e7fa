//! Auditing: the query of invocation logs by API management functions (TS 23.222 clause 8.22, TS 29.222 clause 5.9).
//!
//! An AMF sees what the AEFs of its own domain reported, and nothing of other domains (TS 23.222 clause 4.3.3).

use capif_spec::{
    auditing::{InvocationLogs, InvocationLogsRetrieveRes},
    common::{AefId, ApiInvokerId, DateTime, NetSliceId, SupportedFeatures},
    logging::{InvocationLog, Log},
    publish_service::{InterfaceDescription, Operation, Protocol},
};

use crate::{
    discovery::same_slice,
    refusal::{Refusal, RequestFault},
    state::{InvocationLogEntry, ProviderFunction, Role},
};

/// Features of the auditing API that are served (TS 29.222 table 8.8.6-1): bit 1, EnQueryInvokeLog; bit 2,
/// SliceBasedAPIExposure.
pub const FEATURES: &str = "3";

/// The number of EnQueryInvokeLog: several logs in one answer.
const SEVERAL_LOGS: u32 = 1;
/// The number of SliceBasedAPIExposure: `net-slice-info`, and the slice in the answer.
const SLICES: u32 = 2;

/// How many entries one answer holds at most. The standard has no pages, and an answer that is cut would pass for a whole one.
pub const ENTRIES_MAX: usize = 10_000;

/// What is sought; every criterion given must hold (TS 29.222 table 8.8.2.2.3.1-1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Criteria {
    /// `aef-id`.
    pub aef_id: Option<AefId>,
    /// `api-invoker-id`.
    pub api_invoker_id: Option<ApiInvokerId>,
    /// `time-range-start`.
    pub time_range_start: Option<DateTime>,
    /// `time-range-end`.
    pub time_range_end: Option<DateTime>,
    /// `api-id`.
    pub api_id: Option<String>,
    /// `api-name`.
    pub api_name: Option<String>,
    /// `api-version`.
    pub api_version: Option<String>,
    /// `protocol`.
    pub protocol: Option<Protocol>,
    /// `operation`.
    pub operation: Option<Operation>,
    /// `result`.
    pub result: Option<String>,
    /// `resource-name`.
    pub resource_name: Option<String>,
    /// `src-interface`.
    pub src_interface: Option<InterfaceDescription>,
    /// `dest-interface`.
    pub dest_interface: Option<InterfaceDescription>,
    /// `net-slice-info`: in any of these slices.
    pub net_slices: Vec<NetSliceId>,
    /// `supported-features`.
    pub supported_features: Option<SupportedFeatures>,
}

impl Criteria {
    /// Whether an entry is sought.
    ///
    /// Choice: both ends belong to the time range, and an entry that does not say when its call was counts as of its report.
    /// Interfaces agree when every member that is asked for is the same. The operation of an entry that names none is not
    /// known, and so are its interfaces and its slice.
    #[must_use]
    pub fn meets(&self, entry: &InvocationLogEntry) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, actual: Option<&T>) -> bool {
            wanted.is_none_or(|wanted| actual == Some(wanted))
        }
        let log = &entry.log;
        let time = entry.time();
        is(self.aef_id.as_ref(), Some(&entry.aef_id))
            && is(self.api_invoker_id.as_ref(), Some(&entry.api_invoker_id))
            && self.time_range_start.as_ref().is_none_or(|it| it <= time)
            && self.time_range_end.as_ref().is_none_or(|it| time <= it)
            && self
                .api_id
                .as_deref()
                .is_none_or(|it| it == log.api_id.as_str())
            && is(self.api_name.as_ref(), Some(&log.api_name))
            && is(self.api_version.as_ref(), Some(&log.api_version))
            && is(self.protocol.as_ref(), Some(&log.protocol))
            && is(self.operation.as_ref(), log.operation.as_ref())
            && is(self.result.as_ref(), Some(&log.result))
            && is(self.resource_name.as_ref(), Some(&log.resource_name))
            && faces(self.src_interface.as_ref(), log.src_interface.as_ref())
            && faces(self.dest_interface.as_ref(), log.dest_interface.as_ref())
            && self.is_in_slice(log)
    }

    fn is_in_slice(&self, log: &Log) -> bool {
        self.net_slices.is_empty()
            || !self.agreed().has(SLICES)
            || log
                .net_slice_info
                .as_ref()
                .is_some_and(|actual| self.net_slices.iter().any(|it| same_slice(it, actual)))
    }

    fn agreed(&self) -> SupportedFeatures {
        self.supported_features
            .as_ref()
            .map(|features| features.intersect(&SupportedFeatures::from(FEATURES)))
            .unwrap_or_default()
    }
}

/// Whether an interface is the one that is asked for, as far as it is described.
fn faces(wanted: Option<&InterfaceDescription>, actual: Option<&InterfaceDescription>) -> bool {
    fn is<T: PartialEq>(wanted: Option<&T>, actual: Option<&T>) -> bool {
        wanted.is_none_or(|wanted| actual == Some(wanted))
    }
    let Some(wanted) = wanted else {
        return true;
    };
    // An address in any of its spellings.
    let address = |wanted: Option<&String>, actual: Option<&String>| {
        let parsed = |text: Option<&String>| text?.parse::<std::net::IpAddr>().ok();
        is(wanted, actual) || parsed(wanted).is_some_and(|wanted| parsed(actual) == Some(wanted))
    };
    actual.is_some_and(|actual| {
        address(wanted.ipv4_addr.as_ref(), actual.ipv4_addr.as_ref())
            && address(wanted.ipv6_addr.as_ref(), actual.ipv6_addr.as_ref())
            && is(wanted.fqdn.as_ref(), actual.fqdn.as_ref())
            && is(wanted.port.as_ref(), actual.port.as_ref())
            && is(wanted.api_prefix.as_ref(), actual.api_prefix.as_ref())
            && is(
                wanted.security_methods.as_ref(),
                actual.security_methods.as_ref(),
            )
            && is(wanted.grant_types.as_ref(), actual.grant_types.as_ref())
            && wanted
                .extra
                .iter()
                .all(|(name, value)| actual.extra.get(name) == Some(value))
    })
}

/// The AEFs whose entries are looked at: those of the domain of the AMF, or the one of them that is named. An AEF of another domain
/// is not there for it.
///
/// # Errors
/// Refuses a time range that ends before it begins.
pub fn scope<'a>(
    criteria: &Criteria,
    amf: &ProviderFunction,
    functions: impl Iterator<Item = &'a ProviderFunction>,
) -> Result<Vec<AefId>, Refusal> {
    if let (Some(start), Some(end)) = (&criteria.time_range_start, &criteria.time_range_end)
        && end < start
    {
        return Err(wrong(
            "time-range-end",
            "`time-range-end` lies before `time-range-start`",
        ));
    }
    Ok(functions
        .filter(|function| function.role == Role::Aef && function.domain_id == amf.domain_id)
        .map(|function| AefId::new(function.id.as_str()))
        .filter(|id| criteria.aef_id.as_ref().is_none_or(|wanted| wanted == id))
        .collect())
}

/// Entries that were found, up to the bound.
#[derive(Debug, Default)]
pub struct Findings(Vec<InvocationLogEntry>);

impl Findings {
    /// Takes an entry, if it is sought.
    ///
    /// # Errors
    /// Refuses a query that more than [`ENTRIES_MAX`] entries meet.
    pub fn take(&mut self, criteria: &Criteria, entry: InvocationLogEntry) -> Result<(), Refusal> {
        if !criteria.meets(&entry) {
            return Ok(());
        }
        if self.0.len() >= ENTRIES_MAX {
            return Err(Refusal::TooBroad {
                what: "log entries",
                limit: ENTRIES_MAX,
            });
        }
        self.0.push(entry);
        Ok(())
    }

    /// What is answered: the entries of one AEF and one invoker as one log; of several as several logs, for those who know that
    /// there can be such.
    ///
    /// # Errors
    /// Refuses when nothing was found, since neither shape may be empty; and when several logs were found for one who knows one
    /// alone, since an answer that is cut would pass for a whole one.
    pub fn answer(self, criteria: &Criteria) -> Result<InvocationLogsRetrieveRes, Refusal> {
        let agreed = criteria.agreed();
        let features = criteria.supported_features.as_ref().map(|_| agreed.clone());
        let mut logs: Vec<InvocationLog> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for entry in self.0 {
            let of = (entry.aef_id.clone(), entry.api_invoker_id.clone());
            let place = *places.entry(of).or_insert(logs.len());
            if place == logs.len() {
                logs.push(InvocationLog {
                    aef_id: entry.aef_id,
                    api_invoker_id: entry.api_invoker_id,
                    logs: Vec::new(),
                    supported_features: None,
                    extra: Default::default(),
                });
            }
            if let Some(log) = logs.get_mut(place) {
                log.logs.push(shown(entry.log, &agreed));
            }
        }
        if logs.len() > 1 {
            if !agreed.has(SEVERAL_LOGS) {
                return Err(wrong(
                    "supported-features",
                    "the entries found are of several AEFs or API invokers: name `aef-id` and `api-invoker-id`, or take several logs \
                     with `supported-features=1`",
                ));
            }
            return Ok(InvocationLogsRetrieveRes::Several(InvocationLogs {
                multiple_invocation_logs: logs,
                supported_features: features,
                extra: Default::default(),
            }));
        }
        let mut log = logs.pop().ok_or(Refusal::NotFound {
            what: "invocation log",
        })?;
        log.supported_features = features;
        Ok(InvocationLogsRetrieveRes::One(log))
    }
}

fn shown(mut log: Log, agreed: &SupportedFeatures) -> Log {
    if !agreed.has(SLICES) {
        log.net_slice_info = None;
    }
    log
}

fn wrong(parameter: &str, reason: &str) -> Refusal {
    Refusal::Malformed {
        pointer: parameter.to_owned(),
        reason: reason.to_owned(),
        fault: RequestFault::QueryIncorrect,
    }
}

#[cfg(test)]
mod tests;

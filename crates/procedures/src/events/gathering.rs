//! What happened in one period, put together: notifications of the same event that follow one another become one, as long as it
//! says all that they said and in which order.

use capif_spec::events::{CapifEventDetail, EventNotification};
use serde_json::{Map, Value};

use super::LOGS_MAX;

/// How many notifications one report may be put together from.
pub const GATHERED_MAX: usize = 100;

/// The members that may be joined if nothing else differs: which API goes with which invoker must stay clear.
const GROUPS: [&[&str]; 3] = [
    &["apiIds", "serviceAPIDescriptions"],
    &["apiInvokerIds"],
    &[CALLS],
];

const CALLS: &str = "invocationLogs";

/// Puts notifications together. Each report comes with the ids of what it was made from, in their order.
#[must_use]
pub fn gather(
    waiting: impl IntoIterator<Item = (String, EventNotification)>,
) -> Vec<(Vec<String>, EventNotification)> {
    let mut reports: Vec<(Vec<String>, EventNotification)> = Vec::new();
    for (id, notification) in waiting {
        let joined = reports.last_mut().and_then(|(ids, report)| {
            let detail = joined(report, &notification).filter(|_| ids.len() < GATHERED_MAX)?;
            Some((ids, report, detail))
        });
        match joined {
            Some((ids, report, detail)) => {
                ids.push(id);
                report.event_detail = detail.0;
            }
            None => reports.push((vec![id], notification)),
        }
    }
    reports
}

/// The detail of two notifications as one.
struct Joined(Option<CapifEventDetail>);

fn joined(one: &EventNotification, other: &EventNotification) -> Option<Joined> {
    if one.events != other.events || one.extra != other.extra {
        return None;
    }
    match (&one.event_detail, &other.event_detail) {
        (None, None) => Some(Joined(None)),
        (Some(one), Some(other)) => {
            let joined = together(members(one)?, &members(other)?)?;
            let joined: CapifEventDetail = serde_json::from_value(Value::Object(joined)).ok()?;
            let calls = joined.invocation_logs.iter().flatten();
            let count: usize = calls.map(|report| report.logs.len()).sum();
            (count <= LOGS_MAX).then_some(Joined(Some(joined)))
        }
        _ => None,
    }
}

fn members(detail: &CapifEventDetail) -> Option<Map<String, Value>> {
    match serde_json::to_value(detail) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    }
}

fn together(mut one: Map<String, Value>, other: &Map<String, Value>) -> Option<Map<String, Value>> {
    if !one.keys().eq(other.keys()) {
        // No list at all may say more than any.
        return None;
    }
    // Two calls that look alike are two calls.
    let differs = |name: &&String| *name == CALLS || one.get(*name) != other.get(*name);
    let different: Vec<String> = one.keys().filter(differs).cloned().collect();
    let may_join = |group: &[&str]| {
        let mut different = different.iter();
        different.all(|name| group.contains(&name.as_str()))
    };
    if !different.is_empty() && !GROUPS.iter().any(|group| may_join(group)) {
        return None;
    }
    for name in &different {
        let (Some(Value::Array(list)), Some(Value::Array(more))) =
            (one.get_mut(name), other.get(name))
        else {
            return None;
        };
        for item in more {
            if name == CALLS {
                list.push(item.clone());
            } else if !list.contains(item) {
                let id = item.get("apiId").filter(|id| !id.is_null());
                if id.is_some() && list.iter().any(|known| known.get("apiId") == id) {
                    // Of two descriptions of one API the later one counts: they stay apart.
                    return None;
                }
                list.push(item.clone());
            }
        }
    }
    Some(one)
}

//! How and when a subscription is reported on (TS 29.222 clause 5.4.2.2.2, TS 29.523).
//!
//! What happens is written down when it happens; this module decides at its delivery whether it goes out now, later, or not any
//! more. A report is one notification. One that was acknowledged is counted in the commit that removes it, so that no crash
//! makes one too many or too few. The last one takes the subscription along.
//!
//! - PERIODIC: periods are counted from the beginning of the subscription. What happened in one goes out at its end, put together
//!   as far as that says the same ([`super::gathering`]). A period in which nothing happened is not reported.
//! - ONE_TIME: the first report is the last. `maxReportNbr`: so is the one of that number.
//! - `monDur`: nothing that happens later is reported; what waits then is offered for a little while.
//!
//! Choice: TS 29.222 does not say what a report is; TS 29.523 counts notifications.

use capif_spec::{
    common::{DateTime, NotificationMethod, ReportingInformation},
    events::EventNotification,
};
use time::Duration;

use super::{
    ENHANCED_EVENT_REPORT,
    gathering::{GATHERED_MAX, gather},
    raising::has,
};
use crate::{
    changes::{Changes, Expect, Record, Versioned},
    refusal::Refusal,
    state::{Notification, Reporting, Subscription},
};

/// The longest period: 31 days.
pub const PERIOD_SECONDS_MAX: u64 = 31 * 24 * 60 * 60;

/// For how long what waits at the end of a subscription is still offered.
const LAST_OFFER: Duration = Duration::minutes(1);

/// What is next under a subscription.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// A report goes out.
    Report(Box<Report>),
    /// Nothing goes out before then.
    HoldUntil(DateTime),
    /// Nothing goes out any more: the subscription is over.
    Over,
}

/// What goes out as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The ids of the notifications that it is made from, in their order.
    pub ids: Vec<String>,
    /// What is sent.
    pub notification: EventNotification,
    /// Since when it could have been sent.
    pub due: DateTime,
}

/// Whether a subscription asks anything of its reports that has to be looked at before each. Of the others every notification is
/// a report, at once.
#[must_use]
pub fn is_asked(subscription: &Subscription) -> bool {
    !is_prompt(subscription)
}

/// What a subscription asks of its reports, as far as that was agreed on.
fn wish(subscription: &Subscription) -> Option<&ReportingInformation> {
    let wish = subscription.subscription.event_req.as_ref();
    wish.filter(|_| has(subscription, ENHANCED_EVENT_REPORT))
}

/// Decides what is next, of the notifications that are first in line: [`GATHERED_MAX`] of them at most. `None` if none waits.
#[must_use]
pub fn next(
    subscription: &Subscription,
    reporting: Option<&Reporting>,
    waiting: Vec<(String, Notification)>,
    now: &DateTime,
) -> Option<Next> {
    if is_over(subscription, reporting, now) {
        return Some(Next::Over);
    }
    let (_, first) = waiting.first()?;
    let end = period_end(subscription, reporting, first);
    if let Some(end) = end.as_ref().filter(|end| *end > now) {
        return Some(Next::HoldUntil(end.clone()));
    }
    let due = end.clone().unwrap_or_else(|| first.raised.clone());
    // What belongs to no period is a report of its own.
    let together = if end.is_some() { GATHERED_MAX } else { 1 };
    let of_period = waiting
        .into_iter()
        .take_while(|(_, held)| period_end(subscription, reporting, held) == end)
        .take(together);
    let reports = gather(of_period.map(|(id, held)| (id, held.notification)));
    let (ids, notification) = reports.into_iter().next()?;
    Some(Next::Report(Box::new(Report {
        ids,
        notification,
        due,
    })))
}

/// Whether nothing goes out any more, even if it waits.
#[must_use]
pub fn is_over(subscription: &Subscription, reporting: Option<&Reporting>, now: &DateTime) -> bool {
    let delivered = reporting.map_or(0, |reporting| reporting.delivered);
    let end = wish(subscription).and_then(|wish| wish.mon_dur.as_ref());
    remaining(subscription, delivered) == Some(0)
        || end.is_some_and(|end| end.0.saturating_add(LAST_OFFER) <= now.0)
}

/// Whether nothing is reported that happens from now on.
#[must_use]
pub fn has_ended(subscription: &Subscription, now: &DateTime) -> bool {
    let end = wish(subscription).and_then(|wish| wish.mon_dur.as_ref());
    end.is_some_and(|end| end <= now)
}

/// When the period ends in which something happened; `None` if nothing is to be waited for.
fn period_end(
    subscription: &Subscription,
    reporting: Option<&Reporting>,
    waiting: &Notification,
) -> Option<DateTime> {
    let wish = wish(subscription)?;
    let period = period(wish).filter(|_| !waiting.at_once)?;
    let began = reporting.map_or(waiting.raised.0, |reporting| reporting.began.0);
    let elapsed = (waiting.raised.0 - began).max(Duration::ZERO);
    // What happens in the moment that a period ends belongs to the next one.
    let into = elapsed.whole_nanoseconds() % period.whole_nanoseconds();
    let into = Duration::nanoseconds(i64::try_from(into).unwrap_or_default());
    let end = waiting.raised.0.saturating_add(period - into);
    let last = wish.mon_dur.as_ref().map_or(end, |last| last.0.min(end));
    Some(DateTime(last))
}

/// How many more reports there may be; any number if absent.
#[must_use]
fn remaining(subscription: &Subscription, delivered: u64) -> Option<u64> {
    let wish = wish(subscription)?;
    let once = (wish.notif_method == Some(NotificationMethod::OneTime)).then_some(1);
    let limits = [once, wish.max_report_nbr].into_iter().flatten();
    limits.min().map(|limit| limit.saturating_sub(delivered))
}

/// The changes that follow from an acknowledged report: what was told goes, the report counts, and with the last one goes the
/// subscription and whatever waits under it. `ids` are those of the notifications that it was made from.
#[must_use]
pub fn reported(
    subscription: &Versioned<Subscription>,
    reporting: Option<&Versioned<Reporting>>,
    ids: &[String],
) -> Changes {
    let held = &subscription.record;
    let delivered = reporting.map_or(0, |reporting| reporting.record.delivered);
    let left = remaining(held, delivered);
    if left.is_some_and(|left| left <= 1) {
        return end(subscription);
    }
    let mut changes = Changes::new();
    for id in ids {
        changes.delete::<Notification>(id.as_str(), Expect::Any);
    }
    if let (Some(_), Some(reporting)) = (left, reporting) {
        let progress = Reporting {
            delivered: delivered.saturating_add(1),
            ..reporting.record.clone()
        };
        changes.put(&progress, Expect::At(reporting.revision));
    }
    changes
}

/// Ends a subscription with its progress and what waits for delivery under it.
#[must_use]
pub fn end(held: &Versioned<Subscription>) -> Changes {
    let mut changes = Changes::new();
    let id = held.record.record_id();
    changes.delete::<Reporting>(id.as_str(), Expect::Any);
    changes.delete::<Subscription>(id, Expect::At(held.revision));
    changes.delete_prefix::<Notification>(Notification::prefix(
        &held.record.subscriber,
        &held.record.id,
    ));
    changes
}

/// The progress that a new subscription begins with, if it has any.
pub(super) fn begin(subscription: &Subscription, now: &DateTime) -> Option<Reporting> {
    let wish = wish(subscription)?;
    let counts = remaining(subscription, 0).is_some();
    (counts || period(wish).is_some()).then(|| Reporting {
        subscriber: subscription.subscriber.clone(),
        subscription_id: subscription.id.clone(),
        began: now.clone(),
        delivered: 0,
    })
}

/// Whether whatever a subscription asks for is told at once, however often it happens.
pub(super) fn is_prompt(subscription: &Subscription) -> bool {
    let periodic = wish(subscription).is_some_and(|wish| period(wish).is_some());
    let ends = wish(subscription).is_some_and(|wish| wish.mon_dur.is_some());
    !periodic && !ends && remaining(subscription, 0).is_none()
}

fn period(wish: &ReportingInformation) -> Option<Duration> {
    let seconds = wish
        .rep_period
        .filter(|_| wish.notif_method == Some(NotificationMethod::Periodic))?;
    let seconds = i64::try_from(seconds.clamp(1, PERIOD_SECONDS_MAX));
    Some(Duration::seconds(seconds.unwrap_or(1)))
}

/// Checks what is asked of reports, and leaves out what is not served (muting, sampling, groups): whoever reads its subscription
/// sees what is obeyed.
///
/// # Errors
/// Refuses methods that are not known, periods without a length, limits of nothing and ends that are past.
pub(super) fn accept(
    wish: ReportingInformation,
    now: &DateTime,
) -> Result<ReportingInformation, Refusal> {
    let refuse = |member: &str, reason: String| {
        Err(Refusal::incorrect(format!("/eventReq/{member}"), reason))
    };
    let is_periodic = match &wish.notif_method {
        Some(NotificationMethod::Other(_)) => {
            let known = NotificationMethod::KNOWN.join(", ");
            return refuse("notifMethod", format!("`notifMethod` is one of {known}"));
        }
        method => *method == Some(NotificationMethod::Periodic),
    };
    match wish.rep_period {
        None if is_periodic => return Err(Refusal::missing("/eventReq/repPeriod")),
        Some(0) => return refuse("repPeriod", "`repPeriod` is at least 1 second".to_owned()),
        Some(period) if period > PERIOD_SECONDS_MAX => {
            let reason = format!("`repPeriod` is at most {PERIOD_SECONDS_MAX} seconds");
            return refuse("repPeriod", reason);
        }
        _ => {}
    }
    if wish.max_report_nbr == Some(0) {
        return refuse("maxReportNbr", "`maxReportNbr` is at least 1".to_owned());
    }
    if wish.mon_dur.as_ref().is_some_and(|end| end <= now) {
        return refuse(
            "monDur",
            "`monDur` is a time that is still to come".to_owned(),
        );
    }
    Ok(ReportingInformation {
        imm_rep: wish.imm_rep,
        notif_method: wish.notif_method,
        max_report_nbr: wish.max_report_nbr,
        mon_dur: wish.mon_dur,
        rep_period: wish.rep_period.filter(|_| is_periodic),
        extra: wish.extra,
        ..ReportingInformation::default()
    })
}

//! Events against a naive reference: random subscriptions and random happenings, who hears of what, and when it is reported. The
//! reference knows nothing of occurrences, audiences and progress: it reads the subscription's JSON and counts seconds.

use std::collections::BTreeSet;

use time::Duration;

use super::{
    super::reporting::{Next, next, reported},
    *,
};
use crate::state::{Reporting, ServiceApi};

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    fn some(&mut self, from: &[&'static str]) -> Vec<&'static str> {
        let mut some: Vec<&str> = from.iter().copied().filter(|_| self.one_in(2)).collect();
        if some.is_empty() {
            some.push(self.pick(from));
        }
        some
    }
}

/// Id, name, domain, and the AEF that serves it.
const APIS: [(&str, &str, &str, &str); 4] = [
    ("API0", "n0", "DOM0", "AEF0"),
    ("API1", "n1", "DOM0", "AEF1"),
    ("API2", "n0", "DOM1", "AEF2"),
    ("API3", "n2", "DOM1", "AEF2"),
];
const API_IDS: [&str; 4] = ["API0", "API1", "API2", "API3"];
const NAMES: [&str; 3] = ["n0", "n1", "n2"];
const DOMAINS: [&str; 2] = ["DOM0", "DOM1"];
const INVOKERS: [&str; 2] = ["INV0", "INV1"];
/// Id, role and domain.
const FUNCTIONS: [(&str, Role, &str); 6] = [
    ("AEF0", Role::Aef, "DOM0"),
    ("AEF1", Role::Aef, "DOM0"),
    ("AEF2", Role::Aef, "DOM1"),
    ("APF0", Role::Apf, "DOM0"),
    ("AMF0", Role::Amf, "DOM0"),
    ("AMF1", Role::Amf, "DOM1"),
];
const AEFS: [&str; 3] = ["AEF0", "AEF1", "AEF2"];

fn published_apis() -> Vec<ServiceApi> {
    let of = |(id, name, domain, aef): (&str, &str, &str, &str)| {
        elsewhere(api(id, name, &[profile(aef, &[Pki])]), "APF", domain)
    };
    APIS.into_iter().map(of).collect()
}

/// Reach as the test thinks of it: a domain and names, each if it matters.
#[derive(Clone, Debug)]
struct Reach(Option<&'static str>, Option<Vec<&'static str>>);

impl Reach {
    fn random(dice: &mut Dice) -> Self {
        let domain = dice.one_in(2).then(|| dice.pick(&DOMAINS));
        Self(domain, dice.one_in(2).then(|| dice.some(&NAMES)))
    }

    fn real(&self) -> ApiReach {
        ApiReach {
            domain: self.0.map(Into::into),
            api_names: names_of(self),
        }
    }

    fn has(&self, api: &str) -> bool {
        let (_, name, domain, _) = APIS.into_iter().find(|(id, ..)| *id == api).unwrap();
        self.0.is_none_or(|own| own == domain)
            && self.1.as_ref().is_none_or(|names| names.contains(&name))
    }

    /// Whether a domain has or could have something for whoever has this reach.
    fn meets(&self, domain: &str) -> bool {
        self.0.is_none_or(|own| own == domain)
            && (self.1.is_none()
                || APIS
                    .iter()
                    .any(|(id, _, of, _)| *of == domain && self.has(id)))
    }
}

fn names_of(reach: &Reach) -> Option<BTreeSet<String>> {
    let names = reach.1.as_ref()?;
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Who may see an event, in letters.
fn right(event: &str) -> &'static str {
    match event {
        "SERVICE_API_AVAILABLE"
        | "SERVICE_API_UNAVAILABLE"
        | "SERVICE_API_UPDATE"
        | "API_INVOKER_AUTHORIZATION_REVOKED"
        | "API_INVOKER_UPDATED" => "IEPM",
        "API_INVOKER_ONBOARDED" | "API_INVOKER_OFFBOARDED" => "EPM",
        "SERVICE_API_INVOCATION_SUCCESS" | "SERVICE_API_INVOCATION_FAILURE" => "EM",
        name if name.starts_with("ACCESS_") || name.starts_with("API_TOPOLOGY_") => "E",
        _ => "PM",
    }
}

fn letter(role: Role) -> char {
    match role {
        Role::ApiInvoker => 'I',
        Role::Aef => 'E',
        Role::Apf => 'P',
        _ => 'M',
    }
}

/// What happened, in the test's own words.
#[derive(Clone, Debug)]
struct Happening {
    event: &'static str,
    /// Each thing: the API, the invoker, the AEF.
    things: Vec<[Option<&'static str>; 3]>,
    /// The one AEF that it is for.
    only: Option<&'static str>,
    /// Reach and agreements of the invoker whose circle it is for.
    circle: Option<(Reach, Vec<&'static str>)>,
}

fn random_happening(dice: &mut Dice, apis: &[ServiceApi]) -> (Happening, Occurrence) {
    let event = dice.pick(CapifEvent::KNOWN);
    let known = CapifEvent::from(event);
    let invoker = dice.pick(&INVOKERS);
    let aef = dice.pick(&AEFS);
    let one = dice.pick(&[0, 1, 2, 3]);
    let some: Vec<usize> = (0..4).filter(|_| dice.one_in(2)).collect();
    let all = |aef: Option<&'static str>, invoker: Option<&'static str>| {
        let things = some
            .iter()
            .map(|index| [Some(APIS[*index].0), invoker, aef]);
        things.collect::<Vec<_>>()
    };
    let chosen = || some.iter().map(|index| apis[*index].clone());
    let mut happening = Happening {
        event,
        things: vec![[Some(APIS[one].0), None, None]],
        only: None,
        circle: None,
    };
    let occurrence = match event {
        "SERVICE_API_AVAILABLE" | "SERVICE_API_UNAVAILABLE" | "SERVICE_API_UPDATE" => {
            of_api(known, &apis[one])
        }
        "API_INVOKER_UPDATED" if dice.one_in(2) => {
            happening.things = vec![[None, Some(invoker), None]];
            happening.only = Some(aef);
            of_negotiation(&invoker.into(), &aef.into())
        }
        "API_INVOKER_ONBOARDED"
        | "API_INVOKER_OFFBOARDED"
        | "API_INVOKER_UPDATED"
        | "API_INVOKER_AUTHORIZATION_REVOKED" => {
            let reach = Reach::random(dice);
            let aefs: Vec<&str> = AEFS.into_iter().filter(|_| dice.one_in(4)).collect();
            let agreed = aefs.iter().map(|aef| entry_at(aef, Some(Pki))).collect();
            let circle = Circle::of(&reach.real(), Some(&context(invoker, agreed)), apis.iter());
            happening.circle = Some((reach, aefs));
            happening.things = vec![[None, Some(invoker), None]];
            if event != "API_INVOKER_AUTHORIZATION_REVOKED" {
                of_invoker(known, &invoker.into(), circle)
            } else if dice.one_in(2) {
                of_revocation(&invoker.into(), None, circle)
            } else {
                happening.things = all(None, Some(invoker));
                of_revocation(&invoker.into(), Some(chosen().collect()), circle)
            }
        }
        "SERVICE_API_INVOCATION_SUCCESS" | "SERVICE_API_INVOCATION_FAILURE" => {
            let result = if event.ends_with("SUCCESS") {
                "200"
            } else {
                "500"
            };
            let log = |id: &str| {
                json!({
                    "apiId": id, "apiName": "n", "apiVersion": "v1", "resourceName": "r",
                    "protocol": "HTTP_1_1", "result": result,
                })
            };
            // Of a report of nothing comes nothing.
            let mut calls = all(Some(aef), Some(invoker));
            calls.push([Some(APIS[one].0), Some(invoker), Some(aef)]);
            let logs: Vec<Value> = calls.iter().map(|[api, ..]| log(api.unwrap())).collect();
            happening.things = calls;
            let report = wire(json!({ "aefId": aef, "apiInvokerId": invoker, "logs": logs }));
            let find = |id: &str| apis.iter().find(|api| api.id.as_str() == id);
            of_invocations(&report, find).remove(0)
        }
        "ACCESS_CONTROL_POLICY_UPDATE" | "ACCESS_CONTROL_POLICY_UNAVAILABLE" => {
            let changed = dice.one_in(2).then_some(invoker);
            happening.things = vec![[Some(APIS[one].0), changed, Some(aef)]];
            happening.only = Some(aef);
            let id = changed.map(ApiInvokerId::from);
            of_policies(known, &apis[one], &aef.into(), id.as_ref(), None)
        }
        "API_TOPOLOGY_HIDING_CREATED" | "API_TOPOLOGY_HIDING_REVOKED" => {
            happening.things = vec![[Some(APIS[one].0), None, Some(aef)]];
            happening.only = Some(aef);
            let hiding = wire(json!({ "apiId": APIS[one].0, "routingRules": [] }));
            of_hiding(known, &apis[one], &aef.into(), hiding)
        }
        "API_INVOKER_ONBOARDING_CRITERIA_FAILED" => {
            happening.things = all(None, Some(invoker));
            let criteria = wire(json!([{ "secMethods": ["PKI"] }]));
            of_failed_criteria(Some(&invoker.into()), criteria, chosen().collect())
        }
        "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT" => {
            happening.things = all(None, None);
            of_onboarded_counts(chosen().map(|api| (api, 7)).collect())
        }
        _ => {
            happening.things = all(None, None);
            let count = || wire(json!({ "apiId": "", "discoveryReqCount": 7 }));
            of_discovery_counts(chosen().map(|api| (api, count())).collect())
        }
    };
    (happening, occurrence)
}

/// Who subscribed, as the test thinks of it.
#[derive(Clone, Debug)]
struct Listener {
    id: &'static str,
    role: Role,
    domain: &'static str,
    reach: Reach,
}

fn random_subscription(dice: &mut Dice, events: &[&'static str]) -> (Listener, Subscription) {
    let listener = if dice.one_in(4) {
        Listener {
            id: dice.pick(&INVOKERS),
            role: Role::ApiInvoker,
            domain: "",
            reach: Reach::random(dice),
        }
    } else {
        let (id, role, domain) = dice.pick(&FUNCTIONS);
        Listener {
            id,
            role,
            domain,
            reach: Reach(Some(domain), None),
        }
    };
    let wanted: Vec<&str> = (0..=dice.below(3)).map(|_| dice.pick(events)).collect();
    let mut held = subscription(listener.id, listener.role, &wanted);
    held.reach = listener.reach.real();
    let filters = (0..dice.below(wanted.len() as u64 + 1)).map(|_| {
        let mut filter = json!({});
        if dice.one_in(3) {
            filter["apiIds"] = json!(dice.some(&API_IDS));
        }
        if dice.one_in(3) {
            filter["apiInvokerIds"] = json!(dice.some(&INVOKERS));
        }
        if dice.one_in(3) {
            filter["aefIds"] = json!(dice.some(&AEFS));
        }
        wire(filter)
    });
    let filters: Vec<_> = filters.collect();
    held.subscription.event_filters = Some(filters).filter(|filters| !filters.is_empty());
    let features = dice.pick(&["4", "4", "4", "C", "F", "0", "8"]);
    held.subscription.supported_features = Some(features.into());
    (listener, held)
}

/// The things of a happening that a subscription should hear of, by the words of the standard.
fn should_hear(
    listener: &Listener,
    document: &Value,
    happening: &Happening,
) -> Vec<[Option<&'static str>; 3]> {
    let features = document["supportedFeatures"].as_str().unwrap();
    let enhanced = u32::from_str_radix(features, 16).unwrap() & 4 != 0;
    let is_invoker = listener.role == Role::ApiInvoker;
    let addressed = match (&happening.only, &happening.circle) {
        (Some(aef), _) => *aef == listener.id,
        (None, Some((reach, aefs))) => {
            is_invoker
                || reach.meets(listener.domain)
                || (listener.role == Role::Aef && aefs.contains(&listener.id))
        }
        (None, None) => true,
    };
    if !addressed || !right(happening.event).contains(letter(listener.role)) {
        return Vec::new();
    }
    let lets = |filter: &Value, member: &str, id: Option<&str>| match (&filter[member], id) {
        (Value::Array(wanted), Some(id)) => wanted.iter().any(|wanted| wanted == id),
        _ => true,
    };
    let asked = |[api, invoker, aef]: &[Option<&str>; 3]| {
        let events = document["events"].as_array().unwrap();
        events.iter().enumerate().any(|(index, event)| {
            let filter = &document["eventFilters"][index];
            event == happening.event
                && (!enhanced
                    || (lets(filter, "apiIds", *api)
                        && lets(filter, "apiInvokerIds", *invoker)
                        && lets(filter, "aefIds", *aef)))
        })
    };
    // What is put to an AEF by name is within its reach.
    let is_named = happening.only.is_some();
    let reached = |[api, invoker, _]: &[Option<&str>; 3]| {
        api.is_none_or(|api| is_named || listener.reach.has(api))
            && (!is_invoker || invoker.is_none_or(|invoker| invoker == listener.id))
    };
    let things = happening.things.iter();
    things
        .filter(|thing| reached(thing) && asked(thing))
        .copied()
        .collect()
}

/// The ids in a detail, each with the member that it stands in.
fn ids(detail: &Value, member: &str, id: &str) -> BTreeSet<String> {
    let items = detail[member].as_array().into_iter().flatten();
    items
        .map(|item| item.as_str().or(item[id].as_str()).unwrap().to_owned())
        .collect()
}

/// TS 29.222 clauses 5.4.2.2.2 and 8.3.4.2.2: rights, reach, filters and audience.
#[test]
fn whoever_should_hear_hears() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let apis = published_apis();
    let (mut heard, mut silent) = (0, 0);
    for case in 0..10_000 {
        let (happening, occurrence) = random_happening(&mut dice, &apis);
        let events = [happening.event, dice.pick(CapifEvent::KNOWN)];
        let (listener, held) = random_subscription(&mut dice, &events);
        let document = serde_json::to_value(&held.subscription).unwrap();
        let expected = should_hear(&listener, &document, &happening);
        let mut changes = Changes::new();
        raise(&mut changes, occurrence, std::iter::once(&held), &now());
        let told = notified(&changes);
        let why = format!("case {case}: {happening:?} for {listener:?} with {document}");
        assert_eq!(told.len(), usize::from(!expected.is_empty()), "{why}");
        let Some((_, event, detail)) = told.first() else {
            silent += 1;
            continue;
        };
        heard += 1;
        assert_eq!(event, happening.event, "{why}");
        let features = document["supportedFeatures"].as_str().unwrap();
        let bits = u32::from_str_radix(features, 16).unwrap();
        assert_eq!(detail.is_null(), bits & 4 == 0, "{why}");
        if detail.is_null() {
            continue;
        }
        let of = |place: usize| -> BTreeSet<String> {
            let ids = expected.iter().filter_map(|thing| thing[place]);
            ids.map(ToOwned::to_owned).collect()
        };
        let is_state = matches!(
            event.as_str(),
            "SERVICE_API_AVAILABLE" | "SERVICE_API_UNAVAILABLE"
        );
        let (member, id) = match event.as_str() {
            "SERVICE_API_UPDATE" => ("serviceAPIDescriptions", "apiId"),
            "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT" => ("onboardedCount", "apiId"),
            "SERVICE_API_DISCOVERY_BY_API_INVOKERS_COUNT" => ("discoveryCount", "apiId"),
            _ => ("apiIds", ""),
        };
        if event.starts_with("SERVICE_API_INVOCATION") {
            let report = &detail["invocationLogs"][0];
            assert_eq!(ids(report, "logs", "apiId"), of(0), "{why}");
            assert_eq!(
                report["logs"].as_array().unwrap().len(),
                expected.len(),
                "{why}"
            );
            assert_eq!(
                (report["apiInvokerId"].as_str(), report["aefId"].as_str()),
                (expected[0][1], expected[0][2])
            );
        } else if event.starts_with("ACCESS_") {
            assert_eq!(
                detail["accCtrlPolList"]["apiId"].as_str(),
                expected[0][0],
                "{why}"
            );
        } else if event.starts_with("API_TOPOLOGY") {
            assert_eq!(
                detail["apiTopoHide"]["apiId"].as_str(),
                expected[0][0],
                "{why}"
            );
        } else {
            assert_eq!(ids(detail, member, id), of(0), "{why}");
            assert_eq!(ids(detail, "apiInvokerIds", ""), of(1), "{why}");
        }
        let described = detail.get("serviceAPIDescriptions").is_some();
        let follows = bits & 8 != 0;
        assert_eq!(
            described,
            member == "serviceAPIDescriptions" || (is_state && follows),
            "{why}"
        );
    }
    assert!(heard > 1000 && silent > 1000, "{heard} {silent}");
}

/// What a reference or the procedures report: when, which event, and about whom.
type Reported = (i64, String, Vec<String>);

/// TS 29.222 clause 5.4.2.2.2, TS 29.523: on detection, once, periodically, so many times, until then.
#[test]
fn reports_come_when_they_should() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut reports = 0;
    for case in 0..10_000 {
        let mut wish = json!({});
        let method = dice.pick(&["", "ON_EVENT_DETECTION", "ONE_TIME", "PERIODIC", "PERIODIC"]);
        if !method.is_empty() {
            wish["notifMethod"] = json!(method);
        }
        let period = 1 + i64::try_from(dice.below(6)).unwrap();
        if method == "PERIODIC" {
            wish["repPeriod"] = json!(period);
        }
        let most = dice.one_in(2).then(|| 1 + dice.below(5));
        if let Some(most) = most {
            wish["maxReportNbr"] = json!(most);
        }
        let end = dice
            .one_in(2)
            .then(|| 1 + i64::try_from(dice.below(15)).unwrap());
        if let Some(end) = end {
            wish["monDur"] = json!(at(end));
        }
        // At most one thing happens in a second.
        let happenings: Vec<(i64, &str, String)> = (0..20)
            .filter_map(|second| {
                let event = dice.pick(&["API_INVOKER_ONBOARDED", "API_INVOKER_OFFBOARDED", ""]);
                let happens = !event.is_empty();
                happens.then(|| (second, event, format!("INV{}", dice.below(3))))
            })
            .collect();
        let why = format!("case {case}: {wish} {happenings:?}");
        let most = if method == "ONE_TIME" { Some(1) } else { most };
        let period = (method == "PERIODIC").then_some(period);
        let expected = reference(&happenings, period, most, end);
        let (real, is_over) = simulated(&wish, &happenings);
        assert_eq!(real, expected, "{why}");
        let used_up = most.is_some_and(|most| expected.len() as u64 == most);
        assert_eq!(is_over, used_up, "{why}");
        reports += expected.len();
    }
    assert!(reports > 10_000, "{reports}");
}

/// Seconds after the subscription was made.
fn at(seconds: i64) -> DateTime {
    DateTime(now().0 + Duration::seconds(seconds))
}

/// Second by second: what happened is looked at, then what is due goes out.
fn reference(
    happenings: &[(i64, &str, String)],
    period: Option<i64>,
    most: Option<u64>,
    end: Option<i64>,
) -> Vec<Reported> {
    let mut out: Vec<Reported> = Vec::new();
    let mut waiting: Vec<(String, String)> = Vec::new();
    for second in 0..40 {
        // What happens in the moment that a period ends belongs to the next one.
        let flush = period.is_none_or(|period| second % period == 0) || end == Some(second);
        if period.is_some() && flush {
            send(&mut out, &mut waiting, second, most);
        }
        for (_, event, id) in happenings.iter().filter(|(when, ..)| *when == second) {
            if end.is_none_or(|end| second < end) {
                waiting.push(((*event).to_owned(), id.clone()));
            }
        }
        if period.is_none() {
            send(&mut out, &mut waiting, second, most);
        }
    }
    out
}

fn send(
    out: &mut Vec<Reported>,
    waiting: &mut Vec<(String, String)>,
    second: i64,
    most: Option<u64>,
) {
    let mut together: Vec<Reported> = Vec::new();
    for (event, id) in waiting.drain(..) {
        match together.last_mut() {
            Some((_, last, ids)) if *last == event => {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            _ => together.push((second, event, vec![id])),
        }
    }
    for report in together {
        if most.is_none_or(|most| (out.len() as u64) < most) {
            out.push(report);
        }
    }
}

/// The same through the procedures, committed to records as a store would; and whether the subscription is gone at the end.
fn simulated(wish: &Value, happenings: &[(i64, &str, String)]) -> (Vec<Reported>, bool) {
    let aef = function("AEF", Role::Aef, 1);
    let wanted = wire(json!({
        "events": ["API_INVOKER_ONBOARDED", "API_INVOKER_OFFBOARDED"],
        "eventReq": wish,
        "notificationDestination": DESTINATION,
        "supportedFeatures": "4",
    }));
    let mut world = World::default().with(&aef);
    let subscriber = Subscriber::Function(&aef);
    let (changes, _) = subscribe(subscriber, wanted, "SUB".into(), 0, &now()).unwrap();
    world.commit(changes).unwrap();
    let mut out = Vec::new();
    for second in 0..40 {
        deliver(&mut world, second, &mut out);
        for (_, event, id) in happenings.iter().filter(|(when, ..)| *when == second) {
            let Some(held) = world.held::<Subscription>("AEF/SUB") else {
                break;
            };
            let mut changes = Changes::new();
            let occurrence = of_invoker(CapifEvent::from(*event), &id.as_str().into(), everyone());
            raise(
                &mut changes,
                occurrence,
                std::iter::once(&held.record),
                &at(second),
            );
            world.commit(changes).unwrap();
        }
        deliver(&mut world, second, &mut out);
    }
    (out, world.held::<Subscription>("AEF/SUB").is_none())
}

/// Delivers whatever is due, as the task does.
fn deliver(world: &mut World, second: i64, out: &mut Vec<Reported>) {
    while let Some(held) = world.held::<Subscription>("AEF/SUB") {
        let progress = world.held::<Reporting>("AEF/SUB");
        let record = progress.as_ref().map(|held| &held.record);
        let waiting = world.ids(Kind::Notification).into_iter().map(|id| {
            let held = world.held::<Notification>(&id).unwrap().record;
            (id, held)
        });
        let report = match next(&held.record, record, waiting.collect(), &at(second)) {
            Some(Next::Report(report)) => report,
            Some(Next::HoldUntil(until)) => {
                assert!(until > at(second));
                return;
            }
            Some(Next::Over) | None => return,
        };
        assert!(report.due <= at(second));
        let detail = report.notification.event_detail.unwrap();
        let ids = detail.api_invoker_ids.unwrap();
        out.push((
            second,
            report.notification.events.to_string(),
            ids.iter().map(ToString::to_string).collect(),
        ));
        let changes = reported(&held, progress.as_ref(), &report.ids);
        world.commit(changes).unwrap();
    }
}

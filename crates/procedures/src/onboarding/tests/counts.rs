//! SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT.

use super::*;

/// TS 29.222 clause 8.3.4.3.3: who counts is told of each API that the enrolment reaches, in its own domain alone, with the number of
/// enrolments; who does not count is not.
#[test]
fn an_enrolment_is_counted_for_each_api_that_it_reaches() {
    let counting = |subscriber: &str, domain: &str| Subscription {
        reach: domain_only(domain),
        ..subscription(
            subscriber,
            Role::Amf,
            &["SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT"],
        )
    };
    let subscriptions = [
        counting("AMF", "DOM"),
        counting("AMF9", "DOM9"),
        counting("AMF8", "DOM8"),
        subscription("AEF", Role::Aef, &["API_INVOKER_OFFBOARDED"]),
    ];
    let apis = [
        api("A1", "weather", &[]),
        api("A2", "traffic", &[]),
        elsewhere(api("A3", "weather", &[]), "APF9", "DOM9"),
    ];
    let mut tally = Tally::default();
    tally.add(&names(&["weather"]));
    tally.add(&domain_only("DOM"));
    let admission = admitted(&["weather"], credential(ApiReach::default()), &apis).unwrap();
    let certificate = certified(admission.order());
    let (changes, _) = admission.complete(
        certificate,
        Some(new_secret()),
        apis.iter(),
        subscriptions.iter(),
        &tally,
        now(),
    );
    let count = |subscriber: &str, api: &str, count: u64| {
        (
            subscriber.to_owned(),
            "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT".to_owned(),
            json!({ "onboardedCount": [{ "apiId": api, "count": count }] }),
        )
    };
    assert_eq!(
        notified(&changes),
        [count("AMF", "A1", 3), count("AMF9", "A3", 2)]
    );
}

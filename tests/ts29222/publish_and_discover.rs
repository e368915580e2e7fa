//! CAPIF_Publish_Service_API and CAPIF_Discover_Service_API (TS 29.222 clauses 8.2 and 8.1).

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    World,
    people::{self, RawInvoker},
};

fn names(found: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = found["serviceAPIDescriptions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|api| api["apiName"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    names
}

async fn discover(invoker: &RawInvoker, query: &str) -> Value {
    let path = format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}{query}",
        invoker.id
    );
    let answer = invoker.get(&path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    answer.json()
}

/// TS 29.222 clause 5.3.2: publish, get, update, patch, unpublish by the APF.
#[tokio::test]
async fn the_life_of_a_published_api() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let mut description = domain.description("weather", &["PKI"]);
    description["vendorSpecific-000001"] = json!({ "kept": true });
    description["supportedFeatures"] = "fffff".into();
    let answer = domain.apf.post(&domain.apis(), &description).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let published = answer.json();
    let id = published["apiId"].as_str().unwrap();
    let path = format!("{}/{id}", domain.apis());
    assert!(
        answer.headers["location"]
            .to_str()
            .unwrap()
            .ends_with(&path)
    );
    assert_eq!(published["supportedFeatures"], "7");
    // TS 29.222 clause 7.11: vendor members survive.
    assert_eq!(published["vendorSpecific-000001"]["kept"], true);
    assert_eq!(domain.apf.get(&path).await.json(), published);
    assert_eq!(
        domain.apf.get(&domain.apis()).await.json(),
        json!([published])
    );

    let mut changed = published.clone();
    changed["description"] = "tomorrow's".into();
    let answer = domain.apf.put(&path, &changed).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["description"], "tomorrow's");
    assert_eq!(answer.json()["apiId"], id);
    changed["apiId"] = "another".into();
    assert_eq!(
        domain.apf.put(&path, &changed).await.status,
        StatusCode::FORBIDDEN
    );

    let answer = domain
        .apf
        .patch(
            &path,
            &json!({ "description": null, "serviceAPICategory": "sky" }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert!(answer.json().get("description").is_none());
    assert_eq!(answer.json()["serviceAPICategory"], "sky");
    let answer = domain
        .apf
        .patch(&path, &json!({ "apiName": "other" }))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.cause(), "MODIFICATION_NOT_ALLOWED");
    let answer = domain
        .apf
        .patch(&path, &json!({ "aefProfiles": null }))
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);

    assert_eq!(
        domain.apf.delete(&path).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(domain.apf.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(domain.apf.delete(&path).await.status, StatusCode::NOT_FOUND);
    // The name is free again.
    domain.publish("weather", &["PKI"]).await;
}

/// One name serves one API of a domain; another domain may use it too.
#[tokio::test]
async fn a_name_is_taken_once_per_domain() {
    let world = World::start().await;
    let acme = world.domain("acme").await;
    let other = world.domain("other").await;
    acme.publish("weather", &["PKI"]).await;
    let again = acme
        .apf
        .post(&acme.apis(), &acme.description("weather", &["PKI"]))
        .await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
    // Deployed providers compare this text to tell a restart from a failure.
    assert_eq!(
        again.json()["detail"],
        "Already registered service with same api name"
    );
    other.publish("weather", &["PKI"]).await;
    assert_eq!(world.list("apis").await.len(), 2);
}

/// Descriptions that nobody could call are refused.
#[tokio::test]
async fn descriptions_that_cannot_be() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let other = world.domain("other").await;
    let profile = people::profile(&domain.aef.id, &["PKI"]);
    let cases = [
        ("no profile", json!({ "apiName": "a" })),
        (
            "empty profiles",
            json!({ "apiName": "a", "aefProfiles": [] }),
        ),
        (
            "an AEF of others",
            json!({ "apiName": "a", "aefProfiles": [people::profile(&other.aef.id, &["PKI"])] }),
        ),
        (
            "an APF",
            json!({ "apiName": "a", "aefProfiles": [people::profile(&domain.apf.id, &["PKI"])] }),
        ),
        ("no method", {
            let mut profile = profile.clone();
            profile.as_object_mut().unwrap().remove("securityMethods");
            json!({ "apiName": "a", "aefProfiles": [profile] })
        }),
        (
            "an id of its own",
            json!({ "apiName": "a", "apiId": "mine", "aefProfiles": [profile] }),
        ),
        ("two addresses", {
            let mut profile = profile.clone();
            profile["domainName"] = "a.example".into();
            json!({ "apiName": "a", "aefProfiles": [profile] })
        }),
        (
            "a comma in the name",
            json!({ "apiName": "a,b", "aefProfiles": [profile] }),
        ),
    ];
    for (case, description) in cases {
        let answer = domain.apf.post(&domain.apis(), &description).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{case}");
        assert!(!answer.cause().is_empty(), "{case}");
    }
    assert!(world.list("apis").await.is_empty());
}

/// TS 29.222 clause 5.2.2.2: criteria are ANDed, only matching profiles are shown, nothing found is an empty object.
#[tokio::test]
async fn discovery_filters() {
    let world = World::start().await;
    let acme = world.domain("acme").await;
    let other = world.domain("other").await;
    let weather = acme.publish("weather", &["PKI"]).await;
    acme.publish("traffic", &["OAUTH"]).await;
    other.publish("weather", &["PKI"]).await;
    let amy = world.raw_invoker(&[]).await;
    let (aef, other_aef) = (&acme.aef.id, &other.aef.id);
    for (query, expected) in [
        (String::new(), vec!["traffic", "weather", "weather"]),
        ("&api-name=weather".to_owned(), vec!["weather", "weather"]),
        (format!("&api-name=weather&aef-id={aef}"), vec!["weather"]),
        (format!("&aef-id={other_aef}"), vec!["weather"]),
        ("&api-name=traffic&protocol=HTTP_2".to_owned(), vec![]),
        (
            "&protocol=HTTP_1_1&data-format=JSON".to_owned(),
            vec!["traffic", "weather", "weather"],
        ),
        ("&api-version=v2".to_owned(), vec![]),
        (format!("&api-ids={weather}"), vec!["weather"]),
        ("&api-name=Weather".to_owned(), vec![]),
        (
            "&unknown-parameter=1".to_owned(),
            vec!["traffic", "weather", "weather"],
        ),
    ] {
        let found = discover(&amy, &query).await;
        assert_eq!(names(&found), expected, "{query}");
        if expected.is_empty() {
            assert!(found.get("serviceAPIDescriptions").is_none(), "{query}");
        }
    }
    for query in [
        format!("&api-ids={weather}&api-name=weather"),
        "&api-supported-features=1".to_owned(),
        "&api-name=a&api-name=b".to_owned(),
    ] {
        let path = format!(
            "/service-apis/v1/allServiceAPIs?api-invoker-id={}{query}",
            amy.id
        );
        let answer = amy.get(&path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.cause(), "INVALID_QUERY_PARAM");
    }
    // R-6.3-11: in one's own name only.
    let answer = amy
        .get(&format!(
            "/service-apis/v1/allServiceAPIs?api-invoker-id={aef}"
        ))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(
        amy.get("/service-apis/v1/allServiceAPIs").await.status,
        StatusCode::BAD_REQUEST
    );
}

/// R-6.2-03: an invoker discovers what its enrolment reaches.
#[tokio::test]
async fn discovery_ends_where_the_enrolment_ends() {
    let world = World::start().await;
    let acme = world.domain("acme").await;
    acme.publish("weather", &["PKI"]).await;
    acme.publish("traffic", &["PKI"]).await;
    let amy = world.raw_invoker(&["weather"]).await;
    assert_eq!(names(&discover(&amy, "").await), ["weather"]);
    assert_eq!(
        names(&discover(&amy, "&api-name=traffic").await),
        Vec::<&str>::new()
    );
    // Published later, and within reach.
    let ben = world.raw_invoker(&["sea"]).await;
    assert_eq!(names(&discover(&ben, "").await), Vec::<&str>::new());
    acme.publish("sea", &["PKI"]).await;
    assert_eq!(names(&discover(&ben, "").await), ["sea"]);
}

//! The audit trail, for whoever looks into it or verifies it: records as they are kept, to the letter.

use capif_procedures::changes::Kind;
use capif_transport::{Body, full};
use http::{HeaderValue, Response, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    api::{json_answer, problem::ApiError},
    core::Core,
    store::{Chained, Page, chain},
};

/// How many records one page shows.
const PAGE_RECORDS: usize = 1000;

/// How far the trail has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heads {
    /// The text of the head file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The last record as `NUMBER LINK`; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

/// `GET /audit/head`
pub(super) fn heads(core: &Core) -> Result<Response<Body>, ApiError> {
    // The file first: it is never ahead of the trail.
    let file = core.trail.head_file();
    let end = core.trail.end().map(|end| end.to_string());
    json_answer(http::StatusCode::OK, &Heads { file, end })
}

/// `GET /audit?after=NUMBER`: from the beginning without, where what stands for the pruned records comes first.
pub(super) async fn page(core: &Core, query: Option<&str>) -> Result<Response<Body>, ApiError> {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(query.unwrap_or_default()).unwrap_or_default();
    let after = pairs
        .iter()
        .find(|(name, _)| name == "after")
        .and_then(|(_, value)| value.parse().ok());
    let page = Page {
        kind: Kind::Audit,
        prefix: String::new(),
        after: after.map(chain::id),
        limit: PAGE_RECORDS,
    };
    let found = core.store.scan(page).await?;
    let mut body = vec![b'['];
    for (index, (key, stored)) in found.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        // Whoever verifies is to see that a record is spoilt, not an answer that cannot be read.
        if serde_json::from_slice::<Chained>(&stored.value).is_ok() {
            body.extend_from_slice(&stored.value);
        } else {
            let spoilt = Chained {
                sequence: key.id.parse().unwrap_or_default(),
                link: String::new(),
                record: RawValue::NULL.to_owned(),
            };
            body.extend(serde_json::to_vec(&spoilt).map_err(ApiError::Encoding)?);
        }
    }
    body.push(b']');
    let mut response = Response::new(full(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

//! The audit trail, for whoever looks into it or verifies it: records as they are kept, to the letter.

use capif_procedures::changes::Kind;
use capif_transport::full;
use http::{HeaderValue, Response, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::operations::{Call, Finished, Operation, answer, query_refusal};
use crate::{
    api::problem::ApiError,
    core::Core,
    store::{Chained, Page, chain},
};

/// How many records one page shows.
const PAGE_RECORDS: usize = 1000;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get(
        "/audit",
        "the records of the audit trail as they are kept, at most 1000",
        |call| Box::pin(async move { page(&call).await }),
    )
    .query(&[("after", "only what follows the record of this number")]),
    Operation::get("/audit/head", "how far the audit trail has come", |call| {
        answer(async move { Ok(heads(&call.core)) })
    }),
];

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
fn heads(core: &Core) -> Heads {
    // The file first: it is never ahead of the trail.
    let file = core.trail.head_file();
    let end = core.trail.end().map(|end| end.to_string());
    Heads { file, end }
}

/// `GET /audit?after=NUMBER`: from the beginning without, where what stands for the pruned records comes first.
async fn page(call: &Call) -> Finished {
    let after = call.query("after").map(str::parse).transpose();
    let after = after.map_err(|_| query_refusal("after", "`after` is a record's number"))?;
    let page = Page {
        kind: Kind::Audit,
        prefix: String::new(),
        after: after.map(chain::id),
        limit: PAGE_RECORDS,
    };
    let found = call.core.store.scan(page).await?;
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

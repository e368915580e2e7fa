//! Who may speak for the operator over the network. Credentials are made and removed on the socket in the folder alone, so that
//! one that fell into other hands makes no second one.

use capif_procedures::{
    operator::{self, Wish},
    state::Digest,
};
use capif_spec::common::{DateTime, Redacted};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::operations::{Operation, answer, answer_with, done};
use crate::{api::problem::ApiError, audit::Act, core::Core, random};

/// What each token begins with, so that it is known for what it is wherever it turns up.
const TOKEN_PREFIX: &str = "capif-operator-";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get(
        "/operators",
        "who may speak for the operator over the network, and until when",
        |call| answer(async move { Ok(list(&call.core)) }),
    ),
    Operation::post(
        "/operators",
        "makes a credential of the operator's API; the token is shown this once",
        |call| {
            answer_with(StatusCode::CREATED, async move {
                add(&call.core, call.json()?).await
            })
        },
    )
    .body(&[
        ("name", "the name on every act that is done with it"),
        ("readOnly", "whether nothing may be changed with it"),
        ("days", "for how many days it counts"),
    ])
    .in_the_folder(),
    Operation::delete(
        "/operators/{name}",
        "takes a credential of the operator's API back",
        |call| done(async move { remove(&call.core, call.parameter(0)).await }),
    )
    .in_the_folder(),
];

/// Lets somebody speak for the operator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewOperator {
    /// The name on every act that is done with it.
    pub name: String,
    /// Whether nothing may be changed with it.
    #[serde(default)]
    pub read_only: bool,
    /// For how many days it counts.
    pub days: u32,
}

/// A credential with its token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorToken {
    /// The token, which is kept nowhere.
    pub token: Redacted,
    /// From when on it counts no more.
    pub expires: DateTime,
}

/// A credential as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorStatus {
    /// The name on every act that is done with it.
    pub name: String,
    /// Whether nothing may be changed with it.
    pub read_only: bool,
    /// When it was made.
    pub created: DateTime,
    /// From when on it counts no more.
    pub expires: DateTime,
}

fn list(core: &Core) -> Vec<OperatorStatus> {
    let records = core.view.read();
    let status = |held: &capif_procedures::state::OperatorCredential| OperatorStatus {
        name: held.name.clone(),
        read_only: held.read_only,
        created: held.created.clone(),
        expires: held.expires.clone(),
    };
    records.operators().map(status).collect()
}

async fn add(core: &Core, wanted: NewOperator) -> Result<OperatorToken, ApiError> {
    let secret = random::secret_text(&*random::secret()?);
    let token = Redacted::from(format!("{TOKEN_PREFIX}{}", secret.expose()));
    let digest = digest_of(token.expose());
    let wish = Wish {
        name: &wanted.name,
        read_only: wanted.read_only,
        days: wanted.days,
    };
    let rights = if wish.read_only { "to look" } else { "to act" };
    let act = Act::by_operator("AddOperator", wish.name)
        .detail(format!("{rights}, for {} days", wish.days));
    let now = core.now();
    let expires = core
        .transact(&act, |records| {
            let held = records.operator(wish.name).map(AsRef::as_ref);
            let count = records.operators().len();
            let (credential, changes) = operator::add(&wish, digest.clone(), held, count, &now)?;
            Ok((changes, credential.expires))
        })
        .await?;
    Ok(OperatorToken { token, expires })
}

async fn remove(core: &Core, name: &str) -> Result<(), ApiError> {
    let act = Act::by_operator("RemoveOperator", name);
    core.transact(&act, |records| {
        let held = records.operator(name).map(AsRef::as_ref);
        Ok((operator::remove(held)?, ()))
    })
    .await
}

/// What stands for a token in the store.
pub(super) fn digest_of(token: &str) -> Digest {
    random::sha256(token.as_bytes())
}

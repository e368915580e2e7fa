//! The accounts of the account service, for the operator.

use capif_procedures::{refusal::Refusal, state::PendingWish};
use capif_spec::common::{ApiProviderDomainId, DateTime, Redacted};
use serde::{Deserialize, Serialize};

use super::{
    operations::{Names, Operation, answer},
    parties,
};
use crate::{
    account::{AccountError, operator},
    api::{approval, problem::ApiError, registration},
    audit::Act,
    core::Core,
    credential::{account_of, of_account},
};

const NAME: Names = &[("name", "the name of the account")];

/// The operations of this module.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get("/accounts", "the accounts of the account service", |call| {
        answer(async move { operator::list(&call.core).await.map_err(refused) })
    }),
    Operation::post(
        "/accounts/password",
        "gives an account another password, which is shown this once",
        |call| {
            answer(async move {
                let named: AccountName = call.json()?;
                let password = operator::new_password(&call.core, &named.name).await;
                password
                    .map(|password| NewPassword { password })
                    .map_err(refused)
            })
        },
    )
    .body(NAME),
    Operation::post(
        "/accounts/remove",
        "removes an account; what its holder enrolled stays",
        |call| {
            answer(async move {
                let named: AccountName = call.json()?;
                let removed = operator::remove(&call.core, &named.name).await;
                removed.map(|()| named).map_err(refused)
            })
        },
    )
    .body(NAME),
    Operation::get(
        "/accounts/enrolled",
        "what the holders of accounts enrolled, whether or not the accounts are still there",
        |call| answer(async move { enrolled(&call.core, call.query("name")).await }),
    )
    .query(&[("name", "only by the account of this name")]),
    Operation::post(
        "/accounts/purge",
        "offboards and removes all that the holder of an account enrolled; the account stays",
        |call| {
            answer(async move {
                let named: AccountName = call.json()?;
                purge(&call.core, &named.name).await
            })
        },
    )
    .body(NAME),
];

/// The account that is meant.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountName {
    /// Its name.
    pub name: String,
}

/// A password that was just made.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewPassword {
    /// The password, here and nowhere else in the clear.
    pub password: Redacted,
}

/// Something that the holder of an account enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// What it is.
    pub what: EnrolledAs,
    /// The name of the account.
    pub account: String,
    /// Its id.
    pub id: String,
    /// Since when it is there.
    pub since: DateTime,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub information: Option<String>,
}

/// What the holder of an account can enrol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnrolledAs {
    /// An API invoker.
    Invoker,
    /// An API provider domain.
    Provider,
    /// An onboarding that waits for the operator.
    Pending,
}

/// What an account enrolled, or all accounts, the oldest of each sort first.
async fn enrolled(core: &Core, name: Option<&str>) -> Result<Vec<Enrolled>, ApiError> {
    let all = all_of(core, name);
    if let Some(name) = name
        && all.is_empty()
        && !operator::is_known(core, name).await.map_err(refused)?
    {
        return Err(Refusal::NotFound { what: "account" }.into());
    }
    Ok(all)
}

fn all_of(core: &Core, name: Option<&str>) -> Vec<Enrolled> {
    let records = core.view.read();
    let invokers = records.invokers().map(|held| {
        let said = held.information.as_ref();
        let issuer = Some(&held.issuer);
        (
            EnrolledAs::Invoker,
            issuer,
            held.id.as_str(),
            &held.onboarded,
            said,
        )
    });
    let domains = records.domains().map(|held| {
        let said = held.information.as_ref();
        let issuer = held.issuer.as_ref();
        (
            EnrolledAs::Provider,
            issuer,
            held.id.as_str(),
            &held.registered,
            said,
        )
    });
    let waiting = records.all_pending().filter(|held| held.rejected.is_none());
    let waiting = waiting.map(|held| {
        let (issuer, said) = match &held.wish {
            PendingWish::Onboarding(wish) => (
                Some(&wish.issuer),
                wish.details.api_invoker_information.as_ref(),
            ),
            // What an invoker asks for that is here already.
            PendingWish::Replacement(_) | PendingWish::Modification(_) => (None, None),
        };
        (
            EnrolledAs::Pending,
            issuer,
            held.id.as_str(),
            &held.asked,
            said,
        )
    });
    let rows = invokers.chain(domains).chain(waiting);
    let rows = rows.filter_map(|(what, issuer, id, since, said)| {
        let account = account_of(issuer?)?;
        name.is_none_or(|name| name == account).then(|| Enrolled {
            what,
            account: account.to_owned(),
            id: id.to_owned(),
            since: since.clone(),
            information: said.cloned(),
        })
    });
    let mut all: Vec<Enrolled> = rows.collect();
    all.sort_by(|one, other| {
        let key = |row: &Enrolled| (row.what, row.since.0);
        key(one).cmp(&key(other))
    });
    all
}

/// Removes all of it, one after the other, each as if the operator had asked for it alone. What was removed is the answer; what goes
/// by itself meanwhile is passed over.
async fn purge(core: &Core, name: &str) -> Result<Vec<Enrolled>, ApiError> {
    let mut gone = Vec::new();
    let detail = format!("all of {}", of_account(name));
    for row in enrolled(core, Some(name)).await? {
        let id = row.id.as_str();
        let outcome = match row.what {
            EnrolledAs::Invoker => {
                let act = Act::by_operator("Offboard", id).detail(&detail);
                parties::offboard(core, &act, id).await
            }
            EnrolledAs::Provider => {
                let act = Act::by_operator("RemoveProvider", id).detail(&detail);
                registration::remove(core, &act, &ApiProviderDomainId::new(id), None).await
            }
            EnrolledAs::Pending => approval::reject(core, id, None).await.map(|_| ()),
        };
        match outcome {
            Err(ApiError::Refused(Refusal::NotFound { .. })) => {}
            outcome => {
                outcome?;
                gone.push(row);
            }
        }
    }
    Ok(gone)
}

fn refused(error: AccountError) -> ApiError {
    match error {
        AccountError::Core(error) => error,
        AccountError::NoUser => Refusal::NotFound { what: "account" }.into(),
        other => Refusal::incorrect("", other.to_string()).into(),
    }
}

//! The accounts of the account service, for the operator.

use std::collections::BTreeSet;

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
    credential::account_of,
};

const NAME: Names = &[("name", "the name of the account")];

const OF_ONE: Names = &[
    ("name", "the name of the account"),
    (
        "id",
        "the id of the account, where several had the name one after another",
    ),
];

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
                let purge: Purge = call.json()?;
                purge_all(&call.core, &purge).await
            })
        },
    )
    .body(OF_ONE),
];

/// The account that is meant.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountName {
    /// Its name.
    pub name: String,
}

/// The account whose holder's enrolments are meant.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// Its name.
    pub name: String,
    /// Its id, where several accounts had the name one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
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
    /// The id of the account, which no later one of that name has.
    #[serde(rename = "accountId")]
    pub account_id: String,
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
        let (account, account_id) = account_of(issuer?)?;
        name.is_none_or(|name| name == account).then(|| Enrolled {
            what,
            account: account.to_owned(),
            account_id: account_id.to_owned(),
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

/// How often it is looked for what came meanwhile: what waited may have been approved.
const ROUNDS_MAX: usize = 3;

/// Removes all of it, one after the other, each as if the operator had asked for it alone. What was removed is the answer; what goes
/// by itself meanwhile is passed over.
async fn purge_all(core: &Core, purge: &Purge) -> Result<Vec<Enrolled>, ApiError> {
    let is_meant = |row: &Enrolled| purge.id.as_ref().is_none_or(|id| *id == row.account_id);
    let mut rows = enrolled(core, Some(&purge.name)).await?;
    rows.retain(is_meant);
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.account_id.as_str()).collect();
    if ids.len() > 1 {
        return Err(Refusal::Several {
            what: "accounts",
            name: purge.name.clone(),
            ids: ids.into_iter().map(str::to_owned).collect(),
        }
        .into());
    }
    let Some(id) = rows.first().map(|row| row.account_id.clone()) else {
        // With an id it is about what was listed with that id.
        return match purge.id {
            Some(_) => Err(Refusal::NotFound {
                what: "enrolment by an account of this id",
            }
            .into()),
            None => Ok(rows),
        };
    };
    let mut gone = Vec::new();
    for _ in 0..ROUNDS_MAX {
        for row in rows {
            if remove(core, &row).await? {
                gone.push(row);
            }
        }
        rows = all_of(core, Some(&purge.name));
        rows.retain(|row| row.account_id == id);
        if rows.is_empty() {
            break;
        }
    }
    Ok(gone)
}

/// Removes one. Says whether it was still there.
async fn remove(core: &Core, row: &Enrolled) -> Result<bool, ApiError> {
    let id = row.id.as_str();
    let detail = format!("all of account {} ({})", row.account, row.account_id);
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
        Ok(()) => Ok(true),
        Err(ApiError::Refused(Refusal::NotFound { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}

fn refused(error: AccountError) -> ApiError {
    match error {
        AccountError::Core(error) => error,
        AccountError::NoUser => Refusal::NotFound { what: "account" }.into(),
        other => Refusal::incorrect("", other.to_string()).into(),
    }
}

//! The account service: names and passwords for deployed CAPIF clients, which know no other way to get an enrolment credential.
//! It stands in no specification; three generations of it are in the field.
//!
//! What an account opens is the door to enrolment and no other: from then on its holder is who its certificate says. It is off unless
//! the operator enables it, and what the oldest clients need, passwords without TLS, has a switch and a socket of its own.

mod answer;
mod guard;
pub(crate) mod operator;
mod passwords;
mod running;
mod sessions;
mod users;

use std::{net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use capif_procedures::state::Account;
use capif_spec::{common::Redacted, json};
use capif_transport::{Body, Connection, Handler, collect};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub(crate) use self::{
    answer::AccountError,
    running::{BeginError, Running},
    sessions::Sessions,
};
use self::{
    answer::answer,
    guard::Guard,
    passwords::Passwords,
    sessions::Use,
    users::{ADMINISTRATOR, NewUser},
};
use crate::{audit::Act, core::Core, random};

/// The largest request.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// How long a request body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The operations, as the log names them.
const OPERATIONS: [&str; 9] = [
    "login",
    "refresh",
    "createUser",
    "deleteUser",
    "getUsers",
    "getauth",
    "register",
    "remove",
    "ca-root",
];

/// Where deployed clients go with their credential: relative, as they put it together.
const ADDRESSES: [(&str, &str); 5] = [
    (
        "ccf_api_onboarding_url",
        "api-provider-management/v1/registrations",
    ),
    ("ccf_publish_url", "published-apis/v1/<apfId>/service-apis"),
    (
        "ccf_onboarding_url",
        "api-invoker-management/v1/onboardedInvokers",
    ),
    (
        "ccf_discover_url",
        "service-apis/v1/allServiceAPIs?api-invoker-id=",
    ),
    (
        "ccf_security_url",
        "capif-security/v1/trustedInvokers/<apiInvokerId>",
    ),
];

/// The accounts of a core function.
pub(crate) struct AccountService {
    core: Arc<Core>,
    passwords: Passwords,
    guard: Guard,
}

/// One socket of the account service.
pub(crate) struct AccountListener {
    pub(crate) service: Arc<AccountService>,
    /// Whether it has TLS. Without, nobody signs in as an administrator.
    pub(crate) is_secure: bool,
}

/// Name and password.
#[derive(Deserialize)]
struct SignIn {
    username: String,
    password: Redacted,
}

/// A request with what is known of it.
struct Ask {
    method: Method,
    path: Vec<String>,
    headers: HeaderMap,
    body: Bytes,
    from: IpAddr,
    is_secure: bool,
    request_id: String,
}

impl AccountService {
    /// The service, and the password of the administrator if this start made one.
    pub(crate) async fn begin(core: Arc<Core>) -> Result<(Self, Option<Redacted>), AccountError> {
        let service = Self {
            core,
            passwords: Passwords::new()?,
            guard: Guard::default(),
        };
        let core = &service.core;
        let all = users::all(core).await?;
        if all.iter().any(|held| held.record.is_administrator) {
            return Ok((service, None));
        }
        let password = Passwords::random().map_err(crate::api::problem::ApiError::from)?;
        let first = json!({ "username": ADMINISTRATOR, "password": password.expose() });
        let first: NewUser = parse(first.to_string().as_bytes())?;
        let act = Act::by_task("CreateAccount", ADMINISTRATOR);
        users::create(core, &service.passwords, act, first, true).await?;
        Ok((service, Some(password)))
    }

    async fn respond(&self, ask: &Ask) -> Result<Response<Body>, AccountError> {
        let path: Vec<&str> = ask.path.iter().map(String::as_str).collect();
        let registers = self.core.config.account_service.registration;
        match (ask.method.as_str(), path.as_slice()) {
            ("POST", ["login"]) => self.login(ask).await,
            ("POST", ["refresh"]) => self.refresh(ask).await,
            ("POST", ["createUser"]) => self.create_user(ask).await,
            ("DELETE", ["deleteUser", uuid]) => self.delete_user(ask, uuid).await,
            ("GET", ["getUsers"]) => self.users(ask).await,
            ("GET", ["getauth"]) => {
                let account = self.by_basic(ask).await?;
                self.credential(ask, &account).await
            }
            ("POST", ["getauth"]) => {
                let account = self.by_body(ask).await?;
                self.credential(ask, &account).await
            }
            ("POST", ["register"]) if registers => self.register(ask).await,
            ("DELETE", ["remove"]) if registers => self.remove_own(ask).await,
            ("POST", ["register"]) | ("DELETE", ["remove"]) => Err(AccountError::Forbidden(
                "users do not register themselves here: ask the administrator of the core function for an account",
            )),
            ("GET", ["ca-root"]) => {
                let root = self.core.authorities.root_pem();
                answer(StatusCode::OK, &json!({ "certificate": root }))
            }
            (_, ["login" | "refresh" | "createUser" | "register"]) => {
                Err(AccountError::Method("POST"))
            }
            (_, ["getUsers" | "ca-root"]) => Err(AccountError::Method("GET")),
            (_, ["getauth"]) => Err(AccountError::Method("GET, POST")),
            (_, ["deleteUser", _] | ["remove"]) => Err(AccountError::Method("DELETE")),
            _ => Err(AccountError::UnknownPath),
        }
    }

    async fn login(&self, ask: &Ask) -> Result<Response<Body>, AccountError> {
        secure(ask)?;
        let account = self.by_basic(ask).await?;
        if !account.is_administrator {
            return Err(AccountError::Forbidden(
                "this account is no administrator's; users fetch their credentials from /getauth",
            ));
        }
        let now = self.core.clock.now();
        let open = |is_for| self.core.account_sessions.open(&account, is_for, now);
        let (access, refresh) = (open(Use::Access)?, open(Use::Refresh)?);
        // Whoever took the account away meanwhile ended the tokens that there were then.
        if !self.is_still(&account).await? {
            self.core.account_sessions.end(&account.name);
            return Err(AccountError::Wrong);
        }
        let said = json!({
            "message": "signed in",
            "access_token": access.expose(),
            "refresh_token": refresh.expose(),
            "expires_in": sessions::ACCESS_LIFE.whole_seconds(),
        });
        answer(StatusCode::OK, &said)
    }

    async fn refresh(&self, ask: &Ask) -> Result<Response<Body>, AccountError> {
        self.by_token(ask, Use::Refresh).await?;
        let now = self.core.clock.now();
        // In one step: what ends the sessions meanwhile ends this one too, or finds no token to refresh.
        let access = self.core.account_sessions.refresh(bearer(ask)?, now)?;
        let access = access.ok_or(AccountError::SignIn("Bearer"))?;
        let said = json!({
            "message": "here is another access token",
            "access_token": access.expose(),
            "expires_in": sessions::ACCESS_LIFE.whole_seconds(),
        });
        answer(StatusCode::OK, &said)
    }

    async fn create_user(&self, ask: &Ask) -> Result<Response<Body>, AccountError> {
        let by = self.by_token(ask, Use::Access).await?.name;
        let user: NewUser = parse(&ask.body)?;
        user.complete()?;
        let act = act(&by, "CreateAccount", ask, &user.username);
        let made = users::create(&self.core, &self.passwords, act, user, false).await?;
        let said = json!({ "message": "the user was made", "uuid": made.uuid });
        answer(StatusCode::CREATED, &said)
    }

    async fn delete_user(&self, ask: &Ask, uuid: &str) -> Result<Response<Body>, AccountError> {
        let by = self.by_token(ask, Use::Access).await?.name;
        let all = users::all(&self.core).await?;
        let held = all.into_iter().find(|held| held.record.uuid == uuid);
        let held = held.ok_or(AccountError::NoUser)?;
        if held.record.is_administrator {
            return Err(AccountError::Forbidden(
                "an administrator is not removed by this operation",
            ));
        }
        let act = act(&by, "RemoveAccount", ask, &held.record.name);
        users::remove(&self.core, act, &held).await?;
        Ok(answer::no_content())
    }

    async fn users(&self, ask: &Ask) -> Result<Response<Body>, AccountError> {
        self.by_token(ask, Use::Access).await?;
        let all = users::all(&self.core).await?;
        let told: Vec<Value> = all.iter().map(|held| users::told(&held.record)).collect();
        answer(
            StatusCode::OK,
            &json!({ "message": "the users", "users": told }),
        )
    }

    async fn register(&self, ask: &Ask) -> Result<Response<Body>, AccountError> {
        let user: NewUser = parse(&ask.body)?;
        // Who makes many accounts is held back like who guesses passwords.
        self.patience(ask, &user.username)?;
        let now = self.core.clock.now();
        self.guard.count(ask.from, &user.username, now);
        let role = user.role().map(str::to_owned);
        let act = act(&user.username, "CreateAccount", ask, &user.username);
        let made = users::create(&self.core, &self.passwords, act, user, false).await?;
        let wanted: &[&str] = match role.as_deref() {
            Some("invoker") => &["ccf_onboarding_url", "ccf_discover_url"],
            Some("provider" | "exposer") => &["ccf_api_onboarding_url", "ccf_publish_url"],
            _ => &[],
        };
        let said = json!({ "message": "the user was made", "id": made.uuid });
        let said = with_addresses(said, |name| wanted.is_empty() || wanted.contains(&name));
        answer(StatusCode::CREATED, &said)
    }

    async fn remove_own(&self, ask: &Ask) -> Result<Response<Body>, AccountError> {
        let account = self.by_body(ask).await?;
        if account.is_administrator {
            return Err(AccountError::Forbidden(
                "an administrator is not removed by this operation",
            ));
        }
        let held = users::find(&self.core, &account.name).await?;
        let held = held.ok_or(AccountError::NoUser)?;
        let act = act(&account.name, "RemoveAccount", ask, &account.name);
        users::remove(&self.core, act, &held).await?;
        Ok(answer::no_content())
    }

    /// A credential with which the account's holder enrols one invoker or one provider domain.
    async fn credential(
        &self,
        ask: &Ask,
        account: &Account,
    ) -> Result<Response<Body>, AccountError> {
        if account.is_administrator {
            return Err(AccountError::Forbidden(
                "an administrator enrols nobody: make a user with /createUser",
            ));
        }
        let core = &self.core;
        let minutes = i64::from(core.config.account_service.credential_minutes);
        let credential = core
            .credentials
            .of_account(account, minutes.saturating_mul(60), &core.now())
            .map_err(crate::api::problem::ApiError::from)?;
        let act = act(
            &account.name,
            "FetchEnrolmentCredential",
            ask,
            &account.uuid,
        );
        core.commit(&act, capif_procedures::changes::Changes::new())
            .await?;
        let said = json!({
            "message": "enrol with this token, once",
            "access_token": credential.expose(),
            "ca_root": core.authorities.root_pem(),
        });
        let said = with_addresses(said, |_| true);
        answer(StatusCode::OK, &said)
    }

    async fn by_basic(&self, ask: &Ask) -> Result<Account, AccountError> {
        let value = authorization(&ask.headers, "basic").ok_or(AccountError::SignIn("Basic"))?;
        let octets = BASE64_STANDARD.decode(value).ok();
        let text = octets.and_then(|octets| String::from_utf8(octets).ok());
        let text = text
            .map(Redacted::from)
            .ok_or(AccountError::SignIn("Basic"))?;
        let (name, password) = text
            .expose()
            .split_once(':')
            .ok_or(AccountError::SignIn("Basic"))?;
        self.known(ask, name, &Redacted::from(password)).await
    }

    async fn by_body(&self, ask: &Ask) -> Result<Account, AccountError> {
        let sign_in: SignIn = parse(&ask.body)?;
        self.known(ask, &sign_in.username, &sign_in.password).await
    }

    /// Judges name and password. Whether there is such an account cannot be told from the answer, nor from its time.
    async fn known(
        &self,
        ask: &Ask,
        name: &str,
        password: &Redacted,
    ) -> Result<Account, AccountError> {
        let turn = self.passwords.turn().await?;
        // In its turn: of many passwords that come at the same time, no more are looked at than of those that come one by one.
        self.patience(ask, name)?;
        let held = users::find(&self.core, name).await?;
        let hash = held.as_ref().map(|held| held.record.password.as_str());
        let (is_right, turn) = self.passwords.verify(turn, password, hash).await?;
        let now = self.core.clock.now();
        match held.filter(|_| is_right) {
            Some(held) => {
                self.guard.forget(ask.from, name);
                Ok(held.record)
            }
            None => {
                self.guard.count(ask.from, name, now);
                drop(turn);
                let act = act("somebody", "SignIn", ask, "").refused();
                self.core.note_refusal(act).await;
                Err(AccountError::Wrong)
            }
        }
    }

    /// Whether an account is there with the password that it had.
    async fn is_still(&self, account: &Account) -> Result<bool, AccountError> {
        let held = users::find(&self.core, &account.name).await?;
        Ok(held.is_some_and(|held| {
            held.record.uuid == account.uuid && held.record.password == account.password
        }))
    }

    fn patience(&self, ask: &Ask, name: &str) -> Result<(), AccountError> {
        let now = self.core.clock.now();
        match self.guard.must_wait(ask.from, name, now) {
            Some(seconds) => Err(AccountError::Wait(seconds)),
            None => Ok(()),
        }
    }

    /// The administrator who signed in: by the account that there was then, and not by another one that has its name now.
    async fn by_token(&self, ask: &Ask, is_for: Use) -> Result<Account, AccountError> {
        secure(ask)?;
        let sessions = &self.core.account_sessions;
        let signed_in = sessions.account(bearer(ask)?, is_for, self.core.clock.now());
        let (name, uuid) = signed_in.ok_or(AccountError::SignIn("Bearer"))?;
        let held = users::find(&self.core, &name).await?;
        held.map(|held| held.record)
            .filter(|held| held.uuid == uuid && held.is_administrator)
            .ok_or(AccountError::SignIn("Bearer"))
    }
}

/// Adds those addresses that are wanted to an answer.
fn with_addresses(mut said: Value, wanted: impl Fn(&str) -> bool) -> Value {
    if let Value::Object(said) = &mut said {
        let all = ADDRESSES.iter().filter(|(name, _)| wanted(name));
        said.extend(all.map(|(name, address)| ((*name).to_owned(), json!(address))));
    }
    said
}

fn act(by: &str, operation: &'static str, ask: &Ask, subject: &str) -> Act {
    let by = format!("account {by}");
    Act::by_caller(&by, operation, &ask.request_id, subject).detail(format!("from {}", ask.from))
}

fn bearer(ask: &Ask) -> Result<&str, AccountError> {
    authorization(&ask.headers, "bearer").ok_or(AccountError::SignIn("Bearer"))
}

fn secure(ask: &Ask) -> Result<(), AccountError> {
    if ask.is_secure {
        return Ok(());
    }
    Err(AccountError::Forbidden(
        "administrators sign in over https alone",
    ))
}

/// What follows a scheme in the one `Authorization` header.
fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (given, value) = value.split_once(' ')?;
    let value = value.trim();
    (given.eq_ignore_ascii_case(scheme) && !value.is_empty()).then_some(value)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, AccountError> {
    json::from_slice(body).map_err(|error| AccountError::Malformed(error.to_string()))
}

impl Handler for AccountListener {
    async fn handle(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let request_id = random::id("").unwrap_or_default();
        let path: Vec<String> = parts
            .uri
            .path()
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(str::to_owned)
            .collect();
        // What is no operation is not logged: whoever mistakes the form may have put anything there.
        let operation = path
            .first()
            .filter(|first| OPERATIONS.contains(&first.as_str()));
        let operation = operation.cloned().unwrap_or_default();
        let outcome = match collect(body, BODY_BYTES_MAX, BODY_TIME).await {
            Ok(body) => {
                let ask = Ask {
                    method: parts.method.clone(),
                    path,
                    headers: parts.headers,
                    body,
                    from: connection.remote.ip(),
                    is_secure: self.is_secure,
                    request_id: request_id.clone(),
                };
                self.service.respond(&ask).await
            }
            Err(_) => Err(AccountError::Body),
        };
        let (response, cause) = match outcome {
            Ok(response) => (response, String::new()),
            Err(error) => (error.answer(&request_id), error.to_string()),
        };
        tracing::info!(
            target: "capif::request",
            request_id,
            interface = "accounts",
            remote = %connection.remote,
            operation,
            method = %parts.method,
            status = response.status().as_u16(),
            cause,
        );
        response
    }
}

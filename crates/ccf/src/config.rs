//! Configuration: one file, one struct per section, every key with a default that works on its own.
//!
//! Any key can be overridden by the environment: `CAPIF_`, the section, two underscores, the key, in capitals, for
//! example `CAPIF_CCF__LISTEN`. Unknown keys are refused.

mod accounts;
mod audit;
mod authority;
mod callbacks;
mod custody;
mod discovery;
mod moved;
mod operator;
mod renewal;
mod revocation;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use capif_procedures::{security_method::Policy, token_keys::Timing};
use capif_spec::publish_service::SecurityMethod;
use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use serde::Deserialize;

pub use self::{
    accounts::AccountServiceSection,
    audit::AuditSection,
    authority::AuthoritySection,
    callbacks::{CallbacksSection, NotATarget, Target},
    custody::CustodySection,
    discovery::DiscoverySection,
    moved::MovedSection,
    operator::OperatorSection,
    renewal::{Overdue, RenewalSection, RetentionSection},
    revocation::RevocationSection,
};

pub(crate) use self::callbacks::Place;
use crate::authority::{Lives, Terms};

/// The name of the configuration file within the CCF's folder.
pub const FILE_NAME: &str = "capif.toml";

/// The file that `capif init` writes; every key stands there with its default, commented out.
pub const TEMPLATE: &str = include_str!("capif.toml");

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whose dialect is understood beside TS 29.222.
    pub compat: Compat,
    /// Where the CCF listens and how it is reached.
    pub ccf: CcfSection,
    /// Where it serves now, when that is elsewhere.
    pub moved: MovedSection,
    /// The listener for health probes.
    pub management: ManagementSection,
    /// The operator's API over the network.
    pub operator: OperatorSection,
    /// Life of issued certificates.
    pub certificates: CertificatesSection,
    /// How private keys are kept.
    pub custody: CustodySection,
    /// Who signs certificates, when that is somebody else.
    pub authority: AuthoritySection,
    /// Where others learn of revoked certificates.
    pub revocation: RevocationSection,
    /// Who may enrol.
    pub onboarding: OnboardingSection,
    /// How certificates and secrets are renewed.
    pub renewal: RenewalSection,
    /// What is kept of who left.
    pub retention: RetentionSection,
    /// What the audit trail records, and for how long.
    pub audit: AuditSection,
    /// What may be discovered before onboarding.
    pub discovery: DiscoverySection,
    /// Security methods and tokens.
    pub security: SecuritySection,
    /// Delivery of notifications.
    pub events: EventsSection,
    /// Where notifications for API invokers may go.
    pub callbacks: CallbacksSection,
    /// Bounds.
    pub limits: LimitsSection,
    /// Names and passwords for deployed clients.
    pub account_service: AccountServiceSection,
    /// What is logged.
    pub log: LogSection,
}

/// Whose dialect is understood beside TS 29.222.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// Nobody's.
    #[default]
    None,
    /// That of deployed OpenCAPIF clients. What this weakens stands in `docs/OPERATIONS.md`.
    Opencapif,
}

/// `[ccf]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CcfSection {
    /// The socket for CAPIF-1/1e, 3, 4 and 5.
    pub listen: SocketAddr,
    /// Host and port under which others reach that socket; the socket itself if empty.
    pub address: String,
    /// More names or addresses that the server certificate carries.
    pub names: Vec<String>,
}

impl Default for CcfSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            address: String::new(),
            names: Vec::new(),
        }
    }
}

/// `[management]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ManagementSection {
    /// The socket for `/livez` and `/readyz`; loopback only.
    pub listen: SocketAddr,
}

impl Default for ManagementSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8480)),
        }
    }
}

/// `[certificates]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CertificatesSection {
    /// Life of an API invoker's certificate, in days.
    pub invoker_days: u32,
    /// Life of the certificate of an AEF, APF, AMF or of the CCF itself, in days.
    pub function_days: u32,
    /// Life of the certificate of an issuing authority that follows another, in days.
    pub issuing_days: u32,
    /// Life of the certificate of a root that follows another, in days.
    pub root_days: u32,
}

impl Default for CertificatesSection {
    fn default() -> Self {
        Self {
            invoker_days: 90,
            function_days: 365,
            issuing_days: 1825,
            root_days: 3650,
        }
    }
}

impl CertificatesSection {
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            invoker_life: days(self.invoker_days),
            function_life: days(self.function_days),
            ..Terms::default()
        }
    }

    pub(crate) fn lives(&self) -> Lives {
        Lives {
            root: days(self.root_days),
            issuing: days(self.issuing_days),
        }
    }
}

fn days(days: u32) -> time::Duration {
    time::Duration::days(i64::from(days))
}

/// `[onboarding]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnboardingSection {
    /// Life of an onboarding credential, in minutes.
    pub credential_minutes: u32,
    /// Life of a provider's registration credential, in hours.
    pub registration_hours: u32,
    /// The longest time for which an invoker is enrolled, in days; as long as it asks for, or without end, if 0.
    pub enrolment_days: u32,
    /// Who decides on an enrolment that is in order.
    pub approval: Approval,
    /// How long one waits for the operator's approval, and how long the outcome is remembered, in days.
    pub pending_days: u32,
    /// Issuers of onboarding credentials besides the CCF.
    pub issuers: Vec<IssuerSection>,
}

/// Who decides on an enrolment that is in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// Nobody: its credential is enough, unless it says otherwise itself.
    #[default]
    None,
    /// The operator.
    Operator,
}

impl OnboardingSection {
    /// How long an enrolment waits for the operator.
    pub(crate) fn pending(&self) -> time::Duration {
        days(self.pending_days)
    }
}

impl Default for OnboardingSection {
    fn default() -> Self {
        Self {
            credential_minutes: 15,
            registration_hours: 24,
            enrolment_days: 0,
            approval: Approval::None,
            pending_days: 7,
            issuers: Vec::new(),
        }
    }
}

/// `[[onboarding.issuers]]`: an outside issuer (D-25).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSection {
    /// The `iss` of its credentials.
    pub issuer: String,
    /// The `aud` that its credentials must name.
    pub audience: String,
    /// Its keys, as a JWKS file.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// Its keys, as an https address of a JWKS.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// The trust anchors for `jwks_url`, as a PEM file; the system's if absent.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The APIs that its credentials can open; all if absent.
    #[serde(default)]
    pub apis: Option<Vec<String>>,
}

/// `[security]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecuritySection {
    /// The methods that may be selected, the preferred one first.
    pub methods: Vec<SecurityMethod>,
    /// The same for single APIs, by name.
    pub apis: BTreeMap<String, ApiSecuritySection>,
    /// Whether every access token is bound to the invoker's certificate.
    pub certificate_bound_tokens: bool,
    /// Life of an access token, in seconds.
    pub token_seconds: u32,
    /// After how many days another key signs access tokens; never if 0.
    pub token_key_days: u32,
    /// How long such a key is handed out before it signs, in minutes.
    pub token_key_ahead_minutes: u32,
}

impl Default for SecuritySection {
    fn default() -> Self {
        Self {
            methods: vec![
                SecurityMethod::Pki,
                SecurityMethod::Oauth,
                SecurityMethod::Psk,
            ],
            apis: BTreeMap::new(),
            certificate_bound_tokens: false,
            token_seconds: 600,
            token_key_days: 90,
            token_key_ahead_minutes: 10,
        }
    }
}

impl SecuritySection {
    /// How the keys of access tokens follow one another.
    pub(crate) fn token_timing(&self) -> Timing {
        Timing {
            ahead: time::Duration::minutes(i64::from(self.token_key_ahead_minutes)),
            token_life: time::Duration::seconds(i64::from(self.token_seconds)),
        }
    }

    /// For how long a key signs access tokens; for ever if zero.
    pub(crate) fn token_key_life(&self) -> time::Duration {
        days(self.token_key_days)
    }

    /// The section as the procedures take it.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let by_api = self.apis.iter();
        Policy {
            methods: self.methods.clone(),
            by_api: by_api
                .map(|(name, api)| (name.clone(), api.methods.clone()))
                .collect(),
            certificate_bound_tokens: self.certificate_bound_tokens,
            rsa_tokens: false,
        }
    }
}

/// `[security.apis.NAME]`: what counts for the APIs of this name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiSecuritySection {
    /// The methods that may be selected, the preferred one first; none if empty.
    pub methods: Vec<SecurityMethod>,
}

/// `[events]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventsSection {
    /// How long a notification is offered to a receiver that does not acknowledge it, in hours.
    pub retention_hours: u32,
    /// The longest pause between two attempts, in seconds.
    pub retry_seconds_max: u32,
}

impl Default for EventsSection {
    fn default() -> Self {
        Self {
            retention_hours: 72,
            retry_seconds_max: 10,
        }
    }
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// The largest request body, in bytes.
    pub body_bytes_max: usize,
    /// How long a request body may take, in seconds.
    pub body_seconds_max: u32,
    /// The most connections at a time.
    pub connections_max: usize,
    /// The most requests that are worked on at once; no bound if 0.
    pub requests_at_once: usize,
    /// The most requests of one API invoker in a second; no bound if 0.
    pub invoker_requests_per_second: u32,
    /// The most requests of one provider function in a second; no bound if 0.
    pub function_requests_per_second: u32,
    /// The most requests without a certificate that counts from one address in a second; no bound if 0.
    pub anonymous_requests_per_second: u32,
    /// How long an invocation log entry is kept, in hours.
    pub log_hours: u32,
    /// The most invocation log entries of one provider.
    pub log_entries_max: usize,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            body_seconds_max: 10,
            connections_max: 20_000,
            requests_at_once: 2000,
            invoker_requests_per_second: 0,
            function_requests_per_second: 0,
            anonymous_requests_per_second: 2000,
            log_hours: 720,
            log_entries_max: 100_000_000,
        }
    }
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The configuration cannot be used; the text says which key and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Config {
    /// Whether the dialect of deployed clients is understood.
    #[must_use]
    pub fn is_lenient(&self) -> bool {
        self.compat == Compat::Opencapif
    }

    /// Reads the file in the CCF's folder, when there is one, and the environment over it.
    ///
    /// # Errors
    /// Says which key is unknown or wrong.
    pub fn load(dir: &Path) -> Result<Self, ConfigError> {
        let file = dir.join(FILE_NAME);
        let mut figment = Figment::new();
        if file.exists() {
            figment = figment.merge(Toml::file_exact(&file));
        }
        let environment = Env::prefixed("CAPIF_")
            .filter(|key| {
                let key = key.as_str();
                key.contains("__") || key.eq_ignore_ascii_case("compat")
            })
            .split("__");
        let figment = figment.merge(environment);
        Self::extract(&figment)
    }

    /// Reads a configuration from text, as a file would hold it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::extract(&Figment::new().merge(Toml::string(text)))
    }

    fn extract(figment: &Figment) -> Result<Self, ConfigError> {
        let config: Self = figment.extract().map_err(|error| explain(&error))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError(text));
        if !self.management.listen.ip().is_loopback() {
            return refuse(
                "management.listen: this listener is unprotected and must be on loopback, for example 127.0.0.1:8480"
                    .to_owned(),
            );
        }
        self.custody.check().map_err(ConfigError)?;
        self.authority.check().map_err(ConfigError)?;
        self.revocation.check().map_err(ConfigError)?;
        self.audit.check().map_err(ConfigError)?;
        self.account_service.check().map_err(ConfigError)?;
        self.moved.check(&self.address()).map_err(ConfigError)?;
        renewal::check(self).map_err(ConfigError)?;
        if self.security.methods.is_empty() {
            return refuse("security.methods: name at least one of PKI, OAUTH, PSK".to_owned());
        }
        let by_api = self.security.apis.iter();
        let lists =
            by_api.map(|(name, api)| (format!("security.apis.{name}.methods"), &api.methods));
        for (key, methods) in
            std::iter::once(("security.methods".to_owned(), &self.security.methods)).chain(lists)
        {
            for (index, method) in methods.iter().enumerate() {
                if matches!(method, SecurityMethod::Other(_)) {
                    return refuse(format!("{key}: {method} is none of PKI, OAUTH, PSK"));
                }
                if methods.iter().take(index).any(|before| before == method) {
                    return refuse(format!("{key}: {method} stands there twice"));
                }
            }
        }
        let positive = [
            (
                "certificates.invoker_days",
                self.certificates.invoker_days,
                1095,
            ),
            (
                "certificates.function_days",
                self.certificates.function_days,
                1095,
            ),
            (
                "certificates.issuing_days",
                self.certificates.issuing_days,
                7300,
            ),
            (
                "certificates.root_days",
                self.certificates.root_days,
                14_600,
            ),
            (
                "onboarding.credential_minutes",
                self.onboarding.credential_minutes,
                43_200,
            ),
            (
                "onboarding.registration_hours",
                self.onboarding.registration_hours,
                8760,
            ),
            (
                "security.token_seconds",
                self.security.token_seconds,
                86_400,
            ),
            (
                "security.token_key_ahead_minutes",
                self.security.token_key_ahead_minutes,
                1440,
            ),
            ("events.retention_hours", self.events.retention_hours, 8760),
            (
                "events.retry_seconds_max",
                self.events.retry_seconds_max,
                3600,
            ),
            (
                "discovery.count_seconds",
                self.discovery.count_seconds,
                86_400,
            ),
            ("limits.body_seconds_max", self.limits.body_seconds_max, 600),
            ("limits.log_hours", self.limits.log_hours, 87_600),
        ];
        for (key, value, max) in positive {
            if !(1..=max).contains(&value) {
                return refuse(format!("{key}: must be from 1 to {max}"));
            }
        }
        let sizes = [
            (
                "limits.body_bytes_max",
                self.limits.body_bytes_max,
                4096,
                64 << 20,
            ),
            (
                "limits.log_entries_max",
                self.limits.log_entries_max,
                1000,
                1_000_000_000_000,
            ),
            (
                "limits.connections_max",
                self.limits.connections_max,
                1,
                1_000_000,
            ),
        ];
        for (key, value, min, max) in sizes {
            if !(min..=max).contains(&value) {
                return refuse(format!("{key}: must be from {min} to {max}"));
            }
        }
        for issuer in &self.onboarding.issuers {
            if issuer.jwks_file.is_some() == issuer.jwks_url.is_some() {
                return refuse(format!(
                    "onboarding.issuers ({}): give exactly one of jwks_file and jwks_url",
                    issuer.issuer
                ));
            }
            if issuer
                .jwks_url
                .as_ref()
                .is_some_and(|url| !url.starts_with("https://"))
            {
                return refuse(format!(
                    "onboarding.issuers ({}): jwks_url must begin with https://",
                    issuer.issuer
                ));
            }
        }
        if !["error", "warn", "info", "debug", "trace"].contains(&self.log.level.as_str()) {
            return refuse("log.level: use error, warn, info, debug or trace".to_owned());
        }
        Ok(())
    }

    /// The beginning of the addresses that certificates name for their revocation. Nothing when that would send others to
    /// themselves: the CCF is there for other machines, and the listener for this one.
    #[must_use]
    pub fn distribution(&self) -> String {
        let for_others = !self.ccf.address.is_empty() || !self.ccf.listen.ip().is_loopback();
        if for_others && self.revocation.is_of_this_machine() {
            return String::new();
        }
        self.revocation.base()
    }

    /// Host and port under which others reach the CCF.
    #[must_use]
    pub fn address(&self) -> String {
        if self.ccf.address.is_empty() {
            self.ccf.listen.to_string()
        } else {
            self.ccf.address.clone()
        }
    }
}

/// Names the key, and the one that was probably meant.
fn explain(error: &figment::Error) -> ConfigError {
    let lines: Vec<String> = error
        .clone()
        .into_iter()
        .map(|error| {
            let mut path = error.path.join(".");
            let source = error
                .metadata
                .as_ref()
                .and_then(|metadata| metadata.source.as_ref())
                .map(|source| format!(" (in {source})"))
                .unwrap_or_default();
            match &error.kind {
                figment::error::Kind::UnknownField(field, known) => {
                    if !path.ends_with(field.as_str()) {
                        path = if path.is_empty() {
                            field.clone()
                        } else {
                            format!("{path}.{field}")
                        };
                    }
                    let nearest = known
                        .iter()
                        .map(|name| (strsim::damerau_levenshtein(field, name), *name))
                        .min();
                    let hint = match nearest {
                        Some((distance, name)) if distance <= 3 => {
                            format!("; did you mean `{name}`?")
                        }
                        _ => format!("; known here: {}", known.join(", ")),
                    };
                    format!("{path}: unknown key{hint}{source}")
                }
                kind => format!("{path}: {kind}{source}"),
            }
        })
        .collect();
    ConfigError(lines.join("\n"))
}

//! Deployed clients and gateways against a core function that understands their dialect: the published OpenCAPIF SDK, unchanged, goes
//! through its whole life, and so does the one before it, and a published provider gateway. `CAPIF_TEST_OPENCAPIF` and
//! `CAPIF_TEST_PROVIDER_GATEWAY` name the Pythons that have them (`tests/opencapif/sdk` makes both); without, the tests say that they
//! did not run.

mod dialect;
mod field;
mod gateway;
mod migrating;

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::support::{
    backend::Backend,
    lasting_address,
    process::{Machine, Service},
};

/// The Python that a variable names, or a word on why there is none.
fn python(variable: &str, made_by: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    if named.is_none() {
        eprintln!("did not run: {variable} names no Python; {made_by} makes one");
    }
    named
}

/// A core function in the profile, with its account service.
struct Core {
    machine: Machine,
    ccf: Service,
}

impl Core {
    async fn start() -> Self {
        Self::telling("[]").await
    }

    /// The same, with receivers of notifications that know nothing of TLS.
    async fn telling(insecure: &str) -> Self {
        let mut machine = Machine::new();
        machine.set("CAPIF_COMPAT", "opencapif");
        machine.set("CAPIF_CALLBACKS__INSECURE_HTTP", insecure);
        machine.set("CAPIF_ACCOUNT_SERVICE__ENABLED", "true");
        machine.set("CAPIF_ACCOUNT_SERVICE__LISTEN", "127.0.0.1:0");
        machine.capif(&["init"]).await.done();
        let ccf = machine.core_function().await;
        Self { machine, ccf }
    }

    /// Runs a script of this folder, with a plan that says where everything is; `more` is what it says beyond that.
    async fn run(&self, python: PathBuf, script: &str, more: Value) -> Output {
        let folder = self.machine.folder("plan");
        std::fs::create_dir_all(&folder).unwrap();
        let mut plan = json!({
            "host": "127.0.0.1",
            "port": Self::port(&self.ccf.word_after("serving at ")),
            "accounts_port": Self::port(&self.accounts()),
            "username": "ada",
            "password": "correct horse",
            "folder": &folder,
        });
        let members = plan.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        let plan_file = folder.join("plan.json");
        std::fs::write(&plan_file, plan.to_string()).unwrap();
        let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/opencapif");
        let script = PathBuf::from(scripts).join(script);
        let mut command = Command::new(python);
        command.arg(script).arg(plan_file);
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = run.await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = complaint.lines().collect();
        let last = lines.get(lines.len().saturating_sub(30)..).unwrap();
        assert!(
            output.status.success(),
            "{said}\n{}\n{}",
            last.join("\n"),
            self.ccf.stderr()
        );
        output
    }

    /// What there is of a kind, by the operator's command.
    async fn listed(&self, kind: &str) -> Value {
        let arguments = ["list", kind, "--output", "json"];
        self.machine.capif(&arguments).await.done().json()
    }

    fn port(text: &str) -> u16 {
        let digits = text.trim_end_matches(';').rsplit(':').next().unwrap();
        digits.parse().unwrap()
    }

    fn accounts(&self) -> String {
        self.ccf.word_after("account service at https://")
    }

    /// Makes a user by the account service, in the way of its administrator.
    fn user(&self, name: &str, password: &str) {
        let said = self.ccf.word_after("with the password ");
        let admin = said.trim_end_matches(';');
        let basic = BASE64_STANDARD.encode(format!("admin:{admin}"));
        let signed_in = self.curl(
            &["-X", "POST", "-H", &format!("Authorization: Basic {basic}")],
            "login",
        );
        let token = signed_in["access_token"].as_str().unwrap();
        let user = json!({
            "username": name, "password": password, "enterprise": "example", "country": "ES",
            "email": "ada@example.com", "purpose": "weather",
        });
        let made = self.curl(
            &[
                "-X",
                "POST",
                "-H",
                &format!("Authorization: Bearer {token}"),
                "-H",
                "Content-Type: application/json",
                "-d",
                &user.to_string(),
            ],
            "createUser",
        );
        assert!(made["uuid"].is_string(), "{made}");
    }

    fn curl(&self, arguments: &[&str], path: &str) -> Value {
        let url = format!("https://{}/{path}", self.accounts());
        let output = Command::new("curl")
            .args(["-sk"])
            .args(arguments)
            .arg(url)
            .output()
            .expect("curl is there where the SDK is");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }
}

/// Section by section what the SDK does: a provider onboards, publishes, updates; an invoker onboards, discovers, negotiates, fetches
/// a token, calls through our gateway, subscribes and is told over plain HTTP; a call is logged by the token's signature; both leave.
async fn life(python: PathBuf, steps: usize) {
    let receiver = lasting_address();
    let core = Core::telling(&format!("[\"{receiver}\"]")).await;
    core.user("ada", "correct horse");
    core.machine
        .capif(&["provider", "add", "acme"])
        .await
        .done();
    let backend = Backend::start();
    let url = backend.url();
    let first = ["gateway", "--bundle", "acme.bundle", "--api", "weather"];
    let more = ["--upstream", &url, "--listen", "127.0.0.1:0"];
    let arguments = [&first[..], &more[..]].concat();
    let gateway = core.machine.serve(&arguments, "capif invite").await;
    let address = gateway.word_after("serving https://");
    let address = address.split('/').next().unwrap();
    let plan = json!({
        "api_name": "weather",
        "call": format!("https://{address}/weather/v1/today"),
        "root": core.machine.ccf_folder().join("ca/root.pem"),
        "receiver": receiver.port(),
    });
    let output = core.run(python, "flow.py", plan).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.lines().count(), steps, "{said}");
    assert!(said.contains("\"provider offboarded\""), "{said}");
    assert_eq!(backend.seen().len(), 1, "one call reached the API");
    let left = core.listed("invokers").await;
    assert_eq!(left, json!([]), "nobody is left");
}

#[tokio::test]
async fn the_published_sdk_goes_through_its_life() {
    if let Some(python) = python("CAPIF_TEST_OPENCAPIF", "tests/opencapif/sdk") {
        life(python, 24).await;
    }
}

/// The SDK that provider gateways bring (0.1.20): it names no features, and cannot ask about an invoker.
#[tokio::test]
async fn the_older_sdk_goes_through_its_life() {
    let made_by = "tests/opencapif/sdk gateway";
    if let Some(python) = python("CAPIF_TEST_PROVIDER_GATEWAY", made_by) {
        life(python, 23).await;
    }
}

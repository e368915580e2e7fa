//! The program itself, on a machine that is a temporary folder: a home, a working folder and ports of its own.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use capif_ccf::{
    admin::{EnrolmentParts, SOCKET},
    config::Compat,
};
use capif_client::{Bundle, Enrolment};
use capif_transport::{Client, ClientLimits, SharedClock, SystemClock, collect, empty, full};
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use super::{SOON, compat};

/// A folder with a home, in which commands run.
pub struct Machine {
    dir: TempDir,
    environment: Vec<(String, String)>,
}

/// What became of a command.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Exit code, and an `error: …` line that holds this text, without anything on standard output.
    #[track_caller]
    pub fn failed(self, code: i32, text: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(
            self.stderr.contains("error: ") && self.stderr.contains(text),
            "{self:?}"
        );
        assert_eq!(self.stdout, "", "{self:?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Machine {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("home")).unwrap();
        std::fs::create_dir(dir.path().join("work")).unwrap();
        let mut machine = Self {
            dir,
            environment: Vec::new(),
        };
        machine.set("CAPIF_CCF__LISTEN", "127.0.0.1:0");
        machine.set("CAPIF_MANAGEMENT__LISTEN", "127.0.0.1:0");
        machine.set("CAPIF_REVOCATION__LISTEN", "127.0.0.1:0");
        machine.set("CAPIF_OPERATOR__LISTEN", "");
        if compat() == Compat::Opencapif {
            machine.set("CAPIF_COMPAT", "opencapif");
        }
        machine
    }

    /// Sets a variable for every later command.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The variables of every command.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The folder in which commands run.
    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The folder of the core function.
    pub fn ccf_folder(&self) -> PathBuf {
        self.work().join("capif-data")
    }

    /// A folder for somebody.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join("people").join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = std::env::var_os("CAPIF_PROGRAM");
        let mut command =
            Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_capif").into()));
        command
            .args(arguments)
            .current_dir(self.work())
            .env_clear()
            .env("HOME", self.dir.path().join("home"))
            .env("XDG_STATE_HOME", self.dir.path().join("home/state"))
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs `capif` with these arguments to its end.
    pub async fn capif(&self, arguments: &[&str]) -> Outcome {
        Self::outcome(self.command(arguments)).await
    }

    /// The same without any `CAPIF_` variable.
    pub async fn capif_bare(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.command(arguments);
        for (name, _) in &self.environment {
            command.env_remove(name);
        }
        Self::outcome(command).await
    }

    async fn outcome(mut command: Command) -> Outcome {
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts `capif` with these arguments as a service, and waits until its standard error holds `ready`.
    pub async fn serve(&self, arguments: &[&str], ready: &str) -> Service {
        let path = self.dir.path().join(format!(
            "{}-{}.log",
            arguments[0],
            std::fs::read_dir(&self.dir).unwrap().count()
        ));
        let child = self
            .command(arguments)
            .stdout(Stdio::null())
            .stderr(File::create(&path).unwrap())
            .spawn()
            .unwrap();
        let mut service = Service { child, log: path };
        let begun = Instant::now();
        while !service.lines().contains(ready) {
            assert!(
                service.child.try_wait().unwrap().is_none(),
                "ended early: {}",
                service.stderr()
            );
            assert!(begun.elapsed() < SOON, "not ready: {}", service.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        service
    }

    /// `capif serve`, from now on at the address that it gets this time.
    pub async fn core_function(&mut self) -> Service {
        let service = self.serve(&["serve"], "root CA sha256").await;
        let address = service.word_after("serving at ");
        self.set("CAPIF_CCF__LISTEN", address.trim_end_matches(';'));
        service
    }

    /// A request to the operator's socket.
    pub async fn operator(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let client = Client::unix(self.ccf_folder().join(SOCKET), ClientLimits::default());
        let body = body.map_or_else(empty, |body| full(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(format!("http://operator{path}"))
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let response = client.request(request).await.unwrap();
        let status = response.status();
        let octets = collect(response.into_body(), 8 << 20, SOON).await.unwrap();
        (
            status,
            serde_json::from_slice(&octets).unwrap_or(Value::Null),
        )
    }

    async fn parts(&self, path: &str, body: Value) -> EnrolmentParts {
        let (status, parts) = self.operator(Method::POST, path, Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{parts}");
        serde_json::from_value(parts).unwrap()
    }

    pub async fn invite(&self) -> Enrolment {
        let parts = self.parts("/invites", serde_json::json!({})).await;
        Enrolment::from_parts(parts.address, parts.ca_pem, parts.credential).unwrap()
    }

    pub async fn bundle(&self, name: &str) -> Bundle {
        let parts = self
            .parts("/providers", serde_json::json!({ "name": name }))
            .await;
        Bundle {
            address: parts.address,
            anchors_pem: parts.ca_pem,
            domain_name: name.to_owned(),
            credential: parts.credential,
        }
    }
}

/// The time of day: the program has no other.
pub fn system_clock() -> SharedClock {
    Arc::new(SystemClock)
}

/// A running program; it ends with this value at the latest.
pub struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// All that it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// The lines that it wrote completely.
    fn lines(&self) -> String {
        let mut text = self.stderr();
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        text
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The word that follows a text in its standard error.
    pub fn word_after(&self, text: &str) -> String {
        let lines = self.lines();
        let (_, rest) = lines.split_once(text).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    }

    /// Ends it as a power failure would (`kill -9`).
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end (SIGTERM), and gives its exit code and the time that it took.
    pub async fn terminate(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        let asked = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("kill -TERM {}", self.child.id()))
            .status();
        assert!(asked.unwrap().success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), begun.elapsed());
            }
            assert!(
                begun.elapsed() < 3 * SOON,
                "does not end: {}",
                self.stderr()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _gone_before = self.child.kill();
        let _gone_before = self.child.wait();
    }
}

//! The operator's socket.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use capif_transport::{Client, ClientError, ClientLimits, Limits, Server};

use crate::support::{get, text, whoami, within};

async fn ask(path: &Path) -> Result<String, ClientError> {
    let client = Client::unix(path, ClientLimits::default());
    let answer = within(client.request(get("http://operator/status"))).await?;
    Ok(text(answer).await)
}

#[tokio::test]
async fn private_to_its_owner_and_removed_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("operator.sock");
    let server = Server::bind_unix(&path, Limits::default(), whoami()).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(ask(&path).await.unwrap(), "HTTP/1.1 1 nobody");
    assert_eq!(server.drain(Duration::from_secs(60)).await, 0);
    assert!(!path.exists());
    assert!(matches!(ask(&path).await, Err(ClientError::Connect(_))));
}

#[tokio::test]
async fn only_a_stale_socket_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("operator.sock");
    let bind = || Server::bind_unix(&path, Limits::default(), whoami());

    std::fs::write(&path, "a file").unwrap();
    assert_eq!(
        bind().unwrap_err().kind(),
        std::io::ErrorKind::AlreadyExists
    );
    std::fs::remove_file(&path).unwrap();

    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = bind().unwrap();
    assert_eq!(bind().unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    assert!(ask(&path).await.is_ok());
    drop(server);
}

#[tokio::test]
async fn long_paths_work() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(80)).join("e".repeat(80));
    std::fs::create_dir_all(&deep).unwrap();
    let path = deep.join("operator.sock");
    let _server = Server::bind_unix(&path, Limits::default(), whoami()).unwrap();
    assert!(ask(&path).await.is_ok());
}

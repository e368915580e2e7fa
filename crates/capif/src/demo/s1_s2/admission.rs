//! What an onboarded invoker gets and keeps (TS 33.122 clause 6.1 steps 4, 6 and 7).

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use capif_client::Invoker;
use capif_transport::Fingerprint;
use http::header;
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem, prelude::X509Certificate};

use super::{Invitation, ask, given};
use crate::demo::{
    s3::discovery_of,
    search::{files_with, spellings},
    wire::{Key, ONBOARDING},
    world::{Bare, World},
};

/// Onboards with a request that wants too much, and looks at what came of it.
pub(super) async fn onboard(world: &World, invitation: &Invitation) -> anyhow::Result<Bare> {
    let key = Key::generate()?;
    let credential = given(invitation)?.credential.expose();
    let said = ask(world, &key.greedy_request()?, Some(credential))
        .await?
        .with(201)?;
    let bare = Bare::of(&key, &said)?;
    let location = said.header(header::LOCATION);
    ensure!(
        location.ends_with(&format!("{ONBOARDING}/{}", bare.id)),
        "`Location` is {location:?}"
    );
    let chain = said.text("/onboardingInformation/apiInvokerCertificate")?;
    let (_, block) = parse_x509_pem(chain.as_bytes()).context("the certificate is not PEM")?;
    let leaf = block
        .parse_x509()
        .context("the certificate cannot be read")?;
    check_profile(&leaf, &bare.id)?;
    Ok(bare)
}

/// The profile of an invoker's certificate (TS 33.310 clause 6.1, TS 29.222 table 8.4.4.2.5-1).
fn check_profile(leaf: &X509Certificate<'_>, id: &str) -> anyhow::Result<()> {
    let subject = leaf.subject().to_string();
    ensure!(
        subject == format!("OU=API_INVOKER, CN={id}"),
        "the subject is {subject}"
    );
    ensure!(!leaf.is_ca(), "it is an authority");
    let usage = leaf
        .key_usage()?
        .context("it does not say what its key is for")?;
    ensure!(
        usage.value.digital_signature() && !usage.value.key_cert_sign(),
        "its key is for more than signing handshakes"
    );
    let purpose = leaf
        .extended_key_usage()?
        .context("it does not say what it is for")?;
    ensure!(
        purpose.value.client_auth && !purpose.value.server_auth,
        "it is not for clients alone"
    );
    let names = leaf
        .subject_alternative_name()?
        .context("it has no alternative name")?;
    let expected = format!("urn:capif:{id}");
    ensure!(
        matches!(names.value.general_names.as_slice(), [GeneralName::URI(name)] if *name == expected),
        "its alternative names are {:?}",
        names.value.general_names
    );
    Ok(())
}

pub(super) async fn certificate_works(world: &World) -> anyhow::Result<String> {
    let bare = world.bare()?;
    let wire = world.to_ccf(Some(&bare.identity))?;
    wire.get(&discovery_of(&bare.id)).expect(200).await?;
    Ok("id, Location, certificate chain, Onboard_Secret; the certificate opens a mutual TLS session".to_owned())
}

pub(super) async fn secret_not_stored(world: &World) -> anyhow::Result<String> {
    let secret = world.bare()?.secret.expose();
    let octets = BASE64_URL_SAFE_NO_PAD
        .decode(secret)
        .context("it is not base64url")?;
    ensure!(octets.len() >= 32, "it has {} octets", octets.len());
    let digest = Fingerprint::of(secret.as_bytes()).to_string();
    let folder = world.ccf_folder();
    let holds = |needle: &[u8]| files_with(&folder, needle);
    for needle in &spellings(&octets) {
        ensure!(
            holds(needle)? == 0,
            "it stands in a file of the core function"
        );
    }
    // Shows that the search finds what is there.
    ensure!(
        holds(digest.as_bytes())? > 0,
        "its digest is not found either"
    );
    Ok(format!(
        "{} random bits; the store holds its SHA-256 alone",
        octets.len() * 8
    ))
}

pub(super) fn key_is_kept(folder: &Path, app: &Invoker) -> anyhow::Result<String> {
    let mut files = 0;
    let mode = |path: &Path| -> anyhow::Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o777)
    };
    ensure!(mode(folder)? == 0o700, "others can look into the folder");
    for entry in fs::read_dir(folder)? {
        ensure!(mode(&entry?.path())? == 0o600, "others can read the files");
        files += 1;
    }
    let details = app.details();
    let sent = &details.onboarding_information.api_invoker_public_key;
    ensure!(
        sent.contains("CERTIFICATE REQUEST") && !sent.contains("PRIVATE"),
        "something else than a request was sent"
    );
    Ok(format!(
        "{}; a request was sent, {files} files are the owner's alone",
        app.id()
    ))
}

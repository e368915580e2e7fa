//! Making the next generation: keys, certificates, and for a new root the signature of the old one.
//!
//! Everything is in its files before the commit that makes it count. What a broken-off attempt left behind has the number that
//! the next attempt takes, and is replaced by it.

use std::sync::Arc;

use capif_procedures::{
    authority::Succession,
    state::{Generation, GenerationState},
};
use capif_spec::common::DateTime;
use rcgen::{DistinguishedName, DnType, DnValue, Issuer};
use time::{Duration, OffsetDateTime};
use x509_parser::der_parser::asn1_rs::Tag;

use super::{
    AuthorityError, authority_params,
    custody::AuthorityKey,
    files,
    generations::{Authorities, Facts, blocking, digest_of},
};
use crate::init;

/// Life of the certificates of authorities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lives {
    /// Of a root.
    pub(crate) root: Duration,
    /// Of an issuing authority.
    pub(crate) issuing: Duration,
}

impl Authorities {
    /// Keeps others from beginning a generation meanwhile.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Makes the generation that follows the current one, under the same root or a new one. It counts for nothing until its record
    /// is committed.
    ///
    /// # Errors
    /// When the key of the root is not at hand, or a file cannot be written.
    pub(crate) async fn make_next(
        self: &Arc<Self>,
        new_root: bool,
        now: OffsetDateTime,
    ) -> Result<Generation, AuthorityError> {
        let authorities = Arc::clone(self);
        blocking(move || authorities.make(new_root, now)).await
    }

    fn make(&self, new_root: bool, now: OffsetDateTime) -> Result<Generation, AuthorityError> {
        let succession = self.succession();
        let current = succession
            .current()
            .ok_or_else(|| AuthorityError::Material("there is no authority".to_owned()))?;
        let number = next_number(&succession);
        let old_key = self.root_key(current)?;
        let root = if new_root {
            self.make_root(number, current, old_key, now)?
        } else {
            Root {
                pem: current.root.clone(),
                number: current.root_number,
                cross: None,
                key: old_key,
            }
        };
        let of_root = Facts::of("the root", &root.pem)?;
        let (issuing, key) = self.make_issuing(number, &root, &of_root, now)?;
        let of_issuing = Facts::of("the issuing authority", &issuing)?;
        let generation = Generation {
            number,
            root: root.pem,
            root_key: of_root.key,
            root_number: root.number,
            cross: root.cross,
            issuing,
            issuing_key: of_issuing.key,
            not_after: of_issuing.not_after,
            root_not_after: of_root.not_after,
            created: DateTime(now),
            state: GenerationState::Current,
        };
        self.put_to_work(&generation, key)?;
        Ok(generation)
    }

    fn make_root(
        &self,
        number: u32,
        current: &Generation,
        old_key: AuthorityKey,
        now: OffsetDateTime,
    ) -> Result<Root, AuthorityError> {
        let file = files::root_key(number);
        self.custody.erase(&self.dir, &file)?;
        let key = self.custody.make(&self.dir, &file)?;
        // The name of the old one: so the certificate between them is self-issued, and counts in no path length (RFC 5280 section
        // 6.1).
        let mut params = authority_params("root", &self.ccf_id, now, self.lives.root, 1)?;
        params.distinguished_name = name_of(&current.root)?;
        let root = params.self_signed(&key)?.pem();
        let mut cross = authority_params("root", &self.ccf_id, now, self.lives.root, 1)?;
        cross.distinguished_name = params.distinguished_name;
        cross.not_after = cross.not_after.min(current.root_not_after.0);
        let old = Issuer::from_ca_cert_pem(&current.root, old_key)?;
        let cross = cross.signed_by(&key, &old)?.pem();
        self.write(&files::root(number), &root)?;
        Ok(Root {
            pem: root,
            number,
            cross: Some(cross),
            key,
        })
    }

    fn make_issuing(
        &self,
        number: u32,
        root: &Root,
        of_root: &Facts,
        now: OffsetDateTime,
    ) -> Result<(String, AuthorityKey), AuthorityError> {
        let file = files::issuing_key(number);
        self.custody.erase(&self.dir, &file)?;
        let key = self.custody.make_issuing(&self.dir, &file)?;
        let name = format!("{} {number}", self.ccf_id);
        let mut params = authority_params("issuing", &name, now, self.lives.issuing, 0)?;
        params.not_after = params.not_after.min(of_root.not_after.0);
        let issuer = Issuer::from_ca_cert_pem(&root.pem, &root.key)?;
        let issuing = params.signed_by(&key, &issuer)?.pem();
        self.write(&files::issuing(number), &issuing)?;
        Ok((issuing, key))
    }

    /// The private key of the root that is current.
    fn root_key(&self, current: &Generation) -> Result<AuthorityKey, AuthorityError> {
        let file = files::root_key(current.root_number);
        let path = self.dir.join(&file);
        if !path.exists() {
            return Err(AuthorityError::RootKeyAway(path.display().to_string()));
        }
        let key = self.custody.load(&self.dir, &file)?;
        if digest_of(&key) != current.root_key {
            return Err(AuthorityError::Material(format!(
                "{} is not the private key of the root that is current",
                path.display()
            )));
        }
        Ok(key)
    }

    /// Certificates beside their keys, for the operator to hand on; the records are what counts.
    fn write(&self, file: &str, text: &str) -> Result<(), AuthorityError> {
        let path = self.dir.join(file);
        init::write(&path, text, 0o644).map_err(|source| AuthorityError::File {
            file: path.display().to_string(),
            source,
        })
    }
}

/// A root and its private key.
struct Root {
    pem: String,
    number: u32,
    cross: Option<String>,
    key: AuthorityKey,
}

fn next_number(succession: &Succession) -> u32 {
    let last = succession.all().map(|generation| generation.number).max();
    last.unwrap_or_default().saturating_add(1)
}

/// The name of a certificate, as a new one takes it over.
fn name_of(pem: &str) -> Result<DistinguishedName, AuthorityError> {
    let unfit = || {
        AuthorityError::Material(
            "the name of the root is not one that a new root can take over".to_owned(),
        )
    };
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| unfit())?;
    let certificate = block.parse_x509().map_err(|_| unfit())?;
    let mut name = DistinguishedName::new();
    let mut count = 0;
    for attribute in certificate.subject().iter_attributes() {
        let oid: Vec<u64> = attribute.attr_type().iter().ok_or_else(unfit)?.collect();
        let text = attribute.as_str().map_err(|_| unfit())?;
        let value = match attribute.attr_value().tag() {
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            Tag::PrintableString => DnValue::PrintableString(text.try_into()?),
            Tag::Ia5String => DnValue::Ia5String(text.try_into()?),
            _ => return Err(unfit()),
        };
        name.push(DnType::from_oid(&oid), value);
        count += 1;
    }
    // An attribute that stands there twice would be there once.
    if name.iter().count() != count {
        return Err(unfit());
    }
    Ok(name)
}

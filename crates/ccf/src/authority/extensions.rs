//! What certificates say of where their revocation is told (RFC 5280 sections 4.2.1.13 and 4.2.2.1).

use rcgen::{CertificateParams, CrlDistributionPoint, CustomExtension};
use x509_cert::{
    der::{
        Encode,
        asn1::{Ia5String, ObjectIdentifier},
    },
    ext::pkix::{AccessDescription, AuthorityInfoAccessSyntax, name::GeneralName},
};

use super::AuthorityError;

/// `id-pe-authorityInfoAccess`.
const AUTHORITY_INFORMATION: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 1];

/// `id-ad-ocsp`.
const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");

/// The path of the revocation list of an authority.
pub(crate) fn list_path(number: u32) -> String {
    format!("/crl/{number}.crl")
}

/// The path of the OCSP responder.
pub(crate) const RESPONDER_PATH: &str = "/ocsp";

/// Adds the addresses of the authority's revocation list and of the responder, both below this base; nothing if it is empty.
///
/// # Errors
/// When the base cannot stand in a certificate.
pub(super) fn for_certificate(
    params: &mut CertificateParams,
    base: &str,
    authority: u32,
) -> Result<(), AuthorityError> {
    if base.is_empty() {
        return Ok(());
    }
    params.crl_distribution_points = vec![CrlDistributionPoint {
        uris: vec![format!("{base}{}", list_path(authority))],
    }];
    let unusable = |_| AuthorityError::Material(format!("`{base}` cannot stand in a certificate"));
    let responder = Ia5String::new(&format!("{base}{RESPONDER_PATH}")).map_err(unusable)?;
    let information = AuthorityInfoAccessSyntax(vec![AccessDescription {
        access_method: OCSP,
        access_location: GeneralName::UniformResourceIdentifier(responder),
    }]);
    let extension = CustomExtension::from_oid_content(
        &AUTHORITY_INFORMATION,
        information.to_der().map_err(unusable)?,
    );
    params.custom_extensions.push(extension);
    Ok(())
}

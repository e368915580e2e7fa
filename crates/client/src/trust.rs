//! Lists of whom to believe, as the CAPIF core function gives them out and as they are kept.

use std::collections::BTreeSet;

use capif_spec::renewal::TrustList;
use capif_transport::{Anchors, Fingerprint};

/// How many roots are believed at most.
const ANCHORS_MAX: usize = 16;

/// How long the text of one root may be, in bytes.
const ANCHOR_BYTES_MAX: usize = 16 << 10;

/// How many keys are put aside at most.
const DISTRUSTED_MAX: usize = TrustList::DISTRUSTED_MAX;

/// The roots of a list that the CAPIF core function gave out, and the keys that it does not believe.
pub(crate) fn listed(list: &TrustList) -> Result<Anchors, String> {
    let (anchors, distrusted) = (&list.anchors, &list.distrusted);
    if anchors.len() > ANCHORS_MAX || distrusted.len() > DISTRUSTED_MAX {
        return Err(format!(
            "it names more than {ANCHORS_MAX} root certificates, or {DISTRUSTED_MAX} keys that it does not believe"
        ));
    }
    if anchors.iter().any(|anchor| anchor.len() > ANCHOR_BYTES_MAX) {
        return Err("it names a root certificate that is too long".to_owned());
    }
    from_texts(anchors, distrusted)
}

/// The same from what is kept.
pub(crate) fn from_texts(anchors: &[String], distrusted: &[String]) -> Result<Anchors, String> {
    let distrusted = distrusted
        .iter()
        .map(|text| fingerprint(text).ok_or("a key that is not to be believed is no SHA-256"))
        .collect::<Result<Vec<_>, _>>()?;
    let anchors = Anchors::from_pems(anchors).map_err(|error| error.to_string())?;
    Ok(anchors.distrusting(distrusted))
}

fn fingerprint(text: &str) -> Option<Fingerprint> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut octets = [0; 32];
    for (octet, digits) in octets.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        // A sign would be taken for a digit.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *octet = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(Fingerprint::from(octets))
}

/// Whether two sets of roots mean the same, in whatever order they name them.
pub(crate) fn are_same(one: &Anchors, other: &Anchors) -> bool {
    let parts = |anchors: &Anchors| {
        let roots: BTreeSet<Fingerprint> = anchors.fingerprints().into_iter().collect();
        let distrusted: BTreeSet<Fingerprint> = anchors.distrusted_keys().iter().copied().collect();
        (roots, distrusted)
    };
    parts(one) == parts(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_digests_are_read() {
        let digits = "0123456789abcdefABCDEF0123456789".repeat(2);
        let read = fingerprint(&digits).unwrap();
        assert_eq!(read.to_string(), digits.to_lowercase());
        for text in [
            "",
            &digits[1..],
            &format!("{digits}0"),
            &digits.replace('0', "+"),
            &digits.replace('0', "g"),
            &"\u{e9}".repeat(32),
        ] {
            assert!(fingerprint(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_used_is_none() {
        let anchors = |number| vec!["-----BEGIN CERTIFICATE-----".to_owned(); number];
        let digits = "0".repeat(64);
        for (anchors, distrusted, reason) in [
            (anchors(ANCHORS_MAX + 1), vec![], "more than 16"),
            (
                anchors(1),
                vec![digits.clone(); DISTRUSTED_MAX + 1],
                "more than 16",
            ),
            (anchors(1), vec!["xyz".to_owned()], "no SHA-256"),
            (anchors(0), vec![digits.clone()], "no certificate"),
            (vec!["x".repeat(ANCHOR_BYTES_MAX + 1)], vec![], "too long"),
            (anchors(1), vec![digits], "certificate"),
        ] {
            let list = TrustList {
                anchors,
                distrusted,
                ..TrustList::default()
            };
            let refused = listed(&list).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}

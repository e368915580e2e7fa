//! Looks for what must not be there, and for what must.

use std::{fs, io::Read, path::Path};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};

/// The ways in which a secret can stand somewhere: as it is, in hexadecimal digits, and in both alphabets of base64.
pub(super) fn spellings(secret: &[u8]) -> [Vec<u8>; 4] {
    let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    [
        secret.to_vec(),
        hex.into_bytes(),
        BASE64_STANDARD.encode(secret).into_bytes(),
        BASE64_URL_SAFE_NO_PAD.encode(secret).into_bytes(),
    ]
}

/// How many files below a folder hold these octets.
pub(super) fn files_with(folder: &Path, needle: &[u8]) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            count += files_with(&entry.path(), needle)?;
        } else if kind.is_file() {
            let mut octets = Vec::new();
            fs::File::open(entry.path())?.read_to_end(&mut octets)?;
            count += usize::from(contains(&octets, needle));
        }
    }
    Ok(count)
}

/// Whether these octets hold those.
pub(super) fn contains(octets: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else {
        return true;
    };
    let mut left = octets;
    while let Some(place) = left.iter().position(|octet| octet == first) {
        let Some(after) = left.get(place + 1..) else {
            return false;
        };
        if after.starts_with(rest) {
            return true;
        }
        left = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_what_is_there() {
        assert!(contains(b"aab", b"ab") && contains(b"ab", b"ab") && contains(b"xaab", b"aab"));
        assert!(!contains(b"aaa", b"ab") && !contains(b"", b"a") && !contains(b"a", b"ab"));
    }
}

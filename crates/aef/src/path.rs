//! The one canonicaliser of request paths: what is authorized is, octet for octet, what is forwarded (P-30).
//!
//! Nothing is rewritten. A path that servers could read in more than one way is refused.

/// The parts of an accepted path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ApiPath<'a> {
    /// The first segment: the API's name.
    pub(crate) name: &'a str,
    /// The second segment: the API's version.
    pub(crate) version: &'a str,
    /// All after that, with the slash before it; empty when nothing follows.
    pub(crate) rest: &'a str,
}

/// Takes a path apart when it has one reading only: no empty segment but a last one, no dot segment in any spelling, no
/// encoded slash, backslash, percent sign or control character, no path parameters.
pub(crate) fn parse(path: &str) -> Option<ApiPath<'_>> {
    let inner = path.strip_prefix('/')?;
    if !path.bytes().all(is_path_octet) || !encodings_are_plain(path) {
        return None;
    }
    let count = inner.split('/').count();
    for (index, segment) in inner.split('/').enumerate() {
        let last = index + 1 == count;
        if (segment.is_empty() && !last) || is_dots(segment) {
            return None;
        }
    }
    let (name, after) = inner.split_once('/').unwrap_or((inner, ""));
    let version_end = after.find('/').unwrap_or(after.len());
    let (version, rest) = after.split_at(version_end);
    Some(ApiPath {
        name,
        version,
        rest,
    })
}

/// Whether a word can stand in a path as it is.
pub(crate) fn is_plain_segment(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= 128
        && !is_dots(word)
        && word
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet))
}

/// The octets of RFC 3986 section 3.3 but `;`, which some servers cut at.
fn is_path_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"/-._~!$&'()*+,=:@%".contains(&octet)
}

fn encodings_are_plain(path: &str) -> bool {
    // Overlong and broken sequences are read in different ways too.
    let text = percent_encoding::percent_decode_str(path).decode_utf8();
    if !text.is_ok_and(|text| !text.chars().any(char::is_control)) {
        return false;
    }
    path.split('%').skip(1).all(|after| {
        let Some(octet) = after.get(..2).and_then(|digits| {
            digits
                .bytes()
                .all(|digit| digit.is_ascii_hexdigit())
                .then_some(digits)
        }) else {
            return false;
        };
        u8::from_str_radix(octet, 16)
            .is_ok_and(|octet| octet >= 0x20 && octet != 0x7f && !b"/\\%.;".contains(&octet))
    })
}

fn is_dots(segment: &str) -> bool {
    segment == "." || segment == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_taken_apart() {
        let path = parse("/weather/v1/today/a%20b").unwrap();
        assert_eq!(
            (path.name, path.version, path.rest),
            ("weather", "v1", "/today/a%20b")
        );
        let path = parse("/weather/v1").unwrap();
        assert_eq!((path.name, path.version, path.rest), ("weather", "v1", ""));
        let path = parse("/weather/v1/").unwrap();
        assert_eq!(path.rest, "/");
        let path = parse("/").unwrap();
        assert_eq!((path.name, path.version, path.rest), ("", "", ""));
    }

    #[test]
    fn what_can_be_read_twice_is_refused() {
        for path in [
            "",
            "weather/v1",
            "//weather/v1",
            "/weather//v1",
            "/weather/v1//x",
            "/weather/v1/../x",
            "/weather/v1/.",
            "/weather/v1/..",
            "/weather/v1/%2e%2e/x",
            "/weather/v1/%2E/x",
            "/weather/v1/.%2e/x",
            "/weather/v1/a%2fb",
            "/weather/v1/a%5cb",
            "/weather/v1/a\\b",
            "/weather/v1/..;x",
            "/weather/v1/a;b",
            "/weather/v1/%c0%ae%c0%ae",
            "/weather/v1/%c0%af",
            "/weather/v1/%ff",
            "/weather/v1/%c2%85",
            "/weather/v1/%00",
            "/weather/v1/%0d%0a",
            "/weather/v1/%7f",
            "/weather/v1/%252e",
            "/weather/v1/%",
            "/weather/v1/%2",
            "/weather/v1/%zz",
            "/weather/v1/a b",
            "/weather/v1/a#b",
            "/weather/v1/a?b",
            "/weather/v1/é",
            "/weather/v1/%3b",
            "/./weather/v1",
            "/weather/../weather/v1",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }
}

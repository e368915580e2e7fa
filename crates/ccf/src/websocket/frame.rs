//! What stands in the frames of a WebSocket (TS 29.122 clause 5.2.5.4): a notification with its number, and its acknowledgement.

use std::fmt::Write as _;

/// The field that carries the number of a notification.
const SEQUENCE: &str = "3GPP-WS-Notif-Seq";

/// Puts a notification together: number, type and length, an empty line, the content.
pub(super) fn notification(number: u32, body: &[u8]) -> Vec<u8> {
    let mut head = String::with_capacity(96);
    let length = body.len();
    // Writing to a text does not fail.
    let _ = write!(
        head,
        "{SEQUENCE}: {number}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut frame = head.into_bytes();
    frame.extend_from_slice(body);
    frame
}

/// What a receiver says of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acknowledgement {
    pub(super) number: u32,
    pub(super) status: u16,
}

impl Acknowledgement {
    /// Reads the number and the status line; fields and content that follow say nothing here. The line may name the version of HTTP
    /// as a status line does.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        let head = frame
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .and_then(|end| frame.get(..end))?;
        let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
        let (name, number) = lines.next()?.split_once(':')?;
        if !name.eq_ignore_ascii_case(SEQUENCE) {
            return None;
        }
        let mut words = lines.next()?.split(' ');
        let first = words.next()?;
        let status = if first.starts_with("HTTP/") {
            words.next()?
        } else {
            first
        };
        Some(Self {
            number: digits(number.trim())?.parse().ok()?,
            status: digits(status)
                .filter(|status| status.len() == 3)?
                .parse()
                .ok()?,
        })
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Digits and nothing else: the number parser would take a sign too.
fn digits(text: &str) -> Option<&str> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_has_its_number_first() {
        let frame = String::from_utf8(notification(4_294_967_295, b"{}")).unwrap();
        assert_eq!(
            frame,
            "3GPP-WS-Notif-Seq: 4294967295\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
    }

    #[test]
    fn acknowledgements_are_read_with_and_without_fields() {
        for (text, number, status) in [
            ("3GPP-WS-Notif-Seq: 7\r\n204 No Content\r\n\r\n", 7, 204),
            ("3gpp-ws-notif-seq:7\r\n204\r\n\r\n", 7, 204),
            (
                "3GPP-WS-Notif-Seq: 0\r\n200 OK\r\nContent-Length: 2\r\n\r\n{}",
                0,
                200,
            ),
            (
                "3GPP-WS-Notif-Seq: 4294967295\r\nHTTP/1.1 503 Busy\r\n\r\n",
                u32::MAX,
                503,
            ),
        ] {
            let read = Acknowledgement::parse(text.as_bytes());
            assert_eq!(read, Some(Acknowledgement { number, status }), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_none() {
        for text in [
            "",
            "\r\n\r\n",
            "3GPP-WS-Notif-Seq: 7\r\n204 No Content",
            "3GPP-WS-Notif-Seq: 7\r\n\r\n",
            "3GPP-WS-Notif-Seq: -7\r\n204 No Content\r\n\r\n",
            "3GPP-WS-Notif-Seq: +7\r\n204 No Content\r\n\r\n",
            "3GPP-WS-Notif-Seq: 4294967296\r\n204 No Content\r\n\r\n",
            "3GPP-WS-Notif-Seq: 7\r\n20 No\r\n\r\n",
            "3GPP-WS-Notif-Seq: 7\r\nHTTP/1.1\r\n\r\n",
            "204 No Content\r\n3GPP-WS-Notif-Seq: 7\r\n\r\n",
            "Content-Type: x\r\n204 No Content\r\n\r\n",
        ] {
            assert_eq!(Acknowledgement::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(
            Acknowledgement::parse(b"\xff\xff: 7\r\n204 x\r\n\r\n"),
            None
        );
    }
}

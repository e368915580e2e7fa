//! The first handshake message of a TLS stream, put together from plaintext records.

const HANDSHAKE: u8 = 22;
const MAJOR_VERSION: u8 = 3;
/// RFC 8446 section 5.1: more does not fit into a plaintext record.
const RECORD_BYTES_MAX: usize = 1 << 14;
/// Longest message that is put together. Hellos with every extension in use stay far below it.
const MESSAGE_BYTES_MAX: usize = 1 << 14;
/// Kind and length of a message.
const MESSAGE_HEADER_BYTES: usize = 4;

/// Takes the octets of a stream as they come, in pieces of any size.
///
/// The message may be spread over several records, and may share its last one with others.
#[derive(Default)]
pub(crate) struct FirstMessage {
    /// How many octets of the present record's header have come.
    header: u8,
    /// The first octet of the present record's length.
    length_high: u8,
    /// How many octets of the present record are still to come.
    rest: usize,
    message: Vec<u8>,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Progress {
    /// Not complete.
    More,
    /// Complete; what came behind it is not looked at.
    Complete,
    /// This is no handshake message, or one too long to be looked at.
    Other,
}

impl FirstMessage {
    /// Goes on with the octets that follow; not to be called again once it has said anything but [`Progress::More`].
    pub(crate) fn feed(&mut self, mut octets: &[u8]) -> Progress {
        while !octets.is_empty() {
            if self.rest == 0 {
                let Some((&octet, rest)) = octets.split_first() else {
                    break;
                };
                octets = rest;
                if !self.header_octet(octet) {
                    return Progress::Other;
                }
                continue;
            }
            let (part, rest) = octets.split_at(self.rest.min(octets.len()));
            octets = rest;
            self.rest -= part.len();
            self.message.extend_from_slice(part);
            match self.progress() {
                Progress::More => {}
                other => return other,
            }
        }
        Progress::More
    }

    /// What a complete message of this kind says.
    pub(crate) fn body(&self, kind: u8) -> Option<&[u8]> {
        let (header, body) = self.message.split_at_checked(MESSAGE_HEADER_BYTES)?;
        (header.first() == Some(&kind)).then_some(body)
    }

    fn header_octet(&mut self, octet: u8) -> bool {
        let position = self.header;
        self.header += 1;
        match position {
            0 => octet == HANDSHAKE,
            1 => octet == MAJOR_VERSION,
            2 => true,
            3 => {
                self.length_high = octet;
                true
            }
            _ => {
                self.header = 0;
                self.rest = usize::from(u16::from_be_bytes([self.length_high, octet]));
                (1..=RECORD_BYTES_MAX).contains(&self.rest)
            }
        }
    }

    fn progress(&mut self) -> Progress {
        let Some(&[_, high, middle, low]) = self.message.first_chunk() else {
            return Progress::More;
        };
        let length = u32::from_be_bytes([0, high, middle, low]);
        let whole = usize::try_from(length).map_or(usize::MAX, |length| {
            length.saturating_add(MESSAGE_HEADER_BYTES)
        });
        if whole > MESSAGE_BYTES_MAX {
            return Progress::Other;
        }
        if self.message.len() < whole {
            return Progress::More;
        }
        self.message.truncate(whole);
        Progress::Complete
    }
}

#[cfg(test)]
mod tests {
    use super::{FirstMessage, MESSAGE_BYTES_MAX, Progress};

    /// A message of this kind, in records of `piece` octets.
    fn records(kind: u8, body: &[u8], piece: usize) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let message = [&[kind], &length[1..], body].concat();
        let mut records = Vec::new();
        for part in message.chunks(piece) {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            records.extend_from_slice(&[22, 3, 1, length[0], length[1]]);
            records.extend_from_slice(part);
        }
        records
    }

    #[test]
    fn a_message_in_pieces_of_any_size() {
        let body: Vec<u8> = (0..600_u16).map(|n| n.to_le_bytes()[0]).collect();
        for piece in [1, 2, 3, 4, 5, 255, 256, 257, 16_384] {
            let stream = records(1, &body, piece);
            for step in [1, 2, 7, 512, stream.len()] {
                let mut first = FirstMessage::default();
                let mut steps = stream.chunks(step).peekable();
                while let Some(octets) = steps.next() {
                    let expected = match steps.peek() {
                        Some(_) => Progress::More,
                        None => Progress::Complete,
                    };
                    assert_eq!(first.feed(octets), expected, "{piece} {step}");
                }
                assert_eq!(first.body(1), Some(&body[..]));
                assert_eq!(first.body(2), None);
            }
        }
    }

    #[test]
    fn what_shares_the_last_record_is_left_out() {
        let mut stream = records(2, b"hello", 16_384);
        stream.extend_from_slice(b"more of it");
        stream[4] += 10;
        let mut first = FirstMessage::default();
        assert_eq!(first.feed(&stream), Progress::Complete);
        assert_eq!(first.body(2), Some(&b"hello"[..]));
    }

    #[test]
    fn other_streams_are_recognised_at_once() {
        for stream in [
            &b"G"[..],
            &[21],
            &[22, 2],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0x40, 1],
            &[22, 3, 1, 0, 4, 1, 1, 0, 0],
            &[22, 3, 1, 0, 1, 1, 21],
        ] {
            assert_eq!(FirstMessage::default().feed(stream), Progress::Other);
        }
        let most = vec![0; MESSAGE_BYTES_MAX - 4];
        let largest = records(1, &most, 1000);
        assert_eq!(FirstMessage::default().feed(&largest), Progress::Complete);
        let mut more = most;
        more.push(0);
        let larger = records(1, &more, 1000);
        assert_eq!(FirstMessage::default().feed(&larger), Progress::Other);
    }
}

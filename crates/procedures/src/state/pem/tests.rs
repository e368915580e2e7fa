//! What is kept of texts, and that they come out again.

use super::*;

fn block(label: &str, octets: &[u8]) -> String {
    let mut lines = String::new();
    for line in octets.chunks(LINE_OCTETS) {
        lines.push_str(&BASE64_STANDARD.encode(line));
        lines.push('\n');
    }
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

fn certificate(number: u8, len: usize) -> String {
    block("CERTIFICATE", &vec![number; len])
}

/// Whatever the text is, it comes out as it went in, in a record too.
#[test]
fn every_text_comes_out_word_for_word() {
    let whole = certificate(1, 100);
    let texts = [
        whole.clone(),
        format!("{whole}{}", certificate(2, 96)),
        whole.trim_end().to_owned(),
        whole.replace('\n', "\r\n"),
        format!("  {whole}"),
        format!("a comment\n{whole}"),
        whole.replace("AQEB\n", "\nAQEB"),
        whole.replace("-----END CERTIFICATE", "-----END NOTHING"),
        whole.replacen('\n', "\n\n", 1),
        whole.replace("AQ==", "AR=="),
        block("", b"x"),
        block("CERTIFICATE REQUEST", b""),
        "-----BEGIN A-----\n-----END A-----".to_owned(),
        "-----BEGIN -----\n".to_owned(),
        "key 1 \u{00e4}\0".to_owned(),
        String::new(),
    ];
    for text in texts {
        let pem = Pem::new(&text);
        assert_eq!(pem.to_string(), text);
        assert_eq!(pem, *text);
        let json = serde_json::to_string(&pem).unwrap();
        assert_eq!(json, serde_json::to_string(&text).unwrap());
        assert_eq!(serde_json::from_str::<Pem>(&json).unwrap(), pem);
    }
    assert_ne!(Pem::new(&whole), *whole.trim_end());
}

/// Octets like those of certificates: some of their own among many that all have.
fn octets(number: u8, len: usize) -> Vec<u8> {
    let own = |at: usize| at % 100 < 30 || at > 600;
    let octet = |at: usize| u8::try_from(at % 251).unwrap();
    let octets = (0..len).map(|at| match own(at) {
        true => octet(at).wrapping_mul(number | 1).wrapping_add(number),
        false => octet(at),
    });
    octets.collect()
}

/// Whatever the lengths and however many share a frame, each comes out as it went in, equal to one that shares nothing; and what
/// they have in common is kept once.
#[test]
fn what_is_shared_comes_out_word_for_word() {
    let issuing = block("CERTIFICATE", &octets(0, 500));
    let mut frames = Frames::default();
    let mut shared = Vec::new();
    for (number, len) in (0..200).zip([691, 0, 1, 690, 3, 700, 1500, 691, 692].into_iter().cycle())
    {
        let text = format!("{}{issuing}", block("CERTIFICATE", &octets(number, len)));
        let mut pem = Pem::new(&text);
        pem.share(&mut frames);
        pem.share(&mut frames);
        shared.push((text, pem));
    }
    for (text, pem) in &shared {
        assert_eq!(pem.to_string(), *text);
        assert_eq!(*pem, Pem::new(text));
        assert_eq!(*pem, *text);
    }
    let kept = |pem: &Pem| pem.kept.len();
    assert!(
        shared
            .iter()
            .skip(1)
            .all(|(text, pem)| kept(pem) <= text.len())
    );
    assert_ne!(shared[0].1, shared[7].1);

    let mut frames = Frames::default();
    let mut of = |number: u8| {
        let text = format!("{}{issuing}", block("CERTIFICATE", &octets(number, 691)));
        let mut pem = Pem::new(&text);
        pem.share(&mut frames);
        assert_eq!(pem.to_string(), text);
        pem
    };
    let (_first, second, third) = (of(1), of(2), of(3));
    assert!(kept(&third) < 400, "{}", kept(&third));
    let frame = |pem: &Pem| Arc::clone(pem.frame.as_ref().unwrap());
    assert!(Arc::ptr_eq(&frame(&second), &frame(&third)));
}

/// Who is like nobody does not keep the others from being found alike.
#[test]
fn an_odd_one_is_passed_over() {
    let mut frames = Frames::default();
    let mut of = |octets: Vec<u8>| {
        let mut pem = Pem::new(&block("CERTIFICATE", &octets));
        pem.share(&mut frames);
        pem
    };
    let _odd = of((0..691).map(|at| u8::try_from(at % 7).unwrap()).collect());
    let kept = [1, 2, 3]
        .map(|number| of(octets(number, 691)))
        .map(|pem| pem.kept.len());
    assert!(
        (1..400).contains(&kept[1]) && (1..400).contains(&kept[2]),
        "{kept:?}"
    );
}

/// Any octets against any pattern.
#[test]
fn differences_give_the_octets_again() {
    let mut state = 7_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    for _ in 0..2000 {
        let mut some = |few: u32| -> Vec<u8> {
            let len = random() % 1200;
            (0..len)
                .map(|_| u8::try_from(random() % few).unwrap())
                .collect()
        };
        let (pattern, octets) = (some(2), some(2));
        assert_eq!(with(&pattern, &without(&pattern, &octets)), octets);
        let like: Vec<u8> = pattern.iter().chain(&octets).copied().collect();
        assert_eq!(with(&pattern, &without(&pattern, &like)), like);
    }
}

/// Nothing of a text stays behind once it is gone: neither its frame nor, in the pattern, what was its own.
#[test]
fn frames_go_with_their_texts() {
    let mut frames = Frames::default();
    let text = |octets: &[u8]| Pem::new(&block("CERTIFICATE", octets));
    let mut one = text(b"common to both, first's own");
    one.share(&mut frames);
    let first = Arc::downgrade(one.frame.as_ref().unwrap());
    let mut other = text(b"common to both, other's own");
    other.share(&mut frames);
    drop(one);
    assert!(first.upgrade().is_none());
    let Pattern::Common(pattern) = &other.frame.as_ref().unwrap().pattern else {
        panic!("no pattern");
    };
    assert_eq!(**pattern, *b"common to both, \0\0\0\0\0's own");
    for number in 0..10_000 {
        Pem::new(&block(&number.to_string(), b"octets")).share(&mut frames);
    }
    assert!(frames.known.len() <= 8 * Frames::TIDY_AT, "{frames:?}");
    let known = Arc::clone(other.frame.as_ref().unwrap());
    let mut third = text(b"common to both, third's own");
    third.share(&mut frames);
    assert!(Arc::ptr_eq(&known, third.frame.as_ref().unwrap()));
}

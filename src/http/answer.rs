//! The head of an answer: read for where its body ends, and passed on as it is.

use httparse::Header;

use super::Body;
use super::request::{HeaderSpace, header_space, lists, values};

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it is.
    pub kind: AnswerKind,
    /// How long its head is, in bytes.
    pub length: usize,
}

/// What follows the head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// Another head: this one was a word meanwhile, such as 100 (RFC 9110 section 15.2).
    Interim,
    /// A body, and then the end of the connection if `last`.
    Final {
        /// The body.
        body: Body,
        /// The connection ends behind it.
        last: bool,
    },
    /// Another protocol, both ways.
    Switched,
}

/// Why an answer cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAnswer;

impl Answer {
    /// Reads the head that `bytes` begin with; `None` where it is not whole yet. `to_head` and `to_upgrade` say what it
    /// answers.
    ///
    /// # Errors
    /// [`BadAnswer`]: it cannot be told where it ends.
    pub fn parse(bytes: &[u8], to_head: bool, to_upgrade: bool) -> Result<Option<Self>, BadAnswer> {
        let mut space: HeaderSpace<'_> = header_space();
        let mut answer = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let length = match config.parse_response_with_uninit_headers(&mut answer, bytes, &mut space) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(BadAnswer),
        };
        let (Some(status), Some(minor)) = (answer.code, answer.version) else { return Err(BadAnswer) };
        let headers: &[Header<'_>] = answer.headers;
        let kind = match status {
            101 if to_upgrade => AnswerKind::Switched,
            101 => return Err(BadAnswer),
            100..=199 => AnswerKind::Interim,
            _ => {
                let body = if to_head || matches!(status, 204 | 304) { Body::NONE } else { body(headers)? };
                let last = minor == 0 || lists(headers, "connection", "close") || body == Body::UntilEnd;
                AnswerKind::Final { body, last }
            }
        };
        Ok(Some(Self { kind, length }))
    }
}

/// What follows the head (RFC 9112 section 6.3).
fn body(headers: &[Header<'_>]) -> Result<Body, BadAnswer> {
    let (mut lengths, codings) = (values(headers, "content-length"), values(headers, "transfer-encoding"));
    match (lengths.next(), codings.last()) {
        (None, None) => Ok(Body::UntilEnd),
        // Some programs say the same length twice.
        (Some(length), None) if lengths.all(|other| other == length) => {
            super::length(length).map(Body::Length).ok_or(BadAnswer)
        }
        (None, Some(coding)) => {
            let last = coding.rsplit(|&b| b == b',').next().unwrap_or_default().trim_ascii();
            Ok(if last.eq_ignore_ascii_case(b"chunked") { Body::CHUNKED } else { Body::UntilEnd })
        }
        (Some(_), _) => Err(BadAnswer),
    }
}

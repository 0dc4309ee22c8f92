//! An exchange: one request and its answer, and what is under way of them. The exchanges of a connection follow each
//! other.
//!
//! ```text
//!          asked             forwarded            head of an answer          its last byte
//!   Head ─────────► (role) ─────────────► Head ───────────────────► Body ─────────────────► Head, Nothing
//!   asks            next request │         ▲  │ interim              │ switched
//!    ▲                           │         └──┘                      ▼
//!    └───────────────────────────┘                        both ways until the end
//! ```

use super::{Answer, AnswerKind, BadAnswer, Body, Malformed, Request};

/// What passes between a visitor who speaks HTTP and its real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// From the visitor.
    pub asks: Asks,
    /// From the real server.
    pub answers: Answers,
    /// Bytes of the answer that may be passed on as they come.
    cleared: usize,
    /// Bytes of a head that were searched for its end, in vain.
    searched: u16,
    to_head: bool,
    to_upgrade: bool,
    /// Nothing may follow this exchange.
    last: bool,
    /// Some of the answer has been passed on.
    pub begun: bool,
}

/// What is expected of the visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// The head of a request.
    Head,
    /// The body of one.
    Body(Body),
}

/// What is expected of the real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Nothing.
    Nothing,
    /// The head of an answer, of which nothing has come yet.
    First,
    /// The head of an answer.
    Head,
    /// The body of one.
    Body(Body),
    /// Another protocol.
    Switched,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            asks: Asks::Head,
            answers: Answers::Nothing,
            cleared: 0,
            searched: 0,
            to_head: false,
            to_upgrade: false,
            last: false,
            begun: false,
        }
    }
}

impl Exchange {
    /// What a connection begins with: an exchange, if HTTP is spoken on it.
    pub fn begun_with(http: bool) -> Option<Box<Self>> {
        http.then(Box::default)
    }

    /// For a real server that hears this body and nothing more, and answers as it likes: the sides are swapped.
    pub fn of_body(body: Body) -> Self {
        Self { asks: Asks::Body(Body::UntilEnd), answers: Answers::Body(body), ..Self::default() }
    }

    /// Whether the head of a request would be read now.
    pub fn listens(&self) -> bool {
        (self.asks, self.answers) == (Asks::Head, Answers::Nothing)
    }

    /// Whether the head that `bytes` begin with may be whole, or wrong: asked once for each piece that comes.
    pub fn may_be_whole(&mut self, bytes: &[u8]) -> bool {
        let searched = usize::from(self.searched);
        self.searched = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        searched == 0 || bytes.get(searched..).is_some_and(|new| new.contains(&b'\n'))
    }

    /// A request has been read.
    pub fn asked(&mut self, request: &Request<'_>) {
        *self = Self {
            asks: Asks::Body(request.body),
            to_head: request.is_head(),
            to_upgrade: request.upgrade,
            last: request.last,
            ..Self::default()
        };
    }

    /// It goes to a real server.
    pub fn forwarded(&mut self) {
        self.answers = Answers::First;
    }

    /// Looks at bytes of the real server's: how many of them may be passed on as they are. 0 where a head is not whole
    /// yet.
    ///
    /// # Errors
    /// [`BadAnswer`]: they are of no use.
    pub fn examine(&mut self, bytes: &[u8]) -> Result<usize, BadAnswer> {
        let mut passed = 0;
        while matches!(self.answers, Answers::First | Answers::Head) && passed < bytes.len() {
            let Some(answer) = Answer::parse(&bytes[passed..], self.to_head, self.to_upgrade)? else {
                return Ok(passed);
            };
            passed += answer.length;
            self.answers = match answer.kind {
                AnswerKind::Interim => Answers::Head,
                AnswerKind::Final { body, last } => {
                    self.last |= last;
                    Answers::Body(body)
                }
                AnswerKind::Switched => {
                    self.asks = Asks::Body(Body::UntilEnd);
                    Answers::Switched
                }
            };
        }
        Ok(passed
            + match &mut self.answers {
                Answers::Body(body) => body.pass(&bytes[passed..]).map_err(|Malformed| BadAnswer)?,
                Answers::Switched => bytes.len() - passed,
                Answers::Nothing | Answers::First | Answers::Head => 0,
            })
    }

    /// What is left of the request's body, once the request goes to a real server.
    pub fn body(&self) -> Option<Body> {
        match (self.asks, self.answers) {
            (Asks::Head, _) | (_, Answers::Nothing) => None,
            (Asks::Body(body), _) => Some(body),
        }
    }

    /// Whether some of the answer has been passed on.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether the head of an answer has begun, and is not whole.
    pub fn is_in_head(&self) -> bool {
        self.answers == Answers::Head
    }

    /// Bytes that [`Self::examine`] found good and that have not been passed on yet.
    pub fn cleared(&mut self) -> &mut usize {
        &mut self.cleared
    }

    /// So many of the answer's next bytes need not be looked at.
    pub fn opaque(&self) -> u64 {
        match self.answers {
            Answers::Body(body) => body.opaque(),
            Answers::Switched => u64::MAX,
            Answers::Nothing | Answers::First | Answers::Head => 0,
        }
    }

    /// Counts bytes of [`Self::opaque`] that have passed.
    pub fn skip(&mut self, count: usize) {
        if let Answers::Body(body) = &mut self.answers {
            body.skip(count as u64);
        }
    }

    /// Whether the answer's last byte has passed, and if so, whether nothing may follow it. The next request may be
    /// read then.
    pub fn take_over(&mut self) -> Option<bool> {
        let Answers::Body(body) = self.answers else { return None };
        if !body.is_over() || self.cleared > 0 {
            return None;
        }
        // What is left of a request that was answered before its end cannot be told from the next one.
        let last = self.last || !matches!(self.asks, Asks::Body(body) if body.is_over());
        *self = Self::default();
        Some(last)
    }

    /// What it means that the real server's direction has ended.
    pub fn end(&self) -> Ending {
        match self.answers {
            Answers::Switched => Ending::Ours,
            Answers::Body(Body::UntilEnd) => Ending::Answer,
            Answers::Nothing | Answers::First | Answers::Head | Answers::Body(_) => Ending::Early,
        }
    }
}

/// What it means that the real server's direction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The visitor's other direction ends, too.
    Ours,
    /// The answer is whole by that.
    Answer,
    /// Something is missing.
    Early,
}

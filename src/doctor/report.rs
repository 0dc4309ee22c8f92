//! What was found: a line for each check, as it is made, or an array for programs at the end.

use std::io::Write;

use serde_json::{Value, json};

/// One check, what it was about, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was looked at: `dns`, `tcp`, `tls`, `login` …
    pub(super) check: &'static str,
    /// Which one.
    pub(super) subject: String,
    /// What was found, in one sentence.
    pub(super) says: String,
    /// Whether that is as it should be.
    pub(super) verdict: Verdict,
}

/// What follows from a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as it should be.
    Ok,
    /// It is not.
    Bad {
        /// What a person can do.
        advice: String,
    },
    /// It could not be made, and the finding says why.
    Skip,
}

impl Finding {
    /// A check that came out well.
    pub(super) fn ok(check: &'static str, subject: impl ToString, says: impl Into<String>) -> Self {
        Self { check, subject: subject.to_string(), says: says.into(), verdict: Verdict::Ok }
    }

    /// One that did not.
    pub(super) fn bad(
        check: &'static str,
        subject: impl ToString,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let verdict = Verdict::Bad { advice: advice.into() };
        Self { check, subject: subject.to_string(), says: says.into(), verdict }
    }

    /// One that could not be made.
    pub(super) fn skip(check: &'static str, subject: impl ToString, why: impl Into<String>) -> Self {
        Self { check, subject: subject.to_string(), says: why.into(), verdict: Verdict::Skip }
    }

    fn line(&self, colour: bool) -> String {
        let (word, code) = match &self.verdict {
            Verdict::Ok => ("ok", "32"),
            Verdict::Bad { .. } => ("BAD", "1;31"),
            Verdict::Skip => ("skip", "2"),
        };
        let word = format!("{word:<4}");
        // ECMA-48, SGR.
        let word = if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word };
        let advice = match &self.verdict {
            Verdict::Bad { advice } => format!("; {advice}"),
            Verdict::Ok | Verdict::Skip => String::new(),
        };
        format!("{word}  {:<8}{}: {}{advice}\n", self.check, self.subject, self.says)
    }

    fn to_json(&self) -> Value {
        let (ok, advice) = match &self.verdict {
            Verdict::Ok => (Some(true), None),
            Verdict::Bad { advice } => (Some(false), Some(advice)),
            Verdict::Skip => (None, None),
        };
        json!({ "check": self.check, "subject": self.subject, "ok": ok, "says": self.says, "do": advice })
    }
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A line each.
    Lines {
        /// For a terminal.
        colour: bool,
    },
    /// One array in the end.
    Json,
}

/// Takes findings as they are made.
pub(super) struct Report<'a> {
    to: &'a mut dyn Write,
    form: Form,
    found: Vec<Finding>,
}

impl<'a> Report<'a> {
    /// An empty one, written to `to`.
    pub(super) fn new(to: &'a mut dyn Write, form: Form) -> Self {
        Self { to, form, found: Vec::new() }
    }

    /// Takes one, and says whether it is as it should be.
    pub(super) fn add(&mut self, finding: Finding) -> bool {
        if let Form::Lines { colour } = self.form {
            self.write(&finding.line(colour));
        }
        let ok = finding.verdict == Verdict::Ok;
        self.found.push(finding);
        ok
    }

    /// Writes what is left to be written. The exit code: 0 where nothing is bad.
    pub(super) fn end(mut self) -> i32 {
        if self.form == Form::Json {
            let all: Vec<Value> = self.found.iter().map(Finding::to_json).collect();
            self.write(&format!("{:#}\n", Value::from(all)));
        }
        let bad = |finding: &Finding| matches!(finding.verdict, Verdict::Bad { .. });
        i32::from(self.found.iter().any(bad))
    }

    /// Whoever reads may have gone; the exit code tells all the same.
    fn write(&mut self, text: &str) {
        let _ = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> [Finding; 3] {
        [
            Finding::ok("tcp", "203.0.113.7:9002", "connected in 12.3 ms"),
            Finding::bad("dns", "vps.example.com", "no such host", "check the name"),
            Finding::skip("tls", "vps.example.com", "there is no connection"),
        ]
    }

    fn written(form: Form, findings: &[Finding]) -> (String, i32) {
        let mut bytes = Vec::new();
        let mut report = Report::new(&mut bytes, form);
        for finding in findings {
            report.add(finding.clone());
        }
        let code = report.end();
        (String::from_utf8(bytes).unwrap(), code)
    }

    #[test]
    fn a_check_is_a_line_or_an_object() {
        let (lines, code) = written(Form::Lines { colour: false }, &findings());
        assert_eq!(
            lines,
            "ok    tcp     203.0.113.7:9002: connected in 12.3 ms\n\
             BAD   dns     vps.example.com: no such host; check the name\n\
             skip  tls     vps.example.com: there is no connection\n"
        );
        assert_eq!(code, 1);
        let (lines, _) = written(Form::Lines { colour: true }, &findings());
        assert!(lines.contains("\x1b[1;31mBAD \x1b[0m  dns     vps"), "{lines}");
        let (text, code) = written(Form::Json, &findings());
        let all: Value = serde_json::from_str(&text).unwrap();
        let bad = json!({ "check": "dns", "subject": "vps.example.com", "ok": false, "says": "no such host",
            "do": "check the name" });
        assert_eq!((&all[1], &all[2]["ok"], &all[0]["do"], code), (&bad, &Value::Null, &Value::Null, 1));
    }

    #[test]
    fn only_what_is_bad_counts() {
        let [ok, _, skip] = findings();
        assert_eq!(written(Form::Json, &[ok, skip]).1, 0);
        assert_eq!(written(Form::Json, &[]).1, 0);
    }
}

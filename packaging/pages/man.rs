//! nt(1) and nt.toml(5), for man(7).

use std::fmt::Write;

use nt::cli::pages::{ABOUT, Page};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where lines of text are broken, which nobody sees but who reads the source.
const LINE_BYTES_MAX: usize = 79;

/// What stands behind the commands.
const TAIL: &str = r".SH FILES
.TP
.I /var/lib/nt
State of a server: its key, and
.IR licenses.toml .
.TP
.I /etc/nt/nt.toml
Settings of a server, read by the unit
.BR nt.service ;
see
.BR nt.toml (5).
.TP
.IR /etc/nt/ NAME .toml
Settings of a client, read by the unit
.BR nt@\fINAME\fB.service .
There is a license in them: mode 600.
.SH ENVIRONMENT
.TP
.B NT_LICENSE
LICENSE@HOST of a client, where the command line names none.
.TP
.B NT_LOG
How much is logged:
.BR error ,
.BR warn ,
.BR info ,
.BR debug .
.TP
.B STATE_DIRECTORY
The state directory of a server, where
.B \-\-state
names none.
.SH EXIT STATUS
0 when what was asked for is done, and 1 when not.
A server and a client end by SIGTERM or SIGINT, and look at their files again
on SIGHUP.
.SH SEE ALSO
.BR nt.toml (5),
.BR ssh (1),
.BR systemctl (1)
";

pub(crate) fn page(pages: &[Page], date: &str) -> String {
    let mut man = head("NT", 1, date, "User Commands");
    man.push_str(".SH NAME\nnt \\- publishes services that live behind NAT\n.SH SYNOPSIS\n.nf\n");
    for usage in pages.iter().filter(|page| page.words.starts_with('-')).flat_map(|page| &page.usage) {
        writeln!(man, "{}", plain(usage)).expect("a String");
    }
    man.push_str("\\fBnt\\fR \\fICOMMAND\\fR [\\fIWORDS\\fR] [\\fIFLAGS\\fR]\n.fi\n.SH DESCRIPTION\n");
    let (about, roles) = ABOUT.split_once("\n\n").expect("help has a first line");
    writeln!(man, "{}", filled(about)).expect("a String");
    verbatim(&mut man, roles.split("\n\nCommands:").next().unwrap_or_default());
    man.push_str(".PP\nEvery role and command says what it knows when it is asked with\n.BR \\-\\-help .\n");
    let (roles, commands): (Vec<&Page>, _) = pages.iter().partition(|page| page.words.starts_with('-'));
    for (title, pages) in [("ROLES", roles), ("COMMANDS", commands)] {
        writeln!(man, ".SH {title}").expect("a String");
        pages.iter().for_each(|page| command(&mut man, page));
    }
    man.push_str(TAIL);
    man
}

pub(crate) fn settings(date: &str) -> String {
    head("NT.TOML", 5, date, "File Formats") + include_str!("nt.toml.5")
}

fn head(name: &str, section: u8, date: &str, title: &str) -> String {
    format!(".\\\" Made by packaging/pages.\n.TH {name} {section} {date} \"nt {VERSION}\" \"{title}\"\n")
}

fn command(man: &mut String, page: &Page) {
    writeln!(man, ".SS nt {}", plain(&page.words)).expect("a String");
    lines(man, &page.usage.join("\n"));
    for paragraph in page.about.split("\n\n") {
        writeln!(man, ".PP\n{}", filled(paragraph)).expect("a String");
    }
    let flag = |name: &str, value: Option<&String>| {
        let value = value.map_or_else(String::new, |value| format!(" \\fI{}\\fR", plain(value)));
        format!("\\fB{}\\fR{value}", plain(name))
    };
    let operands = page.operands.iter().map(|(name, about)| (format!("\\fI{}\\fR", plain(name)), about));
    let flags = page.flags.iter().map(|found| (flag(&found.name, found.value.as_ref()), &found.about));
    for (term, about) in operands.chain(flags) {
        writeln!(man, ".TP\n{term}\n{}", filled(about)).expect("a String");
    }
    for (title, text) in &page.sections {
        writeln!(man, ".PP\n{}:", plain(title)).expect("a String");
        verbatim(man, text);
    }
}

fn verbatim(man: &mut String, text: &str) {
    man.push_str(".PP\n");
    lines(man, text);
}

/// Lines that stay as they are.
fn lines(man: &mut String, text: &str) {
    man.push_str(".nf\n");
    for line in text.trim_end().lines() {
        writeln!(man, "{}", plain(line)).expect("a String");
    }
    man.push_str(".fi\n");
}

/// Text whose lines may be broken elsewhere; what is between backticks is bold.
fn filled(text: &str) -> String {
    let mut bold = String::new();
    for (n, part) in text.split('`').enumerate() {
        match n % 2 {
            0 => bold.push_str(&escaped(part)),
            _ => write!(bold, "\\fB{}\\fR", escaped(part)).expect("a String"),
        }
    }
    let mut lines: Vec<String> = Vec::new();
    for word in bold.split_whitespace() {
        match lines.last_mut().filter(|line| line.len() + word.len() < LINE_BYTES_MAX) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| no_request(line)).collect::<Vec<_>>().join("\n")
}

/// A line of which nothing is a request or an escape (groff_man_style(7)).
fn plain(line: &str) -> String {
    no_request(&escaped(line))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\(ga")
}

fn no_request(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

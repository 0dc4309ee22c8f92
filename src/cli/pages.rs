//! The command line as data, for what describes it elsewhere: man pages and completions (`packaging/pages`). nt itself
//! does not use it, and has the same size as without: what is `inline` is compiled with whoever calls it.

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfoKind, Optionality};

use super::{flags, help};

/// What is known of a role or a command.
#[derive(Debug, Default)]
pub struct Page {
    /// The words behind `nt` that ask for it; of a role the short flag.
    pub words: String,
    /// The lines that call it.
    pub usage: Vec<String>,
    /// What it does.
    pub about: String,
    /// What may stand behind the words, and what that is.
    pub operands: Vec<(String, String)>,
    /// Its flags.
    pub flags: Vec<Flag>,
    /// What else is said of it: titles, and texts whose lines stay as they are.
    pub sections: Vec<(String, String)>,
    /// Those below it: `license` has `add`.
    pub commands: Vec<String>,
}

/// A flag of a command.
#[derive(Clone, Debug)]
pub struct Flag {
    /// With its hyphens.
    pub name: String,
    /// What the word behind it is called, if there is one.
    pub value: Option<String>,
    /// What it does.
    pub about: String,
}

/// What nt does, and how one begins.
pub const ABOUT: &str = help::TOP;

/// Every role and command: the pages that are written by hand, then what argh knows.
#[inline]
pub fn pages() -> Vec<Page> {
    let mut pages = vec![
        by_hand("-s", help::SERVE),
        by_hand("-c", help::CLIENT),
        by_hand("install", help::INSTALL),
        by_hand("doctor", help::DOCTOR),
        by_hand("bench", help::BENCH),
    ];
    for command in flags::Top::get_args_info().commands {
        by_argh(command.name, &command.command, &mut pages);
    }
    pages
}

/// Reads a page of help: what it is called by, what it does, and sections with titles.
#[inline]
fn by_hand(words: &str, text: &str) -> Page {
    let mut page = Page { words: words.to_owned(), ..Page::default() };
    let mut blocks = text.split("\n\n").peekable();
    let usage = blocks.next().unwrap_or_default();
    page.usage = usage.lines().map(|line| line.trim_start_matches("Usage:").trim().to_owned()).collect();
    for block in blocks {
        match block.split_once('\n') {
            Some(("Flags:", lines)) => page.flags = flags_of(lines),
            Some((title, lines)) if lines.starts_with("  ") => {
                let title = title.trim_end_matches(':').to_owned();
                page.sections.push((title, lines.trim_end().to_owned()));
            }
            _ => {
                page.about.push_str(if page.about.is_empty() { "" } else { "\n\n" });
                page.about.push_str(block);
            }
        }
    }
    page
}

/// Flags as help lists them: `  --flag VALUE    what it does`, which may go on in lines that begin further right.
#[inline]
fn flags_of(lines: &str) -> Vec<Flag> {
    let mut flags: Vec<Flag> = Vec::new();
    for line in lines.lines() {
        match (line.trim_start().split_once("  "), flags.last_mut()) {
            (Some((head, about)), _) if head.starts_with("--") => {
                let (name, value) = match head.split_once(' ') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (head, None),
                };
                flags.push(Flag { name: name.to_owned(), value, about: about.trim().to_owned() });
            }
            (_, Some(flag)) => {
                flag.about.push(' ');
                flag.about.push_str(line.trim());
            }
            _ => {}
        }
    }
    flags
}

#[inline]
fn by_argh(words: &str, info: &CommandInfoWithArgs, pages: &mut Vec<Page>) {
    let flags = info.flags.iter().filter(|flag| flag.long != "--help");
    let operands = info.positionals.iter().map(|positional| {
        let name = positional.name.to_uppercase();
        let name = match positional.optionality {
            Optionality::Required => name,
            Optionality::Optional => format!("[{name}]"),
            Optionality::Repeating | Optionality::Greedy => format!("{name}..."),
        };
        (name, positional.description.to_owned())
    });
    let mut page = Page {
        words: words.to_owned(),
        about: info.description.to_owned(),
        operands: operands.collect(),
        flags: flags
            .map(|flag| Flag {
                name: flag.long.to_owned(),
                value: match flag.kind {
                    FlagInfoKind::Switch => None,
                    FlagInfoKind::Option { arg_name } => Some(arg_name.to_uppercase()),
                },
                about: flag.description.to_owned(),
            })
            .collect(),
        commands: info.commands.iter().map(|command| command.name.to_owned()).collect(),
        ..Page::default()
    };
    let titled = [("Examples", info.examples), ("Notes", info.notes)];
    for (title, texts) in titled.into_iter().filter(|(_, texts)| !texts.is_empty()) {
        page.sections.push((title.to_owned(), texts.join("\n")));
    }
    let behind = page.operands.iter().map(|(name, _)| name.as_str());
    let behind = behind.chain((!page.commands.is_empty()).then_some("COMMAND"));
    let behind = behind.chain((!page.flags.is_empty()).then_some("[FLAGS]"));
    page.usage = vec![["nt", words].into_iter().chain(behind).collect::<Vec<_>>().join(" ")];
    pages.push(page);
    for command in &info.commands {
        by_argh(&format!("{words} {}", command.name), &command.command, pages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_has_its_page() {
        let pages = pages();
        for command in flags::COMMANDS {
            assert!(pages.iter().any(|page| page.words == command), "{command} has no page");
        }
        for command in flags::LICENSE_COMMANDS {
            let words = format!("license {command}");
            assert!(pages.iter().any(|page| page.words == words), "{words} has no page");
        }
        for name in flags::FLAGS.into_iter().filter(|name| !["--help", "--version"].contains(name)) {
            let has = |page: &Page| page.flags.iter().any(|flag| flag.name == name);
            assert!(pages.iter().any(has), "{name} stands on no page");
        }
    }

    #[test]
    fn pages_by_hand_name_the_flags_that_argh_reads() {
        let read = [flags::ServeFlags::get_args_info(), flags::ClientFlags::get_args_info()];
        for (page, info) in pages().iter().zip(read) {
            let mut told: Vec<_> = page.flags.iter().map(|flag| flag.name.as_str()).collect();
            let flags = info.flags.iter().map(|flag| flag.long);
            let mut read: Vec<_> = flags.filter(|name| *name != "--help").collect();
            told.sort_unstable();
            read.sort_unstable();
            assert_eq!(told, read, "nt {}", page.words);
        }
    }
}

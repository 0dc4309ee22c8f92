//! Completions for bash, zsh and fish. Roles are flags here and commands have commands of the same names below them
//! (`license list`, `map list`), which `argh_complete` does not tell apart: so these are our own. Each walks over the
//! words that are there, to the page that they have led to, and offers what may come behind it.

use std::fmt::Write;

use nt::cli::pages::{Flag, Page};
use nt::service::System;

const HEAD: &str = "made by packaging/pages of nt's own definitions";

/// What may be the word behind a flag, or an operand.
#[derive(Clone)]
enum Value {
    File,
    Folder,
    Words(Vec<&'static str>),
    Other,
}

fn value_of(flag: &str) -> Value {
    match flag {
        "--config" | "--ca" => Value::File,
        "--state" => Value::Folder,
        "--log" => Value::Words(vec!["text", "json"]),
        "--system" => Value::Words(System::ALL.map(System::word).to_vec()),
        _ => Value::Other,
    }
}

/// Flags that may come again.
const AGAIN: [&str; 2] = ["--map", "--visit"];

/// What may come behind the words that are there.
struct Place {
    /// How it is reached: from which place, by which words.
    from: String,
    by: Vec<String>,
    /// What it is called, and what it does.
    at: String,
    about: String,
    flags: Vec<Flag>,
    /// Whether operands are files; those of a client may be `@FILE`.
    files: bool,
    at_files: bool,
}

/// The top, every page, and the roles behind `install`.
fn places(pages: &[Page]) -> Vec<Place> {
    let flags_of = |words: &str| {
        let page = pages.iter().find(|page| page.words == words);
        page.map(|page| page.flags.clone()).unwrap_or_default()
    };
    let mut places: Vec<Place> = Vec::new();
    for page in pages {
        let (from, word) = page.words.rsplit_once(' ').unwrap_or(("", &page.words));
        let by = match word {
            "-s" => vec!["-s", "--server"],
            "-c" => vec!["-c", "--client"],
            word => vec![word],
        };
        let mut place = Place {
            from: from.to_owned(),
            by: by.into_iter().map(str::to_owned).collect(),
            at: page.words.clone(),
            about: brief(&page.about),
            flags: page.flags.clone(),
            files: page.operands.iter().any(|(name, _)| name.contains("FILE")),
            at_files: false,
        };
        // These take what `nt -c` takes.
        if ["-c", "doctor", "bench"].contains(&page.words.as_str()) {
            place.at_files = true;
            let known: Vec<String> = place.flags.iter().map(|flag| flag.name.clone()).collect();
            place.flags.extend(flags_of("-c").into_iter().filter(|flag| !known.contains(&flag.name)));
        }
        places.push(place);
    }
    for role in ["-s", "-c"] {
        let flags = [flags_of("install"), flags_of(role)].concat();
        let role_of = places.iter().find(|place| place.at == role).expect("roles have pages");
        let (by, about) = (role_of.by.clone(), role_of.about.clone());
        let (from, at, at_files) = ("install".to_owned(), format!("install {role}"), role == "-c");
        places.push(Place { from, by, at, about, flags, files: false, at_files });
    }
    places
}

/// What may follow a place as a next word that leads on, and what that does.
fn next<'a>(places: &'a [Place], at: &str) -> Vec<(&'a str, &'a str)> {
    let below = places.iter().filter(|place| place.from == at);
    below.flat_map(|place| place.by.iter().map(|by| (by.as_str(), place.about.as_str()))).collect()
}

/// Words of the top that lead nowhere.
const TOP: [(&str, &str); 5] = [
    ("help", "help for a command"),
    ("-h", "help"),
    ("--help", "help"),
    ("-V", "which version this is"),
    ("--version", "which version this is"),
];

/// The beginning of what is said of something, for one line of a list.
fn brief(about: &str) -> String {
    let end = ["; ", " (", ". ", ", as in", ".\n", ": "].iter().filter_map(|end| about.find(end)).min();
    about[..end.unwrap_or(about.len())].replace('\n', " ").trim_end_matches('.').replace('`', "")
}

/// Every first word that is no flag.
fn commands(places: &[Place]) -> String {
    let words = next(places, "").into_iter().map(|(word, _)| word);
    words.filter(|word| !word.starts_with('-')).collect::<Vec<_>>().join(" ")
}

pub(crate) fn bash(pages: &[Page]) -> String {
    let places = places(pages);
    let mut steps = String::new();
    for place in &places {
        let by: Vec<String> = place.by.iter().map(|by| format!("'{}/{by}'", place.from)).collect();
        writeln!(steps, "            {}) at='{}' ;;", by.join(" | "), place.at).expect("a String");
    }
    let mut values = String::new();
    let mut valued: Vec<&str> = Vec::new();
    for flag in places.iter().flat_map(|place| &place.flags).filter(|flag| flag.value.is_some()) {
        if valued.contains(&flag.name.as_str()) {
            continue;
        }
        valued.push(&flag.name);
        let what = match value_of(&flag.name) {
            Value::File => "files=-f".to_owned(),
            Value::Folder => "files=-d".to_owned(),
            Value::Words(words) => format!("words='{}'", words.join(" ")),
            Value::Other => ":".to_owned(),
        };
        writeln!(values, "        {}) {what} ;;", flag.name).expect("a String");
    }
    let mut offers = String::new();
    let top = TOP.iter().map(|(word, _)| *word);
    let first: Vec<&str> = next(&places, "").into_iter().map(|(word, _)| word).chain(top).collect();
    writeln!(offers, "                '') words='{}' ;;", first.join(" ")).expect("a String");
    for place in &places {
        let mut words: Vec<&str> = next(&places, &place.at).into_iter().map(|(word, _)| word).collect();
        words.extend(place.flags.iter().map(|flag| flag.name.as_str()));
        let files = if place.files { " files=-f" } else { "" };
        writeln!(offers, "                '{}') words='{} --help'{files} ;;", place.at, words.join(" "))
            .expect("a String");
    }
    format!(
        r#"# bash completion for nt, {HEAD}

_nt() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} at= words= files= n
    for ((n = 1; n < COMP_CWORD; n++)); do
        case "$at/${{COMP_WORDS[n]}}" in
            '/help') at=help ;;
{steps}        esac
    done
    COMPREPLY=()
    case "$prev" in
        # `@` is a word of its own to readline: what is behind it is a file.
        @) files=-f ;;
{values}        *)
            case "$at" in
                help) words='{commands}' ;;
{offers}            esac
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur"; [ -z "$files" ] || compgen "$files" -- "$cur")
    [ -z "$files" ] || compopt -o filenames 2>/dev/null
}}
complete -F _nt nt
"#,
        commands = commands(&places),
    )
}

pub(crate) fn zsh(pages: &[Page]) -> String {
    let places = places(pages);
    let (mut steps, mut offers) = (String::new(), String::new());
    for place in &places {
        let from = place.from.replace(' ', "\\ ");
        let by: Vec<String> = place.by.iter().map(|by| format!("{from}/{by}")).collect();
        writeln!(steps, "            ({}) at='{}'; last=n ;;", by.join("|"), place.at).expect("a String");
        let mut specs = Vec::new();
        for flag in &place.flags {
            let again = if AGAIN.contains(&flag.name.as_str()) { "*" } else { "" };
            let mut spec = format!("{again}{}[{}]", flag.name, zsh_text(&brief(&flag.about)));
            if let Some(value) = &flag.value {
                let action = match value_of(&flag.name) {
                    Value::File => "_files".to_owned(),
                    Value::Folder => "_files -/".to_owned(),
                    Value::Words(words) => format!("({})", words.join(" ")),
                    Value::Other => " ".to_owned(),
                };
                write!(spec, ":{}:{action}", zsh_text(value)).expect("a String");
            }
            specs.push(spec);
        }
        specs.push("(-h --help)\"{-h,--help}\"[help]".to_owned());
        let below = next(&places, &place.at);
        if !below.is_empty() {
            let words: Vec<String> =
                below.iter().map(|(word, about)| format!("{word}\\:\"{}\"", zsh_text(about))).collect();
            specs.push(format!("1:command:(({}))", words.join(" ")));
        } else if place.files {
            specs.push("*:file:_files".to_owned());
        } else if place.at_files {
            specs.push("*:server or mapping:_nt_at".to_owned());
        }
        let specs: Vec<String> = specs
            .iter()
            .map(|spec| {
                format!("'{}'", spec.replace('\'', r"'\''")).replace("\"{-h,--help}\"", "'{-h,--help}'")
            })
            .collect();
        writeln!(
            offers,
            "        ('{}') _arguments \\\n            {} ;;",
            place.at,
            specs.join(" \\\n            ")
        )
        .expect("a String");
    }
    let first = next(&places, "").into_iter().chain(TOP);
    let first: Vec<String> = first
        .map(|(word, about)| format!("            '{word}:{}'", zsh_text(about).replace('\'', "")))
        .collect();
    format!(
        r#"#compdef nt
# zsh completion for nt, {HEAD}

# A server may be named by a file, as @FILE.
_nt_at() {{
    compset -P '@' && _files
}}

_nt() {{
    local at=
    integer n last=1
    for ((n = 2; n < CURRENT; n++)); do
        case "$at/$words[n]" in
            (/help) at=help; last=n ;;
{steps}        esac
    done
    # _arguments is to see what stands behind the command.
    words=("$words[1]" "${{(@)words[last+1,-1]}}")
    (( CURRENT -= last - 1 ))
    case "$at" in
        ('')
            local -a first=(
{first}
            )
            _describe command first ;;
        (help) compadd -- {commands} ;;
{offers}    esac
}}

_nt "$@"
"#,
        first = first.join("\n"),
        commands = commands(&places),
    )
}

/// Text within a specification of _arguments.
fn zsh_text(text: &str) -> String {
    text.replace('\\', "\\\\").replace(':', "\\:").replace('[', "\\[").replace(']', "\\]")
}

pub(crate) fn fish(pages: &[Page]) -> String {
    let places = places(pages);
    let mut steps = String::new();
    for place in &places {
        let by: Vec<String> = place.by.iter().map(|by| format!("'{}/{by}'", place.from)).collect();
        writeln!(steps, "            case {}\n                set at '{}'", by.join(" "), place.at)
            .expect("a String");
    }
    let mut offers = String::new();
    let mut offer = |at: &str, what: &str, about: &str| {
        let about = about.replace('\\', "\\\\").replace('\'', "\\'");
        writeln!(offers, "complete -c nt -n '__nt_at \"{at}\"' {what} -d '{about}'").expect("a String");
    };
    offer("", "-s s -l server", "be the server");
    offer("", "-s c -l client", "be a client");
    offer("", "-s h -l help", "help");
    offer("", "-s V -l version", "which version this is");
    offer("", "-a help", "help for a command");
    offer("help", &format!("-a '{}'", commands(&places)), "command");
    offer("install", "-s s -l server", "be the server");
    offer("install", "-s c -l client", "be a client");
    for place in &places {
        for (n, by) in place.by.iter().enumerate() {
            if !by.starts_with('-') && n == 0 {
                offer(&place.from, &format!("-a {by}"), &place.about);
            }
        }
        for flag in &place.flags {
            let value = flag.value.as_ref().map(|_| match value_of(&flag.name) {
                Value::File => " -r -F".to_owned(),
                Value::Folder => " -x -a '(__fish_complete_directories)'".to_owned(),
                Value::Words(words) => format!(" -x -a '{}'", words.join(" ")),
                Value::Other => " -x".to_owned(),
            });
            let name = flag.name.trim_start_matches('-');
            offer(&place.at, &format!("-l {name}{}", value.unwrap_or_default()), &brief(&flag.about));
        }
        offer(&place.at, "-s h -l help", "help");
        if place.files {
            offer(&place.at, "-F", "");
        } else if place.at_files {
            offer(&place.at, "-a '(__nt_at_file)'", "license");
        }
    }
    format!(
        r#"# fish completion for nt, {HEAD}

# Whether the words that are there lead to this place.
function __nt_at
    set -l at ''
    for word in (commandline -opc)[2..]
        switch "$at/$word"
            case '/help'
                set at help
{steps}        end
    end
    test "$at" = "$argv[1]"
end

# A server may be named by a file, as @FILE.
function __nt_at_file
    string match -q '@*' -- (commandline -ct)
    and printf '@%s\n' (__fish_complete_path (string sub -s 2 -- (commandline -ct)))
end

complete -c nt -f
{offers}"#
    )
}

//! What packages hold beside the program: every command and flag is in the man pages and in the completions, of which
//! the shells are asked; systemd understands the units; OpenWrt's script starts what its configuration says.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nt::cli::pages::{Page, pages};

#[path = "../packaging/pages/pages.rs"]
#[allow(unreachable_pub, reason = "it is a program of its own, too")]
mod made;
#[path = "e2e/process.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "whether a program is there is asked of it"
)]
mod process;

const NT: &str = env!("CARGO_BIN_EXE_nt");

/// The files in a folder of their own, which goes when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("nt-pages-{test}-{}", std::process::id()));
        fs::create_dir(&folder).expect("a directory of its own");
        for (name, text) in made::files(0) {
            fs::write(folder.join(name), text).expect("mine");
        }
        Self(folder)
    }

    /// What a program says there, and whether it is content.
    fn run(&self, program: &str, words: &[&str]) -> (bool, String) {
        let output = Command::new(program).args(words).current_dir(&self.0).output().expect("it runs");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.success(), said.concat())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn file(name: &str) -> String {
    made::files(0).into_iter().find(|(found, _)| *found == name).expect("it is made").1
}

#[test]
fn every_command_and_flag_is_in_the_man_page() {
    let man = file("nt.1").replace("\\-", "-");
    for page in pages() {
        let head = format!(".SS nt {}\n", page.words);
        let (_, section) = man.split_once(&head).unwrap_or_else(|| panic!("nt(1) has no {}", page.words));
        let section = section.split("\n.S").next().expect("the first part");
        for flag in &page.flags {
            assert!(section.contains(&format!("\\fB{}\\fR", flag.name)), "nt {} {}", page.words, flag.name);
        }
        for (title, _) in &page.sections {
            assert!(section.contains(&format!("\n{title}:\n")), "nt {}: {title}", page.words);
        }
    }
}

#[test]
fn every_setting_is_in_its_man_page() {
    let man = file("nt.toml.5");
    let config = include_str!("../src/config.rs");
    for list in ["const SERVER: ", "const CLIENT: ", "const LIMITS: "] {
        let (_, rest) = config.split_once(list).expect("config has a list of settings");
        let words = rest.split("];\n").next().expect("the first part");
        for setting in words.split('"').skip(1).step_by(2) {
            let told = [format!("\\fB{setting}\\fR"), format!("\\fB[{setting}]\\fR")];
            assert!(told.iter().any(|told| man.contains(told)), "nt.toml(5) does not know {setting}");
        }
    }
}

#[test]
fn man_pages_have_no_mistake() {
    if !process::need(&["mandoc"]) {
        return;
    }
    let folder = Folder::new("man");
    let (_, said) = folder.run("mandoc", &["-Tlint", "nt.1", "nt.toml.5"]);
    assert_eq!(said, "");
}

/// Asks a shell for what may come behind each page's words and two hyphens, and behind a command that has others below
/// it: `ask` stands for the one, in words of that shell, and prints a word a line.
fn asked(shell: &str, begin: &str, ask: impl Fn(&str, &str) -> String) {
    let folder = Folder::new(shell);
    for page in pages() {
        let Page { words, flags, commands, .. } = &page;
        let offered = |typed: &str| {
            let (good, said) = folder.run(shell, &["-c", &format!("{begin}\n{}", ask(words, typed))]);
            assert!(good, "{shell}: nt {words} {typed}: {said}");
            said.lines().map(|line| line.split(['\t', '[']).next().unwrap_or_default().to_owned()).collect()
        };
        let found: Vec<String> = offered("--");
        for flag in flags {
            assert!(found.contains(&flag.name), "{shell} does not know {} of {words}: {found:?}", flag.name);
        }
        let found: Vec<String> = if commands.is_empty() { Vec::new() } else { offered("") };
        for command in commands {
            assert!(found.contains(command), "{shell} does not know {command} of {words}: {found:?}");
        }
    }
}

#[test]
fn bash_completes_every_command_and_flag() {
    if process::need(&["bash"]) {
        asked("bash", ". ./nt.bash", |words, typed| {
            format!(
                "COMP_WORDS=(nt {words} '{typed}') COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _nt; printf '%s\\n' \
                 \"${{COMPREPLY[@]}}\""
            )
        });
    }
}

#[test]
fn fish_completes_every_command_and_flag() {
    if process::need(&["fish"]) {
        asked("fish", "source nt.fish", |words, typed| format!("complete -C 'nt {words} {typed}'"));
    }
}

#[test]
fn zsh_completes_every_command_and_flag() {
    if process::need(&["zsh"]) {
        // What it would hand to _arguments: specifications, of which commands are one.
        let begin = "setopt no_rcs\nautoload -Uz compinit\n_arguments() { for spec; do case $spec in (1:command:*) \
                     print -rl -- ${${(z)${${spec#*\\(\\(}%\\)\\)}}%%\\\\:*} ;; (*) print -r -- ${spec#\\*} ;; esac; done }\n\
                     nt_() { words=(nt \"$@\"); CURRENT=$#words; source ./_nt }";
        asked("zsh", begin, |words, typed| format!("nt_ {words} '{typed}'"));
    }
}

#[test]
fn systemd_understands_the_units() {
    if !process::need(&["systemd-analyze"]) {
        return;
    }
    let folder = Folder::new("units");
    for name in ["nt.service", "nt@.service"] {
        // Verified is that the program is there, as well.
        let unit = file(name).replace("/usr/bin/nt", NT);
        assert!(!unit.contains("NAME.toml") && unit.contains("/etc/nt/"), "{unit}");
        let name = name.replace('@', "@home");
        fs::write(folder.0.join(&name), unit).expect("mine");
        let (good, said) = folder.run("systemd-analyze", &["verify", "--man=no", &format!("./{name}")]);
        assert!(good && !said.contains("nt.s") && !said.contains("nt@"), "{name}: {said}");
        let (good, said) = folder
            .run("systemd-analyze", &["security", "--offline=true", "--threshold=20", &format!("./{name}")]);
        assert!(good, "{name}: {said}");
    }
}

#[test]
fn the_script_of_openwrt_starts_what_its_configuration_says() {
    if process::need(&["busybox"]) {
        let project = env!("CARGO_MANIFEST_DIR");
        let script = format!("{project}/tests/packages/openwrt.sh");
        let output = Command::new("sh").args([&script, project, NT]).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
    }
}

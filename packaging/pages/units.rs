//! Units of systemd as `nt install` writes them, for settings in /etc/nt. Neither is enabled by a package.

use nt::service::{End, MARK, Service, System, Word};

/// `nt.service`: a server.
pub(crate) fn server() -> String {
    let words = ["-s", "--config", "/etc/nt/nt.toml"].map(|word| Word::Plain(word.to_owned()));
    let end = End::Server { state: None, certificates: Vec::new(), sockets: Vec::new() };
    unit("nt", words.to_vec(), end)
}

/// `nt@NAME.service`: a client, whose settings are root's alone, as there is a license in them.
pub(crate) fn client() -> String {
    let settings = Word::File { before: "", path: "/etc/nt/NAME.toml".to_owned(), id: "config" };
    let words = vec![Word::Plain("-c".to_owned()), Word::Plain("--config".to_owned()), settings];
    // Nobody knows yet what its mappings will name.
    let end = End::Client { paths: Vec::new(), offered: true, low_ports: false };
    let unit = unit("NAME", words, end).replace("systemctl edit NAME", "systemctl edit nt@NAME");
    let unit = unit.replace("/etc/nt/NAME.toml", "/etc/nt/%i.toml").replace("=nt/NAME", "=nt/%i");
    unit.replace("\nDescription=nt, ", "\nDescription=nt for %i, ").replace(
        "[Unit]\n",
        "[Unit]\n# Its settings, with a license: mode 600.\nAssertPathExists=/etc/nt/%i.toml\n",
    )
}

fn unit(name: &str, words: Vec<Word>, end: End) -> String {
    let service = Service { name: name.to_owned(), program: "/usr/bin/nt".to_owned(), words, end };
    service
        .text(System::Systemd)
        .replace(MARK, "Of the package nt, which enables and starts nothing by itself.")
}

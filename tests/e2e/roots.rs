//! `--ca`: a server that is known by roots, beside what its license proves.

use super::certificates::certificate;
use super::harness::{Folder, SOON, nt, port};
use super::process::{mortal, need};
use super::rest::Nt;

#[test]
fn a_server_is_known_by_its_roots_and_one_of_its_names() {
    if !need(&["openssl"]) {
        return;
    }
    let folder = Folder::new();
    let here = certificate(&folder, "here", &["other.example.com", "localhost"]);
    let elsewhere = certificate(&folder, "elsewhere", &["elsewhere.example.com"]);
    let state = folder.join("state");
    for (shown, trusted, welcome) in
        [(&here, &here, true), (&here, &elsewhere, false), (&elsewhere, &elsewhere, false)]
    {
        let listen = port();
        let settings = format!("cert = {shown:?}\nkey = {:?}\n", shown.with_extension("key"));
        let mut server = mortal(nt());
        server.args(["-s", "--listen", &format!("127.0.0.1:{listen}"), "--state"]).arg(&state);
        let server = Nt::start(server.arg("--config").arg(folder.write("nt.toml", settings)), &[listen]);
        let license = folder.join("license");
        if !license.exists() {
            let line = server.wait_for("nt -c nt1", SOON);
            let words = line.split("nt -c ").nth(1).unwrap();
            folder.write("license", words.split('@').next().unwrap());
        }
        server.note_untouched();
        let at = format!("{}@localhost:{listen}", std::fs::read_to_string(license).unwrap());
        let file = folder.write("server", at);
        let mut client = mortal(nt());
        client.args(["-c", &format!("@{}", file.display()), "--ca"]).arg(trusted);
        let client = Nt::start(client.arg("22"), &[listen]);
        client.wait_for(if welcome { "logged in" } else { "certificate was not accepted" }, SOON);
        assert_eq!(client.log().count("logged in"), usize::from(welcome));
    }
}

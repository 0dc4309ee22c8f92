//! Real servers behind Unix sockets.

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use super::data::Pattern;
use super::harness::{Folder, Kind, SOON, Server, port, visit};
use super::rest::Nt;

/// More than any buffer on the way, so that plain payload is spliced.
const BULK: u64 = 48 << 20;

/// Serves the visits of a Unix socket, one by one, for the life of the test.
fn listen(path: &PathBuf, serve: impl Fn(UnixStream) + Send + 'static) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
}

fn publish(server: &Server, kind: Kind, target: &str) -> (Nt, u16) {
    let public = port();
    let client = server.client(kind, &[format!("{public}:{target}")]);
    client.wait_for(&format!("-> {target} ready"), SOON);
    (client, public)
}

fn socket(folder: &Folder) -> (PathBuf, String) {
    let path = folder.join("app.sock");
    let target = format!("unix:{}", path.display());
    (path, target)
}

#[test]
fn a_unix_socket_is_served_as_a_port_is() {
    for kind in [Kind::Tls, Kind::Plain] {
        let (server, folder) = (Server::start(), Folder::new());
        let (path, target) = socket(&folder);
        // It hears the visitor out, answers, and ends first; or says everything first, and hears the visitor out.
        listen(&path, |stream| {
            let mut first = [0];
            (&stream).read_exact(&mut first).unwrap();
            let hear = || assert_eq!(Pattern::new(1).read(&stream), (BULK, Ok(())));
            let answer = || {
                Pattern::new(2).write(&stream, BULK).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            };
            if first == *b"?" {
                (hear(), answer())
            } else {
                (answer(), hear())
            };
        });
        let (client, public) = publish(&server, kind, &target);
        for first in [b"?", b"!"] {
            let visitor = visit(public);
            std::io::Write::write_all(&mut &visitor, first).unwrap();
            thread::scope(|scope| {
                scope.spawn(|| {
                    Pattern::new(1).write(&visitor, BULK).unwrap();
                    visitor.shutdown(Shutdown::Write).unwrap();
                });
                assert_eq!(Pattern::new(2).read(&visitor), (BULK, Ok(())), "{kind:?}");
            });
        }
        drop(client);
    }
}

#[test]
fn who_is_not_there_behind_a_unix_socket_is_named() {
    let (server, folder) = (Server::start(), Folder::new());
    let (path, target) = socket(&folder);
    let (client, public) = publish(&server, Kind::Tls, &target);
    let refused = |why: &str| {
        let ended = visit(public).read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(ended, Err(ErrorKind::ConnectionReset), "{why}");
        assert!(client.wait_for(why, SOON).contains(&target));
    };
    refused("there is no such Unix socket");
    // A program that was killed leaves its path behind.
    drop(UnixListener::bind(&path).unwrap());
    refused("refused the connection");
    std::fs::remove_file(&path).unwrap();
    listen(&path, |stream| drop(std::io::copy(&mut &stream, &mut &stream)));
    let visitor = visit(public);
    Pattern::new(3).write(&visitor, 1000).unwrap();
    visitor.shutdown(Shutdown::Write).unwrap();
    assert_eq!(Pattern::new(3).read(&visitor), (1000, Ok(())), "served as soon as it is there");
}

#[test]
fn a_unix_socket_that_the_server_chose_wants_permission() {
    let (server, folder) = (Server::start(), Folder::new());
    let (path, target) = socket(&folder);
    listen(&path, |stream| drop(std::io::copy(&mut &stream, &mut &stream)));
    let public = port();
    let license = server.license(&["add", "given", "--map", &format!("{public}:{target}")]);
    let client = server.client_with(Kind::Tls, &license, &[], |_| {});
    let word = format!("--allow loopback,{target}");
    client.wait_for(&word, SOON);
    drop(client);
    let client = server.client_with(Kind::Tls, &license, &[], |command| {
        command.args(word.split(' '));
    });
    client.wait_for(" ready", SOON);
    let visitor = visit(public);
    Pattern::new(4).write(&visitor, 1000).unwrap();
    visitor.shutdown(Shutdown::Write).unwrap();
    assert_eq!(Pattern::new(4).read(&visitor), (1000, Ok(())));
}

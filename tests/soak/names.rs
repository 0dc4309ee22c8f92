//! Names that clients publish, and the connections to them: plain, over TLS that ends on the server, and over TLS that
//! is passed on.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::DerefMut;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nt::identity::read_identity;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig,
    ServerConnection, SideData, StreamOwned,
};

use super::certificates::certificate;
use super::harness::Backend;
use super::scratch::Folder;
use super::visitors::connect;
use super::web::Talk;

/// What visitors come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Plain,
    /// TLS ends on the server.
    Ended,
    /// The real server's own TLS.
    PassedOn,
}

/// A name of each client; `#` stands for the client's number.
pub struct Name {
    pub kind: &'static str,
    public: &'static str,
    host: &'static str,
    path: &'static str,
    pub door: Door,
}

pub const NAMES: [Name; 5] = [
    name("a name", "a#.example.com", "A#.Example.com.", "", Door::Plain),
    name("below a name", "*.b#.example.com", "x.y.b#.example.com", "", Door::Plain),
    name(
        "a path of a name that all share",
        "shared.example.com/c#",
        "shared.example.com",
        "/c#",
        Door::Plain,
    ),
    name("TLS that ends on the server", "d#.ended.example.com", "d#.ended.example.com", "", Door::Ended),
    name("TLS that is passed on", "e#.passed.example.com", "e#.passed.example.com", "", Door::PassedOn),
];

/// The certificate of each TLS, and whom it is for.
const ENDED: (&str, &str) = ("ended", "*.ended.example.com");
const PASSED_ON: (&str, &str) = ("passed", "*.passed.example.com");

const fn name(
    kind: &'static str,
    public: &'static str,
    host: &'static str,
    path: &'static str,
    door: Door,
) -> Name {
    Name { kind, public, host, path, door }
}

fn of(text: &str, client: usize) -> String {
    text.replace('#', &client.to_string())
}

impl Name {
    /// What a visitor asks for.
    pub fn host(&self, client: usize) -> String {
        of(self.host, client)
    }

    pub fn path(&self, client: usize) -> String {
        of(self.path, client)
    }
}

/// What the license of a client permits.
pub fn hosts(client: usize) -> String {
    let hosts = NAMES.iter().map(|name| of(name.public.split('/').next().unwrap_or(""), client));
    hosts.collect::<Vec<_>>().join(",")
}

/// The mappings of a client to these real servers; where nt reads requests, each says by which mapping it came.
pub fn mappings(client: usize, real: &[Backend]) -> Vec<String> {
    let mapping = |(number, name): (usize, &Name)| {
        let target = format!("127.0.0.1:{}", real[number].port);
        let public = of(name.public, client);
        let by = format!("header=X-By:{client}.{number}");
        match name.door {
            Door::Plain => format!("{public}:{target},{by}"),
            Door::Ended => format!("{public}:{target}/https,{by}"),
            Door::PassedOn => format!("{public}:{target}/tls"),
        }
    };
    NAMES.iter().enumerate().map(mapping).collect()
}

/// Puts the server's certificate into its folder.
pub fn certify(folder: &Folder) {
    certificate(folder, ENDED.0, &[ENDED.1]);
}

/// Where visitors by name come in, and whom they trust.
pub struct Doors {
    http: u16,
    https: u16,
    visitors: Arc<ClientConfig>,
    /// What the real server behind TLS that is passed on speaks it with.
    pub real: Arc<ServerConfig>,
}

impl Doors {
    /// `folder` is the server's, with its certificate.
    pub fn new(folder: &Folder, http: u16, https: u16) -> Self {
        let own = Folder::new();
        let passed_on = certificate(&own, PASSED_ON.0, &[PASSED_ON.1]);
        let read = |path: &Path| read_identity(path, &path.with_extension("key")).unwrap();
        let (ended, passed_on) = (read(&folder.join(&format!("{}.crt", ENDED.0))), read(&passed_on));
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(ended.chain.into_iter().chain(passed_on.chain.clone()));
        let provider = Arc::new(default_provider());
        let visitors = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let visitors = visitors.with_safe_default_protocol_versions().unwrap();
        let visitors = Arc::new(visitors.with_root_certificates(roots).with_no_client_auth());
        let real = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let real = real.unwrap().with_no_client_auth().with_single_cert(passed_on.chain, passed_on.key);
        Self { http, https, visitors, real: Arc::new(real.unwrap()) }
    }

    /// A visitor of a client's name.
    pub fn enter(&self, name: &Name, client: usize, patience: Duration) -> Result<Talk<Box<dyn Line>>> {
        if name.door == Door::Plain {
            return Ok(Talk::over(Box::new(connect(self.http, patience)?)));
        }
        let stream = connect(self.https, patience)?;
        let host = ServerName::try_from(name.host(client)).map_err(Error::other)?;
        let tls = ClientConnection::new(Arc::clone(&self.visitors), host).map_err(Error::other)?;
        Ok(Talk::over(Box::new(Tls(StreamOwned::new(tls, stream)))))
    }
}

/// A real server's end: of TLS that was passed on, or plain.
pub fn accept(tls: Option<&Arc<ServerConfig>>, stream: TcpStream) -> Box<dyn Line> {
    let Some(tls) = tls else { return Box::new(stream) };
    Box::new(Tls(StreamOwned::new(ServerConnection::new(Arc::clone(tls)).unwrap(), stream)))
}

/// A connection of which an end can be told from a cut.
pub trait Line: Read + Write + Send {
    fn tcp(&self) -> &TcpStream;

    /// Says no more.
    fn end(&mut self) -> Result<()> {
        self.tcp().shutdown(Shutdown::Write)
    }
}

impl Line for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

struct Tls<C>(StreamOwned<C, TcpStream>);

impl<C: DerefMut<Target = ConnectionCommon<S>> + Send, S: SideData> Line for Tls<C> {
    fn tcp(&self) -> &TcpStream {
        self.0.get_ref()
    }

    fn end(&mut self) -> Result<()> {
        self.0.conn.send_close_notify();
        self.flush()
    }
}

impl<C: DerefMut<Target = ConnectionCommon<S>>, S: SideData> Read for Tls<C> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer).map_err(in_words_of_tcp)
    }
}

impl<C: DerefMut<Target = ConnectionCommon<S>>, S: SideData> Write for Tls<C> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.write(bytes).map_err(in_words_of_tcp)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush().map_err(in_words_of_tcp)
    }
}

/// TLS that breaks off without a word was reset; who hears that nobody has the name was refused.
fn in_words_of_tcp(error: Error) -> Error {
    let refusal = Some(&rustls::Error::AlertReceived(AlertDescription::UnrecognisedName));
    let is_refused = error.get_ref().and_then(|inner| inner.downcast_ref()) == refusal;
    match error.kind() {
        ErrorKind::UnexpectedEof => ErrorKind::ConnectionReset.into(),
        _ if is_refused => ErrorKind::ConnectionRefused.into(),
        _ => error,
    }
}

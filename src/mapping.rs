use std::net::IpAddr;
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Ip(IpAddr),
    Name(String),
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Tcp { host: Host, port: u16 },
    Unix(String),
}
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host: Host::Ip(ip), port } => write!(f, "{}", std::net::SocketAddr::new(*ip, *port)),
            Self::Tcp { host: Host::Name(n), port } => write!(f, "{n}:{port}"),
            Self::Unix(p) => write!(f, "unix:{p}"),
        }
    }
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Public {
    Port { addr: Option<IpAddr>, port: u16 },
    Name { name: String, path: Option<String> },
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub public: Public,
    pub target: Target,
}
impl Mapping {
    pub fn served(&self) -> Result<(), String> {
        Ok(())
    }
}
pub fn parse(text: &str) -> Result<Vec<Mapping>, String> {
    let p: Vec<&str> = text.splitn(2, ':').collect();
    let port = p[0].parse().map_err(|_| "port")?;
    let t = if p[1].contains(':') { p[1].to_string() } else { format!("127.0.0.1:{}", p[1]) };
    let a: std::net::SocketAddr = t.parse().map_err(|_| "target")?;
    Ok(vec![Mapping {
        public: Public::Port { addr: None, port },
        target: Target::Tcp { host: Host::Ip(a.ip()), port: a.port() },
    }])
}

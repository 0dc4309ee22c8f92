use nt::client::{self, Client};
use nt::demo::{Fetch, Page};
use nt::directory::{Directory, Entry};
use nt::driver::{Budget, Driver};
use nt::entropy::Entropy;
use nt::license::{License, Transport};
use nt::note::Level;
use nt::os::Os;
use nt::server::{self, Server};
use nt::tls::{Security, Trust};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let l = License::from_random([3; 28]);
    let plain = a.iter().any(|x| x == "plain");
    let t = if plain { Transport::Plain } else { Transport::Tls };
    nt::os::raise_open_files();
    let budget = Budget { raws: 10000, locals: 16, tunnels: 10400 };
    let mut dir = Directory::default();
    dir.add(Entry::new("d", &l).unwrap()).unwrap();
    let server = || server::Config {
        doors: vec![("127.0.0.1:9002".parse().unwrap(), t)],
        directory: dir.clone(),
        visitors_max: 10000,
        sessions_max: 100,
    };
    let client = |m: &str| client::Config {
        servers: vec![("127.0.0.1".into(), 9002)],
        transport: t,
        license: l.id(),
        keys: l.client_keys(),
        mappings: nt::mapping::parse(m).unwrap(),
        allow: Default::default(),
        proxies_max: 10300,
    };
    let sec = || {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let cert =
            rcgen::CertificateParams::new(vec!["nt.invalid".into()]).unwrap().self_signed(&key).unwrap();
        Security::default()
            .with_server(
                vec![cert.der().clone()],
                rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap()
            .with_client("x.y", Trust::License)
            .unwrap()
    };
    let roles: Vec<Box<dyn nt::role::Role>> = match a[1].as_str() {
        "s" => vec![Box::new(Server::new(server(), Entropy::from_os()))],
        "c" => vec![Box::new(Client::new(client(&a[2]), Entropy::from_os()))],
        _ => vec![
            Box::new(Page::new("127.0.0.1:8090".parse().unwrap())),
            Box::new(Server::new(server(), Entropy::from_os())),
            Box::new(Client::new(client("8091:8090"), Entropy::from_os())),
            Box::new(Fetch::new("127.0.0.1:8091".parse().unwrap(), a.len() > 2)),
        ],
    };
    let code = Driver::new(Os::new(Level::Debug, None).unwrap(), roles, sec(), budget).run();
    std::process::exit(code);
}

//! The command line: what each form means, what is said about the others, and that no license is.

use nt::cli::{self, ClientArgs, ClientPlan, Command, Exit};
use nt::config::ServerConfig;
use nt::server_ref::Source;

const LICENSE: &str = "nt1aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwqxykjaq";

fn parse_with(words: &str, env: Option<&str>) -> Result<Command, Exit> {
    let words = words.replace("LICENSE", LICENSE);
    let args: Vec<String> = words.split_whitespace().map(str::to_string).collect();
    cli::parse(&args, env.map(|text| text.replace("LICENSE", LICENSE)))
}

fn parse(words: &str) -> Result<Command, Exit> {
    parse_with(words, None)
}

fn client(words: &str, env: Option<&str>) -> ClientArgs {
    match parse_with(words, env) {
        Ok(Command::Client(args)) => args,
        other => panic!("{words}: {other:?}"),
    }
}

/// The files that the tests know.
fn read(source: Source<'_>) -> Result<String, String> {
    match source {
        Source::File("license") => Ok(format!("{LICENSE}@filed\n")),
        Source::File("c.toml") => Ok(format!(
            "server = \"{LICENSE}@configured\"\nmap = [\"80\"]\nplain = true\nallow = \"lan\"\nca \
                = \"x.pem\""
        )),
        Source::File("maps.toml") => Ok("map = [\"80\"]".to_string()),
        Source::File("s.toml") => {
            Ok("listen = \"[::]:1\"\nplain = \"[::]:2\"\n[limits]\nvisitors = 3".to_string())
        }
        Source::File("admin.toml") => Ok("admin = \"[::]:80\"".to_string()),
        Source::Stdin => Ok(format!("{LICENSE}@piped")),
        Source::File(path) => Err(format!("cannot read {path}")),
    }
}

fn settle(words: &str, env: Option<&str>) -> Result<ClientPlan, String> {
    client(words, env).settle(&mut read)
}

fn serve(words: &str) -> Result<ServerConfig, String> {
    match parse(words) {
        Ok(Command::Serve(args)) => args.settle(&mut read),
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn a_client_finds_its_server() {
    for (words, env, host, maps) in [
        ("-c LICENSE@vps", None, "vps", 0),
        ("--client LICENSE@vps 8080 2222:22", None, "vps", 2),
        ("-c LICENSE@vps:1,[::1]:2 6000-6009 80", None, "vps:1,[::1]:2", 2),
        ("-c --plain LICENSE@vps 8080", None, "vps", 1),
        ("-c -- LICENSE@vps 8080", None, "vps", 1),
        ("-c @license 8080", None, "filed", 1),
        ("-c @- 8080", None, "piped", 1),
        ("-c - 8080", None, "piped", 1),
        ("-c", Some("LICENSE@env"), "env", 0),
        ("-c 8080", Some(" LICENSE@env\n"), "env", 1),
        ("-c 8080", Some("@license"), "filed", 1),
        ("-c LICENSE@vps 8080", Some("LICENSE@env"), "vps", 1),
        ("-c @license 8080", Some("nonsense"), "filed", 1),
        ("-c - 8080", Some("LICENSE@env"), "piped", 1),
        ("-c LICENSE@vps", Some(" "), "vps", 0),
        ("-c --config c.toml", None, "configured", 1),
        ("-c --config=c.toml 81", None, "configured", 2),
        ("-c 81 --config c.toml LICENSE@vps", Some("LICENSE@env"), "", 0),
        ("-c LICENSE@vps --config c.toml", None, "vps", 1),
        ("-c 81 --config c.toml", Some("LICENSE@env"), "env", 2),
        ("-c 0:80 0:80 127.0.0.1:0:80 127.0.0.1:0:80", Some("LICENSE@env"), "env", 4),
    ] {
        if host.is_empty() {
            // A license behind a mapping is a mistake, and is not repeated.
            let exit = parse_with(words, env).expect_err(words);
            assert!(exit.code == 1 && !exit.text.contains(&LICENSE[3..20]), "{exit:?}");
            continue;
        }
        let plan = settle(words, env).expect(words);
        assert_eq!((plan.server.hosts_text().as_str(), plan.maps.len()), (host, maps), "{words}");
    }
}

#[test]
fn a_clients_flags_count_more_than_its_file() {
    let plan = settle("-c LICENSE@vps", None).expect("good");
    assert!(!plan.plain && plan.ca.is_none());
    assert_eq!(plan.allow.to_string(), "loopback");
    let plan = settle("-c --config c.toml 81", None).expect("good");
    assert!(plan.plain && format!("{:?}", plan.ca) == "Some(File(\"x.pem\"))");
    assert_eq!(plan.allow.to_string(), "lan");
    let shown: Vec<_> = plan.maps.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["80:80", "81:81"], "the file's come first");
    let plan = settle("-c --config c.toml --allow 10.0.0.1:80,any --ca webpki", None).expect("good");
    assert_eq!((plan.allow.to_string().as_str(), plan.ca), ("10.0.0.1:80,any", Some(nt::config::Ca::Webpki)));
}

const WHICH: &str =
    "which server? Write nt -c LICENSE@HOST, nt -c @FILE, or set NT_LICENSE (see `nt -c --help`)";

/// Words, what is in NT_LICENSE, and what is said.
const NO_CLIENT: [(&str, Option<&str>, &str); 18] = [
    ("-c", None, WHICH),
    ("-c", Some(""), WHICH),
    ("-c 8080", None, "`8080` is a mapping; before it goes LICENSE@HOST (or set NT_LICENSE)"),
    (
        "-c a.com:80,auth=me:hunter2",
        None,
        "`a.com:80` is a mapping; before it goes LICENSE@HOST (or set NT_LICENSE)",
    ),
    (
        "-c vps 8080",
        None,
        "a server is written LICENSE@HOST, with a license that begins with `nt1` (see `nt -c --help`)",
    ),
    ("-c xLICENSE@vps", None, "a license begins with `nt1`, this does not (see `nt -c --help`)"),
    ("-c LICENSE", None, "the license is good, but names no server: write LICENSE@HOST"),
    ("-c LICENSEa@vps", None, "a license has 55 characters, this has 56: there are too many"),
    ("-c @", None, "`@` needs a file behind it, or `-` for standard input"),
    (
        "-c",
        Some("vps"),
        "in NT_LICENSE: a server is written LICENSE@HOST, with a license that begins with `nt1`",
    ),
    ("-c LICENSE@vps x", None, "in `x`: name `x` has no dot: a public name looks like `blog.example.com`"),
    ("-c LICENSE@vps 2222:70000", None, "in `2222:70000`: port `70000` is not in 1..65535"),
    (
        "-c LICENSE@vps --allow no",
        None,
        "`no` is not loopback, lan, any, a network (10.0.0.0/8), one with a port \
                (192.168.1.5:22), unix:/path or files:/path (names do not count here)",
    ),
    (
        "-c LICENSE@vps --plian",
        None,
        "`--plian` is not known here; did you mean `--plain`?\nSee `nt -c --help`.",
    ),
    ("-c LICENSE@vps --allow", None, "No value provided for option '--allow'.\nSee `nt -c --help`."),
    ("-c LICENSE@vps LICENSE@vps", None, "LICENSE@HOST comes once, before the mappings"),
    (
        "-c LICENSE@vps -- --a=b",
        None,
        "in `--a=b`: name `--a=b` contains '=': a name has letters, digits and hyphens",
    ),
    ("-c LICENSE@vps -x", None, "`-x` is not known here\nSee `nt -c --help`."),
];

#[test]
fn a_client_that_cannot_be_is_told_why() {
    for (words, env, what) in NO_CLIENT {
        let exit = parse_with(words, env).expect_err(words);
        assert_eq!(exit, Exit { text: format!("nt: {what}\n"), code: 1 });
    }
    for (words, what) in [
        ("-c LICENSE@vps 80 80", "`80` is mapped twice"),
        ("-c LICENSE@vps 80 70-90", "`80` is mapped twice"),
        ("-c LICENSE@vps 1-1024 2000", "a client has at most 1024 mappings, or ports of them"),
        (
            "-c LICENSE@vps a.com:80,accept-proxy=::1",
            "a.com:80: `accept-proxy` does not go with a name, which is known too late for it; leave it out",
        ),
        ("-c LICENSE@vps --config none.toml", "cannot read none.toml"),
        (
            "-c LICENSE@vps --config s.toml",
            "s.toml, line 1: these are the settings of a server: start it with nt -s",
        ),
        ("-c @none", "cannot read none"),
        ("-c --config maps.toml", WHICH),
    ] {
        assert_eq!(settle(words, None).expect_err(words), what);
    }
}

#[test]
fn a_server_is_settled() {
    assert_eq!(serve("-s"), Ok(ServerConfig::default()));
    let settings = serve("--server --listen 192.0.2.1:443 --config s.toml --state /srv").expect("good");
    assert_eq!(settings.listen, "192.0.2.1:443".parse().ok());
    assert_eq!((settings.plain, settings.visitors), ("[::]:2".parse().ok(), Some(3)));
    assert_eq!(settings.state, Some("/srv".into()));
    assert_eq!(serve("-s --plain 9000").expect("good").plain, "[::]:9000".parse().ok());
    assert_eq!(serve("-s --config none").expect_err("no file"), "cannot read none");
    let what = "`admin` has to be an address of loopback, as in 127.0.0.1:9001: it is not encrypted; reach it through a \
                tunnel";
    assert_eq!(serve("-s --admin 127.0.0.1:1").expect("good").admin, "127.0.0.1:1".parse().ok());
    assert_eq!(serve("-s --http :80").expect("good").http, "[::]:80".parse().ok());
    assert_eq!(serve("-s --config admin.toml").expect_err("anybody could ask"), what);
    for (words, what) in [
        (
            "-s --listen vps:1",
            "--listen: `vps:1` is not ADDRESS:PORT, as in `[::]:9002` or \
            `127.0.0.1:9002`",
        ),
        ("-s --lisen x", "`--lisen` is not known here; did you mean `--listen`?\nSee `nt -s --help`."),
        ("-s 8080", "`8080` is not known here\nSee `nt -s --help`."),
        ("-s -c LICENSE@vps", "`-c` is not known here\nSee `nt -s --help`."),
        ("-s LICENSE@vps", "`nt1...@vps` is not known here\nSee `nt -s --help`."),
    ] {
        assert_eq!(parse(words).expect_err(words), Exit { text: format!("nt: {what}\n"), code: 1 });
    }
}

#[test]
fn commands_are_told_apart() {
    for (words, shown) in [
        (
            "license add nas --ports=80 --map 1:2 --map 3:4",
            "License(Add(LicenseAdd { name: \"nas\", ports: Some(\"80\"), hosts: None, visit: None, visitors: None, rate: None, \
                quota: None, quota_day: None, over_quota: None, connects: None, expires: None, map: [\"1:2\", \"3:4\"], clients: None, max_mappings: None, max_visitors: None, state: None }))",
        ),
        ("license list --state x", "License(List(LicenseList { state: Some(\"x\") }))"),
        ("license show a", "License(Show(LicenseShow { name: \"a\", state: None }))"),
        ("license revoke a", "License(Revoke(LicenseRevoke { name: \"a\", state: None }))"),
        ("license rotate a", "License(Rotate(LicenseRotate { name: \"a\", now: false, state: None }))"),
        ("license remove a", "License(Remove(LicenseRemove { name: \"a\", state: None }))"),
        ("map add nas 2222:22", "Map(Add(MapAdd { name: \"nas\", mapping: \"2222:22\", state: None }))"),
        (
            "map remove nas 2222 --state s",
            "Map(Remove(MapRemove { name: \"nas\", mapping: \"2222\", state: Some(\"s\") }))",
        ),
        ("map list nas", "Map(List(MapList { name: \"nas\", state: None }))"),
        ("plan", "Plan(PlanArgs { file: None, json: false, state: None })"),
        ("plan new --json", "Plan(PlanArgs { file: Some(\"new\"), json: true, state: None })"),
        ("reload", "Reload(ReloadArgs { file: None, confirm: None, state: None })"),
        (
            "reload new --confirm 60",
            "Reload(ReloadArgs { file: Some(\"new\"), confirm: Some(\"60\"), state: None })",
        ),
        ("status --json", "Status(StatusArgs { json: true, state: None })"),
        (
            "license set nas rate=2M expires=none",
            "License(Set(LicenseSet { name: \"nas\", settings: [\"rate=2M\", \"expires=none\"], state: None }))",
        ),
        ("check nt.toml", "Check(CheckArgs { file: \"nt.toml\" })"),
        ("demo", "Demo(DemoArgs { once: false })"),
        ("demo --once", "Demo(DemoArgs { once: true })"),
        ("version", "Version"),
        ("--version", "Version"),
        ("-V", "Version"),
    ] {
        assert_eq!(format!("{:?}", parse(words).expect(words)), shown);
    }
    for (words, what) in [
        ("lisence add", "there is no command `lisence`; did you mean `license`?\nSee `nt --help`."),
        ("xyz", "there is no command `xyz`\nSee `nt --help`."),
        (
            "--plain",
            "begin with -s (server), -c (client) or a command, not with `--plain`\nSee \
            `nt --help`.",
        ),
        ("LICENSE@vps", "the license comes behind -c: nt -c LICENSE@HOST [MAPPING...]"),
        ("@file", "the license comes behind -c: nt -c LICENSE@HOST [MAPPING...]"),
        ("8080", "`8080` is a mapping; it comes behind a server: nt -c LICENSE@HOST [MAPPING...]"),
        (
            "license",
            "One of the following subcommands must be present:\n    help\n    add\n    list\n    \
                show\n    set\n    revoke\n    rotate\n    remove\nSee `nt license --help`.",
        ),
        ("license shwo a", "`shwo` is not known here; did you mean `show`?\nSee `nt license --help`."),
        (
            "license add",
            "Required positional arguments not provided:\n    name\nSee `nt license add --help`.",
        ),
        ("license add a LICENSE", "`nt1...` is not known here\nSee `nt license add --help`."),
        (
            "license list --stat x",
            "`--stat` is not known here; did you mean `--state`?\nSee `nt license list --help`.",
        ),
        ("check LICENSE LICENSE", "`nt1...` is not known here\nSee `nt check --help`."),
    ] {
        assert_eq!(parse(words).expect_err(words), Exit { text: format!("nt: {what}\n"), code: 1 });
    }
    let nothing = parse("").expect_err("no words");
    assert!(nothing.code == 1 && nothing.text.starts_with("nt publishes services"));
}

#[test]
fn help_is_everywhere() {
    let commands = [
        "license",
        "map",
        "status",
        "plan",
        "reload",
        "check",
        "doctor",
        "bench",
        "demo",
        "install",
        "uninstall",
        "version",
    ];
    let licenses = ["add", "list", "show", "revoke", "rotate", "remove"];
    let mut pages: Vec<String> =
        ["--help", "-h", "help", "-s --help", "-s -h", "-c --help", "-c LICENSE@vps 80 -h"]
            .map(str::to_string)
            .to_vec();
    pages.extend(
        commands.iter().flat_map(|c| [format!("{c} --help"), format!("{c} -h"), format!("help {c}")]),
    );
    pages.extend(licenses.iter().flat_map(|c| [format!("license {c} --help"), format!("license {c} -h")]));
    for words in pages {
        let exit = parse(&words).expect_err(&words);
        assert_eq!(exit.code, 0, "{words}");
        assert!(exit.text.len() > 100 && exit.text.ends_with('\n'), "{words}: {}", exit.text);
    }
    // Every flag and command stands on the page where it is looked for, and every example is read.
    let page = |words: &str| parse(words).expect_err(words).text;
    for word in commands.iter().chain(&licenses).filter(|word| **word != "add") {
        assert!(page("--help").contains(word), "{word}");
    }
    for flag in ["--listen", "--plain", "--config", "--state", "--http", "--https", "--admin"] {
        assert!(page("-s --help").contains(flag), "{flag}");
    }
    for flag in ["--allow", "--plain", "--config", "--ca", "NT_LICENSE", "@FILE"] {
        assert!(page("-c --help").contains(flag), "{flag}");
    }
    for flag in ["--json", "--state"] {
        assert!(page("doctor --help").contains(flag), "{flag}");
    }
    for flag in ["--seconds", "--streams", "--json"] {
        assert!(page("bench --help").contains(flag), "{flag}");
    }
    for flag in ["--name", "--print", "--system", "NT_LICENSE"] {
        assert!(page("install --help").contains(flag), "{flag}");
    }
    for (words, minimum) in [
        ("-s --help", 3),
        ("-c --help", 3),
        ("license --help", 4),
        ("license add --help", 2),
        ("check --help", 2),
        ("install --help", 3),
        ("doctor --help", 3),
        ("bench --help", 1),
    ] {
        let text = page(words).replace("nt1...@", &format!("{LICENSE}@"));
        let (_, examples) = text.split_once("Example").unwrap_or(("", &text));
        let examples: Vec<&str> =
            examples.lines().filter_map(|line| line.trim().strip_prefix("nt ")).collect();
        let examples: Vec<&&str> =
            examples.iter().filter(|line| !line.contains("  ") && !line.contains('[')).collect();
        assert!(examples.len() >= minimum, "{words}: {examples:?}");
        for example in examples {
            assert!(parse(example).is_ok(), "{example}");
        }
    }
}

#[test]
fn words_are_never_repeated_when_they_are_secret() {
    for words in [
        "-c LICENSE@vps --x LICENSE",
        "-c LICENSE@a_b@c",
        "-c LICENSE@LICENSE@x",
        "-c vps LICENSE",
        "-c LICENSE@vps LICENSE",
        "-c LICENSE@vps 80:LICENSE:22",
        "-c LICENSE@vps --allow LICENSE",
        "-c LICENSE@vps 80,LICENSE",
        "-c LICENSE@vps 80,LICENSE=x",
        "-c LICENSE@vps a.com:80,auht=me:LICENSE",
        "-c @license x=LICENSE",
        "LICENSE",
        "xLICENSE",
        "license LICENSE",
        "-s --listen LICENSE",
        "-s --LICENSE",
        "-s --state a --state LICENSE",
        "license list --state a --state LICENSE",
        "--LICENSE=LICENSE",
        "doctor LICENSE@vps LICENSE",
        "doctor --state LICENSE LICENSE@vps",
        "doctor --x LICENSE",
        "bench LICENSE@vps --seconds LICENSE",
        "bench LICENSE@vps LICENSE",
    ] {
        for env in [None, Some("LICENSE"), Some("LICENSE x@y")] {
            if let Err(exit) = parse_with(words, env) {
                assert!(!exit.text.contains(&LICENSE[3..14]), "{words}: {}", exit.text);
                assert_eq!(exit.code, 1, "{words}");
            }
        }
        let shown = format!("{:?}", parse(words));
        assert!(!shown.contains(&LICENSE[3..14]), "{shown}");
    }
}

/// What `nt doctor` looks at: the host and the mappings of a client, or the state directory of a server.
fn examined(words: &str, env: Option<&str>) -> String {
    match parse_with(words, env).expect(words) {
        Command::Doctor(args) => match args.examined {
            cli::Examined::Client(client) => {
                let plan = client.settle(&mut read).expect(words);
                format!("{} {} {}", plan.server.hosts_text(), plan.maps.len(), args.json)
            }
            cli::Examined::Server(state) => format!("{state:?} {}", args.json),
        },
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn a_doctor_looks_at_a_client_where_a_license_is_named_and_else_at_the_server() {
    for (words, env, shown) in [
        ("doctor", None, "None false"),
        ("doctor", Some(" "), "None false"),
        ("doctor --json --state s", None, "Some(\"s\") true"),
        ("doctor --state=s", Some("LICENSE@env"), "Some(\"s\") false"),
        ("doctor LICENSE@vps:1 80 --json 81", None, "vps:1 2 true"),
        ("doctor @license --plain", None, "filed 0 false"),
        ("doctor -", None, "piped 0 false"),
        ("doctor", Some("LICENSE@env"), "env 0 false"),
        ("doctor 80", Some("LICENSE@env"), "env 1 false"),
        ("doctor --config c.toml", None, "configured 1 false"),
    ] {
        assert_eq!(examined(words, env), shown, "{words}");
    }
    let which = "which server? Write nt doctor LICENSE@HOST, nt doctor @FILE, or set NT_LICENSE (see `nt doctor --help`)";
    for (words, what) in [
        ("doctor 80", "`80` is a mapping; before it goes LICENSE@HOST (or set NT_LICENSE)"),
        ("doctor --plain", which),
        ("doctor --state", "--state needs a word behind it"),
        (
            "doctor LICENSE@vps --state s",
            "--state names a server of this machine, and the other words a client: look at one of them",
        ),
        (
            "doctor LICENSE@vps --jsno",
            "`--jsno` is not known here; did you mean `--json`?\nSee `nt doctor --help`.",
        ),
    ] {
        assert_eq!(parse(words).expect_err(words), Exit { text: format!("nt: {what}\n"), code: 1 });
    }
}

#[test]
fn a_bench_needs_a_license_and_no_mapping() {
    let bench = |words: &str| match parse(words) {
        Ok(Command::Bench(args)) => (args.seconds, args.streams, args.json, args.client.plain),
        other => panic!("{words}: {other:?}"),
    };
    assert_eq!(bench("bench LICENSE@vps"), (3, 4, false, false));
    assert_eq!(bench("bench --streams 1 LICENSE@vps --seconds=60 --json --plain"), (60, 1, true, true));
    for (words, what) in [
        (
            "bench",
            "which server? Write nt bench LICENSE@HOST, nt bench @FILE, or set NT_LICENSE (see `nt bench --help`)",
        ),
        ("bench LICENSE@vps 80", "nt bench brings a mapping of its own: name none"),
        ("bench LICENSE@vps --visit nas/ssh:22", "nt bench brings a mapping of its own: name none"),
        ("bench LICENSE@vps --seconds 0", "--seconds: `0` is not a number from 1 to 60"),
        ("bench LICENSE@vps --streams 65", "--streams: `65` is not a number from 1 to 64"),
        ("bench LICENSE@vps --streams x", "--streams: `x` is not a number from 1 to 64"),
    ] {
        assert_eq!(parse(words).expect_err(words), Exit { text: format!("nt: {what}\n"), code: 1 });
    }
}

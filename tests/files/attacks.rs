//! What is not there for a visitor, whatever it tries.

use super::*;

#[test]
fn no_path_leads_out() {
    let site = Site::with(&[("a", "hello"), ("d/x", "")]);
    let mut visitor = site.visit();
    for (status, targets) in [
        (
            400,
            &[
                "/..",
                "/../secret.txt",
                "/d/../../secret.txt",
                "/d/../a",
                "/./a",
                "/%2e%2e/secret.txt",
                "/%2e%2e%2fsecret.txt",
                "/..%2fsecret.txt",
                "/.%2e/secret.txt",
                "/..%5csecret.txt",
                "/..\\secret.txt",
                "/d/..%5c..%5csecret.txt",
                "/%2e%2e",
                "/d/%2e%2e/%2e%2e/secret.txt",
                "/a%00",
                "/a%00.txt",
                "/%00/../secret.txt",
                "/%",
                "/%2",
                "/%zz",
                "/a%0d%0aX:%20y",
                "/%7f",
                "/%2fetc%2fpasswd",
            ][..],
        ),
        (
            404,
            &[
                "//etc/passwd",
                "/etc/passwd",
                "///",
                "//secret.txt",
                "/%252e%252e/secret.txt",
                "/%252e%252e%252fsecret.txt",
                "/..%252fsecret.txt",
                "/%25252e%25252e/secret.txt",
                "/..;/secret.txt",
                "/.../secret.txt",
                "/%c0%ae%c0%ae/secret.txt",
                "/%e3%80%82%e3%80%82/secret.txt",
                "/~root",
                "/a/",
                "/a/x",
                "/d//x",
                "/secret.txt",
                "/A",
                "/d/nothing/",
            ][..],
        ),
    ] {
        for target in targets {
            assert_eq!(visitor.ask(&get(target, "")).status(), status, "{target}");
        }
    }
    let long = "x".repeat(7_000);
    assert_eq!(visitor.ask(&get(&format!("/{long}"), "")).status(), 404);
    assert_eq!(visitor.ask(&get(&format!("/{}", "x/".repeat(1_000)), "")).status(), 404);
    assert_eq!(visitor.ask(&get(&format!("/d{}", "/d".repeat(1_000)), "")).status(), 404);
    assert_eq!(visitor.ask(&get(&"/..".repeat(1_000), "")).status(), 400);
    assert_eq!(visitor.ask(&get("/a", "")).text(), "hello");
}

#[test]
fn a_thousand_folders_deep_is_still_there() {
    let site = Site::new();
    let deep = "d/".repeat(1_000);
    let mut at = fs::File::open(site.path("")).unwrap();
    for _ in 0..1_000 {
        rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::RDONLY, Mode::empty()).unwrap().into();
    }
    assert_eq!(site.get(&format!("/{deep}")).status(), 200);
}

#[test]
fn what_begins_with_a_dot_is_hidden() {
    let site = Site::with(&[
        (".git/config", SECRET),
        (".env", SECRET),
        ("d/.htpasswd", SECRET),
        ("d/.well-known/x", SECRET),
        (".well-known/acme", "token"),
        (".well-known/.x", SECRET),
    ]);
    for target in [
        "/.git",
        "/.git/",
        "/.git/config",
        "/%2egit/config",
        "/.env",
        "/d/.htpasswd",
        "/d/%2Ehtpasswd",
        "/.well-known/.x",
    ] {
        assert_eq!(site.get(target).status(), 404, "{target}");
    }
    assert_eq!(site.get("/d/.well-known/x").status(), 404, "at the top alone");
    assert_eq!(site.get("/.well-known/acme").text(), "token");
    let page = site.get("/").text();
    assert!(!page.contains(".git") && !page.contains(".env") && page.contains("d/"), "{page}");
}

#[test]
fn links_lead_nowhere() {
    let site = Site::with(&[("a", "hello"), ("d/x", "y")]);
    let outside = site.scratch.join("outside");
    symlink("a", site.path("file")).unwrap();
    symlink("d", site.path("folder")).unwrap();
    symlink("../secret.txt", site.path("out")).unwrap();
    symlink(&outside, site.path("outside")).unwrap();
    symlink("/", site.path("root")).unwrap();
    symlink("loop", site.path("loop")).unwrap();
    fs::create_dir(site.path("indexed")).unwrap();
    symlink(outside.join("secret.txt"), site.path("indexed/index.html")).unwrap();
    for target in [
        "/file",
        "/folder",
        "/folder/",
        "/folder/x",
        "/out",
        "/outside",
        "/outside/",
        "/outside/secret.txt",
        "/root/",
        "/root/etc/passwd",
        "/loop",
        "/loop/",
        "/indexed/",
        "/indexed/index.html",
    ] {
        assert_eq!(site.get(target).status(), 404, "{target}");
    }
    // The operator may well name a link.
    symlink("www", site.scratch.join("named")).unwrap();
    let mut visitor = Visitor::new(&site.scratch.join("named"), None, &NOW_ALWAYS);
    assert_eq!(visitor.ask(&get("/a", "")).text(), "hello");
}

#[test]
fn links_that_are_put_in_place_meanwhile_lead_nowhere() {
    static OVER: AtomicBool = AtomicBool::new(false);
    let site = Site::with(&[("d/secret.txt", "mine"), ("secret.txt", "mine")]);
    let outside = site.scratch.join("outside");
    let pairs = [
        (site.path("d"), site.scratch.join("link"), outside.clone()),
        (site.path("secret.txt"), site.scratch.join("link2"), outside.join("secret.txt")),
    ];
    for (_, link, target) in &pairs {
        symlink(target, link).unwrap();
    }
    let swap = thread::spawn(move || {
        while !OVER.load(Ordering::Relaxed) {
            for (place, link, _) in &pairs {
                renameat_with(CWD, place, CWD, link, RenameFlags::EXCHANGE).unwrap();
            }
        }
    });
    let mut visitor = site.visit();
    let mut seen = [0, 0];
    for n in 0..4_000 {
        // The answers are looked through for what nobody may see.
        let answer = visitor.ask(&get(["/d/secret.txt", "/secret.txt", "/d/"][n % 3], ""));
        match answer.status() {
            200 => seen[0] += 1,
            404 => seen[1] += 1,
            status => panic!("{status}"),
        }
    }
    OVER.store(true, Ordering::Relaxed);
    swap.join().unwrap();
    assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
}

#[test]
fn what_is_no_file_is_not_touched() {
    let site = Site::new();
    fifo(&site.path("pipe"));
    let _socket = UnixListener::bind(site.path("socket")).unwrap();
    fs::create_dir(site.path("d")).unwrap();
    fifo(&site.path("d/index.html"));
    // Whoever waits for a reader of the pipe must not find one in a visitor.
    let pipe = site.path("pipe");
    let writer = thread::spawn(move || fs::File::options().write(true).open(pipe).unwrap());
    thread::sleep(Duration::from_millis(50));
    for target in ["/pipe", "/pipe/", "/socket", "/d/", "/d/index.html"] {
        assert_eq!(site.get(target).status(), 404, "{target}");
    }
    thread::sleep(Duration::from_millis(50));
    assert!(!writer.is_finished());
    let reader = fs::File::open(site.path("pipe")).unwrap();
    drop((writer.join().unwrap(), reader));
    assert!(site.get("/").text().contains("href=\"d/\""));
}

/// A pipe in the place of a file, just before it is opened, would hold an open for ever that may wait.
#[test]
fn a_pipe_that_is_put_in_place_meanwhile_holds_nobody() {
    static OVER: AtomicBool = AtomicBool::new(false);
    let site = Site::with(&[("a", "hello")]);
    let (place, pipe) = (site.path("a"), site.scratch.join("pipe"));
    fifo(&pipe);
    let swap = thread::spawn(move || {
        while !OVER.load(Ordering::Relaxed) {
            renameat_with(CWD, &place, CWD, &pipe, RenameFlags::EXCHANGE).unwrap();
        }
    });
    let mut visitor = site.visit();
    for _ in 0..3_000 {
        let answer = visitor.ask(&get("/a", ""));
        assert!(
            matches!((answer.status(), answer.text().as_str()), (200, "hello") | (404, _)),
            "{}",
            answer.head
        );
    }
    OVER.store(true, Ordering::Relaxed);
    swap.join().unwrap();
}

#[test]
fn what_may_not_be_read_is_forbidden() {
    let site = Site::with(&[("a", "x"), ("d/x", "y"), ("i/index.html", "z")]);
    for name in ["a", "d", "i/index.html"] {
        fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    // To root, nothing is.
    if fs::File::open(site.path("a")).is_err() {
        for target in ["/a", "/d/", "/d/x", "/d/nothing", "/i/", "/i/index.html"] {
            assert_eq!(site.get(target).status(), 403, "{target}");
        }
    }
    fs::set_permissions(site.path("d"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn only_a_folder_can_be_served() {
    let site = Site::with(&[("a", "x")]);
    assert!(Folder::open(site.path("a").to_str().unwrap()).is_err());
    assert!(Folder::open(site.path("nothing").to_str().unwrap()).is_err());
    assert!(Folder::open("").is_err() && Folder::open("a\0b").is_err());
}

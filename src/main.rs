//! The program: its command line, what it starts, and its exit code.

use std::io::{IsTerminal, Write};

use nt::cli::{self, Command, Exit};
use nt::commands::{self, Machine, Output, read_source};
use nt::{bench, doctor, os, run};

/// How often a terminal is shown how a server is.
const STATUS_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

#[cfg(target_env = "musl")]
#[global_allocator]
static HEAP: os::Heap = os::Heap::new();

fn main() {
    os::no_core_dumps();
    os::outlive_full_files();
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let code = match cli::parse(&args, std::env::var("NT_LICENSE").ok()) {
        Ok(command) => {
            hide_license(&args);
            execute(command).unwrap_or_else(|why| {
                say(&mut std::io::stderr(), &format!("nt: {why}\n"));
                1
            })
        }
        Err(Exit { text, code: 0 }) => {
            say(&mut std::io::stdout(), &text);
            0
        }
        Err(Exit { text, code }) => {
            say(&mut std::io::stderr(), &text);
            code
        }
    };
    std::process::exit(code);
}

fn execute(command: Command) -> Result<i32, String> {
    let mut code = 0;
    let output = match command {
        Command::Serve(args) => return run::serve(args, read_source),
        Command::Client(args) => return run::connect(args, read_source),
        Command::Doctor(args) => {
            let colour = shows() && std::env::var_os("NO_COLOR").is_none();
            return doctor::run(*args, &mut read_source, colour, &mut std::io::stdout());
        }
        Command::Bench(args) => return bench::run(*args, &mut read_source, &mut std::io::stdout()),
        Command::Demo(args) => return run::demo(args.once),
        Command::License(args) => commands::license(&args, std::io::stdout().is_terminal())?,
        Command::Map(args) => commands::map(&args)?,
        Command::Plan(args) => {
            let (output, shown) = commands::plan(&args)?;
            code = shown;
            output
        }
        Command::Reload(args) => commands::reload(&args)?,
        Command::Status(args) => return watch(&args),
        Command::Check(args) => commands::check(&args)?,
        Command::Install(args) => commands::install(*args, &mut Machine::this(&mut read_source)?)?,
        Command::Uninstall(args) => commands::uninstall(&args, &mut Machine::this(&mut read_source)?)?,
        Command::Version => Output { stdout: commands::version(), stderr: String::new() },
    };
    say(&mut std::io::stderr(), &output.stderr);
    let mut stdout = std::io::stdout();
    let said = stdout.write_all(output.stdout.as_bytes()).and_then(|()| stdout.flush());
    said.map(|()| code).map_err(|error| {
        format!("what was asked for is done, but standard output took no answer ({error}): a license that was printed \
                 there is lost, and `nt license rotate NAME` makes a new one")
    })
}

/// Shows how a server is: once, or in a terminal for as long as somebody looks.
fn watch(args: &cli::StatusArgs) -> Result<i32, String> {
    let lives = shows() && !args.json;
    loop {
        let shown = commands::status(args)?;
        // Home, the text, and nothing of the one before behind it (ECMA-48, CUP and ED).
        let shown = if lives { format!("\x1b[H\x1b[2J{shown}") } else { shown };
        say(&mut std::io::stdout(), &shown);
        if !lives {
            return Ok(0);
        }
        std::thread::sleep(STATUS_EVERY);
    }
}

/// Whether standard output is a terminal that follows orders (ECMA-48).
fn shows() -> bool {
    std::io::stdout().is_terminal() && os::takes_orders()
}

/// Whoever reads may have gone; that is no reason to panic.
fn say(to: &mut impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

/// Everybody on a machine can read a command line; the environment only its owner. So a license on the
/// command line moves there: nt starts itself anew in the same process.
fn hide_license(args: &[String]) {
    let shows =
        |word: &str| word.trim_start().get(..3).is_some_and(|start| start.eq_ignore_ascii_case("nt1"));
    let value = |word: &str| word.strip_prefix("--client=").unwrap_or(word).to_owned();
    let Some(at) = args.iter().position(|word| shows(&value(word)) && word.contains('@')) else { return };
    // `--client=LICENSE@HOST` says both that it is a client and whose.
    let flag = args[at].starts_with("--client=").then_some("-c");
    let words =
        args[..at].iter().map(String::as_str).chain(flag).chain(args[at + 1..].iter().map(String::as_str));
    if let Ok(program) = std::env::current_exe() {
        // Where that fails, nt goes on as it is: the license works all the same.
        let mut anew = std::process::Command::new(program);
        let _ = os::replaced_by(anew.args(words).env("NT_LICENSE", value(&args[at])));
    }
}

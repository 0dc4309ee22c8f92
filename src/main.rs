//! The program: its command line, what it starts, and its exit code.

use std::io::Write;

use nt::cli::{self, Command, Exit};
use nt::commands::{self, Output};
use nt::os;

/// How often a terminal is shown how a server is.
#[cfg(feature = "admin")]
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
    let (output, code) = match command {
        #[cfg(feature = "server")]
        Command::Serve(args) => return nt::run::serve(args, commands::read_source),
        #[cfg(feature = "client")]
        Command::Client(args) => return nt::run::connect(args, commands::read_source),
        #[cfg(feature = "doctor")]
        Command::Doctor(args) => {
            let colour = in_terminal() && std::env::var_os("NO_COLOR").is_none();
            return nt::doctor::run(*args, &mut commands::read_source, colour, &mut std::io::stdout());
        }
        #[cfg(feature = "doctor")]
        Command::Bench(args) => {
            return nt::bench::run(*args, &mut commands::read_source, &mut std::io::stdout());
        }
        #[cfg(feature = "demo")]
        Command::Demo(args) => return nt::run::demo(args.once),
        #[cfg(feature = "server")]
        Command::License(args) => (commands::license(&args, in_terminal())?, 0),
        #[cfg(feature = "server")]
        Command::Map(args) => (commands::map(&args)?, 0),
        #[cfg(feature = "server")]
        Command::Plan(args) => commands::plan(&args)?,
        #[cfg(feature = "server")]
        Command::Reload(args) => (commands::reload(&args)?, 0),
        #[cfg(feature = "admin")]
        Command::Status(args) => return watch(&args),
        #[cfg(feature = "config")]
        Command::Check(args) => (commands::check(&args)?, 0),
        #[cfg(feature = "install")]
        Command::Install(args) => {
            (commands::install(*args, &mut commands::Machine::this(&mut commands::read_source)?)?, 0)
        }
        #[cfg(feature = "install")]
        Command::Uninstall(args) => {
            (commands::uninstall(&args, &mut commands::Machine::this(&mut commands::read_source)?)?, 0)
        }
        Command::Version => (Output { stdout: commands::version(), stderr: String::new() }, 0),
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
#[cfg(feature = "admin")]
fn watch(args: &cli::StatusArgs) -> Result<i32, String> {
    let lives = in_terminal() && !args.json;
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
#[cfg(feature = "admin")]
fn in_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stdout()) && os::takes_orders()
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

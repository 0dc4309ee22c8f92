//! The program: its command line, and what it starts.

fn main() {
    let code = match nt::run::demo(std::env::args().any(|word| word == "--once")) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("nt: {why}");
            1
        }
    };
    std::process::exit(code);
}

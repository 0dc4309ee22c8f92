//! Tests that mostly wait, for a timeout of half a minute or so. They begin together, as soon as any test has begun, and
//! run beside all others, so that the whole takes little longer than the longest of them.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Mutex, Once};
use std::thread::{self, JoinHandle};

use super::process::say;

macro_rules! scenarios {
    ($($module:ident::$name:ident,)+) => {
        const ALL: &[(&str, fn())] = &[$((stringify!($name), super::$module::$name as fn()),)+];
        $(
            #[test]
            fn $name() {
                join(stringify!($name));
            }
        )+
    };
}

scenarios! {
    faults::a_stopped_client_is_found_dead_and_comes_back,
    faults::a_stopped_server_is_found_dead_and_is_come_back_to,
    faults::a_replaced_client_stays_away_for_a_minute,
    http_ends::visitors_who_say_too_little_are_let_go,
    http_ends::visitors_of_a_client_that_is_away_wait_for_it,
    http_ends::a_real_server_that_never_answers_a_call_is_a_gateway_timeout,
    names::a_server_whose_address_changes_while_it_is_away_is_found_by_its_name,
    netns::partitions_of_1_and_10_s_heal_and_no_byte_is_lost,
    netns::a_partition_of_40_s_is_found_by_both_ends_and_healed,
    netns::a_one_way_partition_is_found_by_the_end_that_hears_nothing,
    netns::a_vanished_client_is_found_dead_and_replaced,
    between::wherever_its_connections_are_cut_a_client_gets_in,
    between::a_client_that_hangs_after_half_closing_loses_its_ports,
    bad_links::loss_delay_reordering_and_duplicates_cost_no_byte_and_no_session,
    bad_links::a_tenth_lost_and_half_a_second_there_and_back_is_no_dead_peer,
    bad_links::bulk_on_a_link_of_64_kbit_s_does_not_hold_up_heartbeats,
    bad_links::small_packets_alone_and_no_icmp_are_enough,
    bad_links::a_nat_that_forgets_is_found_out_and_its_client_comes_back,
    netns::a_real_server_that_is_a_black_hole_is_given_up_after_10_s,
}

static RUNNING: Mutex<BTreeMap<&str, JoinHandle<()>>> = Mutex::new(BTreeMap::new());

/// Starts those that were asked for on the command line, once.
pub fn begin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match thread::current().name() {
            // Its output would be taken for that of the test that happened to start it.
            Some(name) if ALL.iter().any(|(other, _)| *other == name) => say(&format!("{name}: {info}")),
            _ => usual(info),
        }));
        let mut running = RUNNING.lock().unwrap();
        for &(name, scenario) in ALL.iter().filter(|(name, _)| is_wanted(name)) {
            let builder = thread::Builder::new().name(name.to_owned());
            running.insert(name, builder.spawn(scenario).unwrap());
        }
    });
}

/// Whether the arguments of this test program select the test, as its own harness understands them: by parts of names.
fn is_wanted(name: &str) -> bool {
    let name = format!("waiting::{name}");
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--ignored") {
        return false;
    }
    let skipped = words.windows(2).any(|pair| pair[0] == "--skip" && name.contains(&pair[1]));
    let mut filters = words.iter().enumerate().filter(|(at, word)| {
        let value = *at > 0 && ["--skip", "--test-threads"].contains(&words[at - 1].as_str());
        !word.starts_with('-') && !value
    });
    let any = filters.clone().next().is_some();
    !skipped && (!any || filters.any(|(_, filter)| name.contains(filter.as_str())))
}

fn join(name: &str) {
    begin();
    let handle = RUNNING.lock().unwrap().remove(name).expect("was started");
    if let Err(panic) = handle.join() {
        panic!("{}", message(panic.as_ref()));
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}

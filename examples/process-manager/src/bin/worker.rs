//! Something to be supervised: `worker COUNT [CODE]` counts, and exits with that code.

use std::{env, process::exit, time::Duration};

fn main() {
    let number = |index| env::args().nth(index).and_then(|word| word.parse().ok());
    for count in 1..=number(1).unwrap_or(10) {
        println!("tick {count}");
        std::thread::sleep(Duration::from_millis(20));
    }
    exit(number(2).unwrap_or(0));
}

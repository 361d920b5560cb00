//! A bar on the terminal, and nothing where there is none.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

const WIDTH: usize = 30;
const EVERY: Duration = Duration::from_millis(50);

/// Gone when it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    on_terminal: bool,
    steps: usize,
    done: usize,
    shown: Option<Instant>,
}

impl Progress {
    pub(super) fn new(steps: usize) -> Progress {
        Progress {
            on_terminal: io::stderr().is_terminal(),
            steps,
            done: 0,
            shown: None,
        }
    }

    /// Shows how far this step has come, of 1.
    pub(super) fn show(&mut self, part: f64, mode: &str, what: &str) {
        if !self.on_terminal || self.shown.is_some_and(|shown| shown.elapsed() < EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        let line = bar((self.done as f64 + part.clamp(0.0, 1.0)) / self.steps as f64);
        draw(&format!("{line} {mode}: {what}"));
    }

    pub(super) fn next_step(&mut self) {
        self.done += 1;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            draw("");
        }
    }
}

/// In place of what stands in the line.
fn draw(text: &str) {
    // A terminal that is gone needs no bar.
    let _ = write!(io::stderr(), "\r{text:<70}\r");
}

fn bar(done: f64) -> String {
    let filled = ((done * WIDTH as f64) as usize).min(WIDTH);
    format!(
        "[{}{}] {:>3.0}%",
        "#".repeat(filled),
        ".".repeat(WIDTH - filled),
        done * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        assert_eq!(bar(0.0), format!("[{}]   0%", ".".repeat(30)));
        assert_eq!(
            bar(0.5),
            format!("[{}{}]  50%", "#".repeat(15), ".".repeat(15))
        );
        assert_eq!(bar(1.0), format!("[{}] 100%", "#".repeat(30)));
    }
}

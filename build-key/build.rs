//! Chooses the key of this build; the rules are in build/rules.rs.

#[path = "build/rules.rs"]
mod rules;

use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed={}", rules::VARIABLE);
    // Naming files keeps cargo from running the script again whenever any file
    // of the package changes. The key itself must not be among them: cargo
    // compares with the time at which the script started, so the key would look
    // changed, and be settled a second time for nothing.
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/rules.rs");

    let Some(out_dir) = env::var_os("OUT_DIR") else {
        println!("cargo::error=OUT_DIR is not set: cargo is meant to run this script");
        return ExitCode::FAILURE;
    };
    let given = env::var_os(rules::VARIABLE);
    match rules::settle(Path::new(&out_dir), given.as_deref(), rules::system_random) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

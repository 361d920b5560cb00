//! The rules by which the build script chooses the key: what it takes from the
//! environment, what it keeps, and when it draws a new one.

#[path = "../build/rules.rs"]
mod rules;

use rules::{KEY_FILE, Key, VARIABLE, parse, settle, system_random};
use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

const GIVEN: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eFf";

fn given_key() -> Key {
    let mut key: Key = std::array::from_fn(|index| index as u8);
    key[31] = 0xff;
    key
}

/// An empty directory in the place that cargo keeps for tests.
fn out_dir(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("build-key-{name}"));
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Runs the rules and gives the key that the library would compile in.
fn run(dir: &Path, given: Option<&str>, random: u8) -> Key {
    settle(dir, given.map(OsStr::new), |key| {
        *key = [random; 32];
        Ok(())
    })
    .unwrap();
    fs::read(dir.join(KEY_FILE)).unwrap().try_into().unwrap()
}

fn message(text: &str) -> String {
    parse(OsStr::new(text)).unwrap_err().to_string()
}

#[test]
fn reads_64_digits_of_either_case() {
    assert_eq!(parse(OsStr::new(GIVEN)).unwrap(), given_key());
    assert_eq!(
        parse(OsStr::new(&GIVEN.to_uppercase())).unwrap(),
        given_key()
    );
}

#[test]
fn refuses_anything_else_and_says_what_it_wants() {
    for text in [
        "",
        "00",
        &GIVEN[1..],
        &format!("{GIVEN}0"),
        &format!("{GIVEN}\n"),
        &format!(" {}", &GIVEN[1..]),
        &format!("0x{}", &GIVEN[2..]),
        &format!("+{}", &GIVEN[1..]),
        &GIVEN.replace('f', "g"),
        // Sixty-four characters and more bytes than that.
        &"é".repeat(64),
        // Sixty-four bytes and fewer characters.
        &"é".repeat(32),
        // A digit, but not one of ours.
        &"٣".repeat(64),
    ] {
        let message = message(text);
        assert!(message.contains(VARIABLE), "{message}");
        assert!(message.contains("64 hexadecimal digits"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn says_what_is_wrong_without_showing_the_value() {
    assert!(message("").contains("set but empty"));
    assert!(message(&GIVEN[..63]).contains("63 characters"));
    assert!(message(&"é".repeat(32)).contains("32 characters"));

    let slip = format!("{}z{}", &GIVEN[..9], &GIVEN[10..]);
    let message = message(&slip);
    assert!(message.contains("character 10"), "{message}");
    assert!(!message.contains(&GIVEN[..8]), "{message}");
    assert!(!message.contains(&GIVEN[56..]), "{message}");
}

#[cfg(unix)]
#[test]
fn refuses_what_is_not_text() {
    use std::os::unix::ffi::OsStrExt;
    let error = parse(OsStr::from_bytes(&[0xff; 64])).unwrap_err();
    assert!(matches!(error, rules::Error::NotText));
    assert!(error.to_string().contains(VARIABLE));
}

#[test]
fn keeps_the_key_it_drew() {
    let dir = out_dir("keeps");
    assert_eq!(run(&dir, None, 1), [1; 32]);
    assert_eq!(run(&dir, None, 2), [1; 32]);
    assert_eq!(run(&dir, None, 3), [1; 32]);
}

#[test]
fn a_lost_key_file_is_made_again_from_the_drawn_one() {
    let dir = out_dir("lost");
    run(&dir, None, 1);
    fs::remove_file(dir.join(KEY_FILE)).unwrap();
    assert_eq!(run(&dir, None, 2), [1; 32]);
}

#[test]
fn a_given_key_goes_before_a_drawn_one() {
    let dir = out_dir("given");
    run(&dir, None, 1);
    assert_eq!(run(&dir, Some(GIVEN), 2), given_key());
    let other = "ab".repeat(32);
    assert_eq!(run(&dir, Some(&other), 2), [0xab; 32]);
}

#[test]
fn a_given_key_is_not_kept_once_it_is_unset() {
    let dir = out_dir("unset");
    run(&dir, Some(GIVEN), 1);
    assert_eq!(run(&dir, None, 2), [2; 32]);
    assert_eq!(run(&dir, None, 3), [2; 32]);

    // Nor does the key that was drawn before it come back: that one was given
    // up when the other was set.
    run(&dir, Some(GIVEN), 4);
    assert_eq!(run(&dir, None, 5), [5; 32]);
}

#[test]
fn a_malformed_key_changes_nothing() {
    let dir = out_dir("malformed");
    run(&dir, None, 1);
    let random = |_: &mut Key| panic!("nothing is drawn in place of a malformed key");
    assert!(settle(&dir, Some(OsStr::new("malformed")), random).is_err());
    assert_eq!(fs::read(dir.join(KEY_FILE)).unwrap(), [1; 32]);
    assert_eq!(run(&dir, None, 2), [1; 32]);
}

#[test]
fn half_a_drawn_key_is_drawn_anew() {
    let dir = out_dir("half");
    run(&dir, None, 1);
    fs::write(dir.join("drawn"), [1; 31]).unwrap();
    assert_eq!(run(&dir, None, 2), [2; 32]);
    assert_eq!(run(&dir, None, 3), [2; 32]);
}

#[test]
fn no_randomness_is_an_error_and_leaves_no_key() {
    let dir = out_dir("no-randomness");
    let error = settle(&dir, None, |_| Err(io::ErrorKind::Unsupported.into())).unwrap_err();
    assert!(error.to_string().contains(VARIABLE), "{error}");
    assert!(!dir.join(KEY_FILE).exists());
}

#[test]
fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let dir = out_dir("missing").join("nowhere");
    let error = settle(&dir, None, |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn the_system_gives_random_bytes() {
    let mut keys = [Key::default(); 8];
    for key in &mut keys {
        system_random(key).unwrap();
    }
    // Every byte position varies, so all of a key is filled, and not twice the
    // same. Chance fails this once in 2^51 runs.
    for position in 0..32 {
        let first = keys[0][position];
        assert!(keys.iter().any(|key| key[position] != first));
    }
}

#[test]
fn the_library_has_one_key() {
    // Not `assert_eq!`, which would print the key.
    let key = sealpipe_build_key::build_key();
    assert!(key == sealpipe_build_key::build_key());
    assert!(key != Key::default());
}

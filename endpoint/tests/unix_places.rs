//! Where a name lies, and what its directory must be.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use common::{entries, named, own_directory};
use sealpipe_endpoint::{Access, Endpoint, Environment, Error, ErrorKind, User, connect, listen};

fn uid() -> u32 {
    match User::current().unwrap() {
        User::Uid(uid) => uid,
        other => panic!("{other}"),
    }
}

fn make(path: &Path, mode: u32) {
    fs::DirBuilder::new().mode(0o700).create(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn paths(endpoint: &Endpoint) -> Vec<PathBuf> {
    let addresses = endpoint.addresses().unwrap();
    addresses
        .iter()
        .map(|address| address.as_path().unwrap().to_owned())
        .collect()
}

#[test]
fn the_runtime_directory_is_first_where_it_is_private() {
    let base = own_directory();
    let runtime = base.path().join("run");
    make(&runtime, 0o700);
    let shared = base.path().join(format!("app-{}/app.sock", uid()));
    let of = |runtime: PathBuf| {
        let environment = Environment::new([runtime], base.path());
        paths(&Endpoint::name("app").unwrap().within(environment))
    };
    let both = [runtime.join("app.sock"), shared.clone()];
    assert_eq!(of(runtime.clone()), both);
    // A trailing slash changes nothing.
    assert_eq!(of(PathBuf::from(format!("{}/", runtime.display()))), both);
    let link = base.path().join("link");
    symlink(&runtime, &link).unwrap();
    for unusable in [
        PathBuf::from("relative"),
        base.path().join("missing"),
        link.clone(),
        PathBuf::from(format!("{}/", link.display())),
    ] {
        assert_eq!(of(unusable), std::slice::from_ref(&shared));
    }
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(of(runtime), [shared]);
}

#[test]
fn the_directory_below_tmp_is_made_private_and_stays() {
    let base = own_directory();
    let endpoint = named("app", base.path());
    let error = connect(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(entries(base.path()), [""; 0], "a client makes nothing");
    let listener = listen(&endpoint, &Access::SameUser).unwrap();
    let directory = base.path().join(format!("app-{}", uid()));
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    connect(&endpoint, &Access::SameUser).unwrap();
    drop(listener);
    assert_eq!(entries(&directory), [""; 0]);
    drop(listen(&endpoint, &Access::SameUser).unwrap());
}

#[test]
fn a_directory_that_lets_others_in_is_refused_by_both() {
    let base = own_directory();
    let directory = base.path().join(format!("app-{}", uid()));
    make(&directory, 0o755);
    let endpoint = named("app", base.path());
    // Were it followed, it would answer.
    let _server = UnixListener::bind(directory.join("app.sock")).unwrap();
    for error in [
        listen(&endpoint, &Access::SameUser).unwrap_err(),
        connect(&endpoint, &Access::SameUser).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Directory { .. }), "{error}");
        assert!(error.to_string().contains("755"), "{error}");
    }
}

#[test]
fn a_link_instead_of_the_directory_is_refused_by_both() {
    let base = own_directory();
    let elsewhere = base.path().join("elsewhere");
    make(&elsewhere, 0o700);
    let _server = UnixListener::bind(elsewhere.join("app.sock")).unwrap();
    symlink(&elsewhere, base.path().join(format!("app-{}", uid()))).unwrap();
    let endpoint = named("app", base.path());
    for error in [
        listen(&endpoint, &Access::SameUser).unwrap_err(),
        connect(&endpoint, &Access::SameUser).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Directory { .. }), "{error}");
    }
    assert_eq!(entries(&elsewhere), ["app.sock"]);
}

#[test]
fn a_link_instead_of_the_socket_is_not_followed() {
    let base = own_directory();
    let directory = base.path().join(format!("app-{}", uid()));
    make(&directory, 0o700);
    let other = base.path().join("other.sock");
    let _server = UnixListener::bind(&other).unwrap();
    symlink(&other, directory.join("app.sock")).unwrap();
    let error = connect(&named("app", base.path()), &Access::SameUser).unwrap_err();
    assert!(matches!(error, Error::NotASocket { .. }), "{error}");
}

#[test]
fn a_client_finds_the_server_at_the_second_place() {
    let base = own_directory();
    let runtime = base.path().join("run");
    make(&runtime, 0o700);
    // The server ran without a runtime directory, the client has one.
    let server = named("app", base.path());
    let client = Endpoint::name("app")
        .unwrap()
        .within(Environment::new([runtime.clone()], base.path()));
    let error = connect(&client, &Access::SameUser).unwrap_err();
    let Error::NotFound { tried } = &error else {
        panic!("{error}");
    };
    assert_eq!(tried.len(), 2);
    for address in tried {
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
    let _listener = listen(&server, &Access::SameUser).unwrap();
    let connected = connect(&client, &Access::SameUser).unwrap();
    assert_eq!(connected.address, server.addresses().unwrap()[0]);
    // A socket that was left at the first place does not hide it.
    drop(UnixListener::bind(runtime.join("app.sock")).unwrap());
    connect(&client, &Access::SameUser).unwrap();
    // And no one else may claim the name at the first place meanwhile.
    let error = listen(&client, &Access::SameUser).unwrap_err();
    let Error::AddressInUse { address, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*address, connected.address);
}

#[test]
fn a_socket_left_behind_says_more_than_nothing() {
    let base = own_directory();
    let runtime = base.path().join("run");
    make(&runtime, 0o700);
    drop(UnixListener::bind(runtime.join("app.sock")).unwrap());
    let environment = Environment::new([runtime], base.path());
    let client = Endpoint::name("app").unwrap().within(environment);
    let error = connect(&client, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
}

#[test]
fn a_long_name_has_a_short_form_on_both_sides() {
    let base = own_directory();
    let name = "n".repeat(64);
    let endpoint = named(&name, base.path());
    let short = paths(&endpoint);
    assert!(short[0].starts_with(base.path().join(format!("sealpipe-{}", uid()))));
    let other = named(&format!("{}x", "n".repeat(63)), base.path());
    assert_ne!(paths(&other), short);
    let listener = listen(&endpoint, &Access::SameUser).unwrap();
    let again = named(&name, base.path());
    let connected = connect(&again, &Access::SameUser).unwrap();
    assert_eq!(connected.address, *listener.address());
}

#[test]
fn a_long_path_has_a_short_form_on_both_sides() {
    let base = own_directory();
    let runtime = base.path().join("run");
    make(&runtime, 0o700);
    let long = base.path().join("d".repeat(120)).join("app.sock");
    let with = Environment::new([runtime.clone()], base.path());
    let without = Environment::new([], base.path());
    let server = Endpoint::path(&long).within(with.clone());
    assert!(paths(&server)[0].starts_with(&runtime));
    for environment in [with.clone(), without] {
        let endpoint = Endpoint::path(&long).within(environment);
        let _listener = listen(&endpoint, &Access::SameUser).unwrap();
        let client = Endpoint::path(&long).within(with.clone());
        connect(&client, &Access::SameUser).unwrap();
    }
}

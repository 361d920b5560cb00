//! Named pipes, their permissions and both identities.
#![cfg(windows)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, OwnedHandle};
use std::ptr;

use sealpipe_endpoint::{
    Access, Endpoint, Error, ErrorKind, ListenOptions, User, client_of, connect, is_end_of_stream,
    listen, server_of,
};
use windows_sys::Win32::Foundation::{GetHandleInformation, HANDLE_FLAG_INHERIT, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1,
    SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};

/// Whether these tests run under Wine, which does not do all that Windows
/// documents.
fn in_wine() -> bool {
    // SAFETY: both strings end with a NUL, and ntdll is in every process.
    unsafe {
        let module = GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
        GetProcAddress(module, c"wine_get_version".as_ptr().cast()).is_some()
    }
}

/// An endpoint of the test's own.
fn endpoint(test: &str) -> Endpoint {
    Endpoint::name(&format!("test-{}-{test}", std::process::id())).unwrap()
}

fn own_sid() -> String {
    match User::current().unwrap() {
        User::Sid(sid) => sid,
        other => panic!("{other}"),
    }
}

/// Owner and list of a handle, as text.
fn permissions(handle: &OwnedHandle) -> String {
    let what = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    let mut text: *mut u16 = ptr::null_mut();
    let mut length = 0;
    // SAFETY: the handle is open, and every pointer is to a live variable or
    // null where nothing is asked for.
    unsafe {
        let result = GetSecurityInfo(
            handle.as_raw_handle(),
            SE_KERNEL_OBJECT,
            what,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        );
        assert_eq!(result, 0);
        let result = ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor,
            SDDL_REVISION_1,
            what,
            &raw mut text,
            &raw mut length,
        );
        assert_ne!(result, 0);
        let units = std::slice::from_raw_parts(text, length as usize);
        let result = String::from_utf16(units).unwrap();
        LocalFree(text.cast());
        LocalFree(descriptor);
        result.trim_end_matches('\0').to_owned()
    }
}

#[test]
fn a_name_becomes_a_pipe_with_the_users_sid_in_it() {
    let endpoint = Endpoint::name("app").unwrap();
    let addresses = endpoint.addresses().unwrap();
    let expected = format!(r"\\.\pipe\{}\app", own_sid());
    assert_eq!(addresses[0].as_pipe(), Some(expected.as_str()));
    assert_eq!(addresses[0].to_string(), expected);
    let said = Endpoint::pipe(r"\\.\pipe\said").unwrap();
    assert_eq!(said.addresses().unwrap()[0].to_string(), r"\\.\pipe\said");
    let error = Endpoint::path(r"C:\app.sock").addresses().unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn both_sides_learn_who_the_other_is() {
    let endpoint = endpoint("identity");
    let (pipe, claim) = listen(&endpoint, &Access::SameUser).unwrap().into_parts();
    let connected = connect(&endpoint, &Access::SameUser).unwrap();
    assert_eq!(connected.address, *claim.address());
    assert_eq!(connected.peer.user, User::Sid(own_sid()));
    assert_eq!(connected.peer.process, Some(std::process::id()));
    assert_eq!(server_of(&connected.stream).unwrap(), connected.peer);
    match client_of(&pipe) {
        Err(Error::IdentityNotYet) => {}
        other => println!("not shown: the identity before the first byte was {other:?}"),
    }
    let (mut client, mut server) = (File::from(connected.stream), File::from(pipe));
    client.write_all(b"first").unwrap();
    let mut bytes = [0; 5];
    server.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"first");
    let peer = client_of(&server).unwrap();
    Access::SameUser.check(&peer).unwrap();
    assert_eq!(peer.user, User::Sid(own_sid()));
    assert_eq!(peer.process, Some(std::process::id()));
    let stranger = User::Sid(format!("{}9", own_sid()));
    let error = Access::Users(vec![stranger]).check(&peer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongUser);
    server.write_all(b"reply").unwrap();
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"reply");
    drop(client);
    match server.read(&mut bytes) {
        Ok(length) => assert_eq!(length, 0),
        Err(error) => assert!(is_end_of_stream(&error), "{error}"),
    }
}

#[test]
fn a_server_of_a_user_who_is_not_wanted_is_refused() {
    let endpoint = endpoint("unwanted");
    let _listener = listen(&endpoint, &Access::SameUser).unwrap();
    let wanted = format!("{}9", own_sid());
    let error = connect(&endpoint, &Access::Users(vec![User::Sid(wanted.clone())])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongUser);
    let text = error.to_string();
    assert!(
        text.contains(&format!("runs as SID {}", own_sid())),
        "{text}"
    );
    assert!(
        text.contains(&wanted) && text.contains(r"\\.\pipe\"),
        "{text}"
    );
}

#[test]
fn nothing_there_and_no_room_are_told_apart() {
    let endpoint = endpoint("room");
    let error = connect(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.is_retryable(true) && !error.is_retryable(false));
    let (first, claim) = listen(&endpoint, &Access::SameUser).unwrap().into_parts();
    let _one = connect(&endpoint, &Access::SameUser).unwrap();
    let error = connect(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.is_retryable(false));
    let second = claim.next_instance().unwrap();
    let _two = connect(&endpoint, &Access::SameUser).unwrap();
    drop((first, second));
    let error = connect(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn the_permissions_follow_the_access() {
    let endpoint = endpoint("access");
    let sid = own_sid();
    let other = "S-1-5-21-1-2-3-1001";
    for (access, further) in [
        (Access::SameUser, None),
        (
            Access::Users(vec![User::Sid(other.to_owned())]),
            Some(other),
        ),
        (Access::Anyone, Some("AU")),
    ] {
        let (first, claim) = listen(&endpoint, &access).unwrap().into_parts();
        for handle in [claim.next_instance().unwrap(), first] {
            let text = permissions(&handle);
            let list = text.strip_prefix(&format!("O:{sid}")).expect(&text);
            let (_, list) = list.split_once("D:P").expect(&text);
            let entries: Vec<&str> = list.split(['(', ')']).filter(|e| e.contains(';')).collect();
            let mut expected = vec![("D;", "NU"), ("A;", sid.as_str()), ("A;", "SY")];
            expected.extend(further.map(|who| ("A;", who)));
            assert_eq!(entries.len(), expected.len(), "{text}");
            for (entry, (kind, who)) in entries.iter().zip(expected) {
                assert!(entry.starts_with(kind), "{text}");
                assert!(entry.ends_with(&format!(";{who}")), "{text}");
            }
        }
    }
}

#[test]
fn the_second_listener_finds_the_name_in_use() {
    let endpoint = endpoint("second");
    let first = listen(&endpoint, &Access::SameUser).unwrap();
    if in_wine() {
        println!("skipped: Wine lets a second first instance be made");
        return;
    }
    let error = listen(&endpoint, &Access::SameUser).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddressInUse, "{error}");
    drop(first);
    drop(listen(&endpoint, &Access::SameUser).unwrap());
}

#[test]
fn of_many_threads_exactly_one_gets_the_name() {
    if in_wine() {
        println!("skipped: Wine lets a second first instance be made");
        return;
    }
    let endpoint = endpoint("threads");
    for _ in 0..50 {
        let results: Vec<_> = std::thread::scope(|scope| {
            let started: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| listen(&endpoint, &Access::SameUser)))
                .collect();
            started
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::AddressInUse, "{error}");
        }
    }
}

#[test]
fn handles_are_not_inherited() {
    let endpoint = endpoint("inherit");
    let (first, claim) = ListenOptions::new()
        .pipe_buffer(4096)
        .listen(&endpoint)
        .unwrap()
        .into_parts();
    let next = claim.next_instance().unwrap();
    let connected = connect(&endpoint, &Access::SameUser).unwrap();
    for handle in [&first, &next, &connected.stream] {
        let mut flags = u32::MAX;
        // SAFETY: the handle is open and the pointer is to a live variable.
        let told =
            unsafe { GetHandleInformation(handle.as_handle().as_raw_handle(), &raw mut flags) };
        assert_ne!(told, 0);
        assert_eq!(flags & HANDLE_FLAG_INHERIT, 0);
    }
}

/// Whether the event of that name is there, and set.
fn event(name: &str) -> Option<bool> {
    use windows_sys::Win32::Foundation::{CloseHandle, WAIT_OBJECT_0};
    use windows_sys::Win32::System::Threading::{
        OpenEventW, SYNCHRONIZATION_SYNCHRONIZE, WaitForSingleObject,
    };
    let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
    // SAFETY: the name ends with a NUL and lives until after the call; the handle is open
    // until it is closed here, once.
    unsafe {
        let event = OpenEventW(SYNCHRONIZATION_SYNCHRONIZE, 0, name.as_ptr());
        if event.is_null() {
            return None;
        }
        let set = WaitForSingleObject(event, 0) == WAIT_OBJECT_0;
        CloseHandle(event);
        Some(set)
    }
}

#[test]
fn what_ipcez_waits_for_are_events_that_go_with_their_listener() {
    let pipe = format!("sealpipe-signals-{}", std::process::id());
    let [ready, acked] = ["data_ready", "data_acked"].map(|what| format!(r"Global\{pipe}.{what}"));
    assert_eq!([event(&ready), event(&acked)], [None, None]);
    let signals = sealpipe_endpoint::IpcezSignals::claim(&format!(r"\\.\pipe\{pipe}")).unwrap();
    assert_eq!([event(&ready), event(&acked)], [Some(false), Some(false)]);
    signals.acked();
    assert_eq!([event(&ready), event(&acked)], [Some(false), Some(true)]);
    signals.ready();
    assert_eq!([event(&ready), event(&acked)], [Some(true), Some(true)]);
    drop(signals);
    assert_eq!([event(&ready), event(&acked)], [None, None]);
}

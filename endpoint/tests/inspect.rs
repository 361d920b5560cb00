//! What an endpoint looks like from outside.

use sealpipe_endpoint::{Endpoint, inspect};

#[cfg(unix)]
mod unix {
    use super::*;
    use sealpipe_endpoint::{Access, Environment, Error, User, listen};
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn each_place_of_a_name_is_looked_at_and_nothing_is_made() {
        let base = tempfile::tempdir().unwrap();
        let (good, open) = (base.path().join("good"), base.path().join("open"));
        let missing = base.path().join("missing");
        for (path, mode) in [(&good, 0o700), (&open, 0o750)] {
            fs::create_dir(path).unwrap();
            set_mode(path, mode);
        }
        let environment = Environment::new([open.clone(), good.clone(), missing], base.path());
        let endpoint = Endpoint::name("app").unwrap().within(environment);
        let look = || inspect(&endpoint).unwrap();
        let addresses = endpoint.addresses().unwrap();

        let before = look();
        assert!(
            before
                .places
                .iter()
                .zip(&addresses)
                .all(|(place, address)| place.address == *address
                    && place.found.is_none()
                    && place.trouble.is_none())
        );
        assert_eq!(before.places.len(), addresses.len());
        let [open, missing] = &before.passed_over[..] else {
            panic!("{before:?}")
        };
        assert!(open.to_string().contains("its mode 750 lets others in"));
        assert!(missing.to_string().contains("it does not exist"));
        assert_eq!(fs::read_dir(&good).unwrap().count(), 0);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 2);

        let listener = listen(&endpoint, &Access::SameUser).unwrap();
        let found = look().places.remove(0).found.unwrap();
        assert_eq!((found.what, found.mode), ("a socket", 0o600));
        assert_eq!(found.owner, User::current().unwrap());
        assert_eq!(look().places[1].found, None);

        // A link in the place of a name leads who knows where.
        drop(listener);
        std::os::unix::fs::symlink("/elsewhere", good.join("app.sock")).unwrap();
        let place = look().places.remove(0);
        assert_eq!(place.found.map(|found| found.what), Some("a link"));
        assert!(matches!(place.trouble, Some(Error::NotASocket { .. })));
    }

    #[test]
    fn the_directory_below_the_shared_one_must_be_ones_own() {
        let base = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::name("app")
            .unwrap()
            .within(Environment::new([], base.path()));
        let address = endpoint.addresses().unwrap().remove(0);
        let directory = address.as_path().unwrap().parent().unwrap();
        fs::create_dir(directory).unwrap();
        set_mode(directory, 0o777);
        let trouble = inspect(&endpoint).unwrap().places.remove(0).trouble;
        let text = trouble.unwrap().to_string();
        assert!(text.contains("its mode 777 lets others in"), "{text}");
        set_mode(directory, 0o700);
        assert!(inspect(&endpoint).unwrap().places[0].trouble.is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_shows_nothing() {
        let endpoint = Endpoint::abstract_socket("sealpipe-inspected").unwrap();
        let inspection = inspect(&endpoint).unwrap();
        assert_eq!(inspection.places.len(), 1);
        assert!(inspection.places[0].found.is_none());
        assert!(inspection.passed_over.is_empty());
    }
}

#[cfg(windows)]
#[test]
fn a_pipe_shows_its_permissions_to_who_opened_it() {
    use sealpipe_endpoint::{Access, connect, listen, permissions_of};
    let endpoint = Endpoint::name(&format!("inspected-{}", std::process::id())).unwrap();
    let listener = listen(&endpoint, &Access::SameUser).unwrap();
    let inspection = inspect(&endpoint).unwrap();
    assert_eq!(inspection.places[0].address, *listener.address());
    assert!(inspection.places[0].found.is_none());
    let connected = connect(&endpoint, &Access::SameUser).unwrap();
    let text = permissions_of(&connected.stream).unwrap();
    assert!(text.starts_with("D:P(D;;"), "{text}");
    assert!(text.contains(";;;SY)"), "{text}");
}

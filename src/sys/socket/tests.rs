use std::io::{Read, Write};
use std::time::SystemTime;

use super::super::testing::Scratch;
use super::super::user::uid;
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn place(scratch: &Scratch) -> Place {
    Place::Runtime { runtime: scratch.path().into() }
}

#[test]
fn a_client_finds_the_server_and_both_know_the_user() {
    let scratch = Scratch::new();
    let absent = Place::Runtime { runtime: scratch.path().join("absent") };
    let places = [absent, place(&scratch)];
    assert!(connect(places.clone(), uid(), PATIENCE).unwrap_err().is_absent());
    let (socket, listener) = ControlSocket::open(place(&scratch), uid(), None).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(fs::metadata(place(&scratch).socket()).unwrap().permissions().mode() & 0o777, 0o600);

    let mut connection = connect(places.clone(), uid(), PATIENCE).unwrap();
    assert_eq!(connection.place, *socket.place());
    let (mut accepted, _) = listener.accept().unwrap();
    assert_eq!((peer_uid(&accepted).unwrap(), peer_uid(&connection.stream).unwrap()), (uid(), uid()));
    connection.stream.write_all(b"hello").unwrap();
    let mut hello = [0; 5];
    accepted.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
}

#[test]
fn there_is_one_server_at_a_place() {
    let scratch = Scratch::new();
    let (first, _listener) = ControlSocket::open(place(&scratch), uid(), None).unwrap();
    assert!(is_taken(&place(&scratch)));
    let second = ControlSocket::open(place(&scratch), uid(), None).unwrap_err();
    assert_eq!(second.to_string(), "pizauth authenticator already running");
    first.close();
    assert!(!is_taken(&place(&scratch)));
    assert_eq!(fs::read_dir(place(&scratch).directory()).unwrap().count(), 0, "nothing stays behind");
    ControlSocket::open(place(&scratch), uid(), None).unwrap();
}

#[test]
fn a_server_without_a_lock_is_left_alone() {
    let scratch = Scratch::new();
    Directory::open(&place(&scratch), Asker::Server(uid())).unwrap();
    let _old = UnixListener::bind(place(&scratch).socket()).unwrap();
    assert!(matches!(ControlSocket::open(place(&scratch), uid(), None), Err(SocketError::Running)));
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_is_not() {
    let scratch = Scratch::new();
    Directory::open(&place(&scratch), Asker::Server(uid())).unwrap();
    drop(UnixListener::bind(place(&scratch).socket()).unwrap());
    assert!(connect([place(&scratch)], uid(), PATIENCE).unwrap_err().is_absent());
    let (socket, _listener) = ControlSocket::open(place(&scratch), uid(), None).unwrap();
    connect([place(&scratch)], uid(), PATIENCE).unwrap();
    socket.close();

    fs::write(place(&scratch).socket(), "a file").unwrap();
    assert!(matches!(ControlSocket::open(place(&scratch), uid(), None), Err(SocketError::InTheWay(_))));
    assert_eq!(fs::read(place(&scratch).socket()).unwrap(), b"a file");
}

#[test]
fn another_servers_socket_and_a_passed_one_are_not_removed() {
    let scratch = Scratch::new();
    let (socket, _listener) = ControlSocket::open(place(&scratch), uid(), None).unwrap();
    fs::remove_file(place(&scratch).socket()).unwrap();
    let other = UnixListener::bind(place(&scratch).socket()).unwrap();
    socket.close();
    assert!(place(&scratch).socket().exists());

    let (socket, listener) = ControlSocket::open(place(&scratch), uid(), Some(other)).unwrap();
    connect([place(&scratch)], uid(), PATIENCE).unwrap();
    assert!(listener.accept().is_ok());
    socket.close();
    assert!(place(&scratch).socket().exists());
}

#[test]
fn what_is_removed_of_a_place_comes_back_while_it_cannot_be_anothers() {
    let scratch = Scratch::new();
    let (mut socket, listener) = ControlSocket::open(place(&scratch), uid(), None).unwrap();
    assert!(matches!(socket.keep(), Ok(Kept::AsItWas)));

    fs::remove_file(place(&scratch).socket()).unwrap();
    let Ok(Kept::WithNew(_listener)) = socket.keep() else { panic!("no new listener") };
    drop(listener);
    connect([place(&scratch)], uid(), PATIENCE).unwrap();
    assert_eq!(fs::metadata(place(&scratch).socket()).unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_file(place(&scratch).lock()).unwrap();
    assert!(matches!(socket.keep(), Ok(Kept::AsItWas)));
    assert!(is_taken(&place(&scratch)));

    fs::remove_file(place(&scratch).lock()).unwrap();
    let _another = lock(&place(&scratch).lock()).unwrap();
    assert!(matches!(socket.keep(), Ok(Kept::Taken)), "another server has the lock");
    socket.close();
    assert!(place(&scratch).lock().exists(), "and keeps it");
    assert!(!place(&scratch).socket().exists());
}

/// Takes both from a server, as a cleaner of old files does it.
fn remove_both(place: &Place) {
    fs::remove_file(place.lock()).unwrap();
    fs::remove_file(place.socket()).unwrap();
}

#[test]
fn a_place_that_is_gone_is_told_from_one_that_is_anothers() {
    type Take = fn(&Place) -> Option<OwnedFd>;
    let remove_folder: Take = |place| {
        fs::remove_dir_all(place.directory()).unwrap();
        None
    };
    let leave_nothing: Take = |place| {
        remove_both(place);
        None
    };
    let lock_again: Take = |place| {
        remove_both(place);
        Some(lock(&place.lock()).unwrap().into())
    };
    let listen_alone: Take = |place| {
        remove_both(place);
        Some(UnixListener::bind(place.socket()).unwrap().into())
    };
    let put_another: Take = |place| {
        fs::remove_file(place.socket()).unwrap();
        Some(UnixListener::bind(place.socket()).unwrap().into())
    };
    let leave_stale: Take = |place| {
        remove_both(place);
        fs::write(place.lock(), "").unwrap();
        drop(UnixListener::bind(place.socket()).unwrap());
        None
    };
    let put_where_no_client_looks: Take = |place| {
        remove_both(place);
        fs::set_permissions(place.directory(), Permissions::from_mode(0o755)).unwrap();
        Some(UnixListener::bind(place.socket()).unwrap().into())
    };
    for (name, take, is_taken) in [
        ("the folder is gone", remove_folder, false),
        ("both are gone", leave_nothing, false),
        ("another server was killed there", leave_stale, false),
        ("somebody listens in an unsafe folder", put_where_no_client_looks, false),
        ("another server has the lock", lock_again, true),
        ("both are gone, and a server without a lock listens there", listen_alone, true),
        ("a server without a lock listens there", put_another, true),
    ] {
        let scratch = Scratch::new();
        let (mut socket, _listener) = ControlSocket::open(place(&scratch), uid(), None).unwrap();
        let _another = take(&place(&scratch));
        for _ in 0..2 {
            let kept = socket.keep().unwrap();
            assert_eq!((matches!(kept, Kept::Gone), matches!(kept, Kept::Taken)), (!is_taken, is_taken), "{name}");
        }
    }
}

#[test]
fn a_place_that_is_gone_can_be_taken_again() {
    let scratch = Scratch::new();
    let (mut socket, listener) = ControlSocket::open(place(&scratch), uid(), None).unwrap();
    fs::remove_dir_all(place(&scratch).directory()).unwrap();
    fs::write(place(&scratch).directory(), "in the way").unwrap();
    assert!(matches!(socket.take_again(), Err(SocketError::Directory(_))));
    fs::remove_file(place(&scratch).directory()).unwrap();
    let Ok(Kept::WithNew(_listener)) = socket.take_again() else { panic!("no new listener") };
    drop(listener);
    connect([place(&scratch)], uid(), PATIENCE).unwrap();
    assert!(is_taken(&place(&scratch)));
    assert!(matches!(socket.keep(), Ok(Kept::AsItWas)));

    remove_both(&place(&scratch));
    let _another = lock(&place(&scratch).lock()).unwrap();
    assert!(matches!(socket.take_again(), Ok(Kept::Taken)), "another server was quicker");
}

#[test]
fn with_a_passed_socket_the_lock_alone_counts() {
    let scratch = Scratch::new();
    Directory::open(&place(&scratch), Asker::Server(uid())).unwrap();
    let passed = UnixListener::bind(place(&scratch).socket()).unwrap();
    let (mut socket, _listener) = ControlSocket::open(place(&scratch), uid(), Some(passed)).unwrap();
    assert!(matches!(socket.keep(), Ok(Kept::AsItWas)));
    fs::remove_file(place(&scratch).lock()).unwrap();
    assert!(matches!(socket.keep(), Ok(Kept::Gone)), "though the passed socket answers");
    assert!(matches!(socket.take_again(), Ok(Kept::AsItWas)));
    assert!(is_taken(&place(&scratch)));
    fs::remove_file(place(&scratch).socket()).unwrap();
    assert!(matches!(socket.keep(), Ok(Kept::AsItWas)), "a passed socket is not looked for");
    fs::remove_file(place(&scratch).lock()).unwrap();
    let _another = lock(&place(&scratch).lock()).unwrap();
    assert!(matches!(socket.keep(), Ok(Kept::Taken)));
}

#[test]
fn a_fault_is_told_only_where_no_server_is_found() {
    let scratch = Scratch::new();
    let unsafe_place = Place::Runtime { runtime: scratch.path().join("unsafe") };
    Directory::open(&unsafe_place, Asker::Server(uid())).unwrap();
    fs::set_permissions(unsafe_place.directory(), Permissions::from_mode(0o755)).unwrap();
    let places = [unsafe_place, place(&scratch)];
    let fault = connect(places.clone(), uid(), PATIENCE).unwrap_err();
    assert!(matches!(fault, SocketError::Directory(DirectoryError::Open(..))), "{fault}");
    let (_socket, _listener) = ControlSocket::open(place(&scratch), uid(), None).unwrap();
    assert_eq!(connect(places.clone(), uid(), PATIENCE).unwrap().place, place(&scratch));
}

#[test]
fn only_the_user_and_root_may_speak() {
    for (name, peer, own, want) in [
        ("the user", 1000, 1000, true),
        ("root", 0, 1000, true),
        ("somebody else", 1001, 1000, false),
        ("somebody to root", 1000, 0, false),
    ] {
        assert_eq!(may_speak(peer, own), want, "{name}");
    }
}

#[test]
fn a_path_that_is_too_long_is_named() {
    let scratch = Scratch::new();
    let place = Place::Named { socket: scratch.path().join("x".repeat(MAX_SOCKET_PATH)) };
    let want = format!("a socket's path has at most {MAX_SOCKET_PATH}; set PIZAUTH_SOCKET");
    for error in [
        ControlSocket::open(place.clone(), uid(), None).unwrap_err(),
        connect([place.clone()], uid(), PATIENCE).unwrap_err(),
    ] {
        assert!(error.to_string().contains(&want), "{error}");
    }
    let longest = MAX_SOCKET_PATH - scratch.path().as_os_str().len() - 1;
    let place = Place::Named { socket: scratch.path().join("x".repeat(longest)) };
    let (_socket, _listener) = ControlSocket::open(place.clone(), uid(), None).unwrap();
    connect([place], uid(), PATIENCE).unwrap();
}

#[test]
fn touching_makes_old_files_new() {
    let scratch = Scratch::new();
    let (socket, _listener) = ControlSocket::open(place(&scratch), uid(), None).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    socket.lock.set_modified(long_ago).unwrap();
    socket.directory.file().set_modified(long_ago).unwrap();
    let before = SystemTime::now() - Duration::from_secs(60);
    socket.touch().unwrap();
    for path in [socket.place.socket(), socket.place.lock(), socket.place.directory()] {
        assert!(fs::metadata(&path).unwrap().modified().unwrap() > before, "{}", path.display());
    }
}

//! `make install` and its kin, with BSD make and GNU make: what lands where, with which modes, and that nothing of a
//! user's is touched and nothing stays behind. Nothing is built: the program is the test's own.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use support::{folder::Folder, tool};

/// What an installation in /usr/pkg consists of, besides the examples, which follow the folder `conf`.
const INSTALLED: [(&str, u32); 11] = [
    ("usr/pkg/bin/pizauth", 0o755),
    ("usr/pkg/share/bash-completion/completions/pizauth", 0o644),
    ("usr/pkg/share/doc/pizauth/CHANGES.md", 0o644),
    ("usr/pkg/share/doc/pizauth/LICENSE-APACHE", 0o644),
    ("usr/pkg/share/doc/pizauth/LICENSE-MIT", 0o644),
    ("usr/pkg/share/doc/pizauth/README.md", 0o644),
    ("usr/pkg/share/doc/pizauth/SECURITY.md", 0o644),
    ("usr/pkg/share/fish/vendor_completions.d/pizauth.fish", 0o644),
    ("usr/pkg/share/man/man1/pizauth.1", 0o644),
    ("usr/pkg/share/man/man5/pizauth.conf.5", 0o644),
    ("usr/pkg/share/zsh/site-functions/_pizauth", 0o644),
];

/// A few of the examples, so that an empty folder `conf` would not do.
const EXAMPLES: [(&str, u32); 6] = [
    ("pizauth.conf", 0o644),
    ("examples/gpg.sh", 0o755),
    ("service/pizauth.service", 0o644),
    ("service/rc.d/openbsd", 0o755),
    ("examples/persistence.conf", 0o644),
    ("providers/google.conf", 0o644),
];

/// A staging folder with the folder of a build, whose program is the one under test.
struct Staging {
    folder: Folder,
    make: PathBuf,
}

impl Staging {
    /// One for each make that is here, with its name.
    fn all() -> impl Iterator<Item = (&'static str, Staging)> {
        ["bmake", "gmake"].into_iter().filter_map(|name| {
            let make = tool::find(name)?;
            let folder = Folder::new();
            folder.make("built/release");
            folder.make("home");
            fs::copy(env!("CARGO_BIN_EXE_pizauth"), folder.join("built/release/pizauth")).expect("the program");
            Some((name, Staging { folder, make }))
        })
    }

    fn stage(&self) -> PathBuf {
        self.folder.join("stage")
    }

    /// Runs make as a careful root does, and with a cargo that fails; tells whether it succeeded, and what it said.
    fn make(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new("/bin/sh")
            .args(["-c", "umask 077; exec \"$0\" \"$@\""])
            .arg(&self.make)
            .args(["CARGO=false", "PREFIX=/usr/pkg"])
            .arg(format!("DESTDIR={}", self.stage().display()))
            .arg(format!("CARGO_TARGET_DIR={}", self.folder.join("built").display()))
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.join("home"))
            .stdin(Stdio::null())
            .output()
            .expect("make");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    #[track_caller]
    fn must_make(&self, arguments: &[&str]) -> String {
        let (is_success, said) = self.make(arguments);
        assert!(is_success, "{arguments:?}: {said}");
        said
    }

    /// The files in the staging folder with their modes.
    fn files(&self) -> BTreeMap<String, u32> {
        below(&self.stage()).into_iter().filter(|(_, mode)| mode & 0o040_000 == 0).map(permissions).collect()
    }
}

/// What lies below a folder, by its path in it, with its mode.
fn below(top: &Path) -> BTreeMap<String, u32> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![top.to_owned()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let metadata = entry.metadata().expect("a file");
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            let name = entry.path().strip_prefix(top).expect("below it").display().to_string();
            found.insert(name, metadata.permissions().mode());
        }
    }
    found
}

fn permissions((name, mode): (String, u32)) -> (String, u32) {
    (name, mode & 0o7777)
}

/// What must be installed, with modes.
fn wanted() -> BTreeMap<String, u32> {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let is_example = |name: &str| !name.starts_with("completions/") && name != "install.sh";
    let mut wanted: BTreeMap<String, u32> = below(&conf)
        .into_iter()
        .filter(|(name, mode)| mode & 0o040_000 == 0 && is_example(name))
        .map(|(name, _)| {
            let is_program = name.ends_with(".sh") || name.starts_with("service/rc.d/");
            (name, if is_program { 0o755 } else { 0o644 })
        })
        .collect();
    for (name, mode) in EXAMPLES {
        assert_eq!(wanted.get(name), Some(&mode), "{name}");
    }
    wanted = wanted.into_iter().map(|(name, mode)| (format!("usr/pkg/share/examples/pizauth/{name}"), mode)).collect();
    wanted.extend(INSTALLED.map(|(name, mode)| (name.to_owned(), mode)));
    wanted
}

#[test]
fn an_installation_is_complete_and_goes_again() {
    for (make, staging) in Staging::all() {
        for _ in 0..2 {
            // Debian's tools name the program that copies.
            staging.must_make(&["INSTALL=install --strip-program=true", "MANDIR=/usr/pkg/share/man", "install"]);
            assert_eq!(staging.files(), wanted(), "{make}");
        }
        for (name, mode) in below(&staging.stage()) {
            assert!(mode & 0o040_000 == 0 || mode & 0o777 == 0o755, "{make}: {name} has mode {mode:o}");
        }
        let program = fs::read(staging.stage().join("usr/pkg/bin/pizauth")).expect("the program");
        assert!(program == fs::read(env!("CARGO_BIN_EXE_pizauth")).expect("the program"), "{make}");
        let unit = fs::read_to_string(staging.stage().join("usr/pkg/share/examples/pizauth/service/pizauth.service"));
        assert!(unit.expect("the unit").contains("\nExecStart=/usr/pkg/bin/pizauth server -d\n"), "{make}");

        staging.must_make(&["MANDIR=/usr/pkg/share/man", "uninstall"]);
        assert_eq!(below(&staging.stage()), BTreeMap::new(), "{make}");
    }
}

#[test]
fn only_folders_of_its_own_go_from_a_system() {
    for (make, staging) in Staging::all() {
        let prefix = staging.folder.join("prefix");
        fs::create_dir_all(prefix.join("share/empty")).expect("a folder");
        let place = [format!("PREFIX={}", prefix.display()), "DESTDIR=".to_owned(), "install".to_owned()];
        let mut arguments = place.each_ref().map(String::as_str);
        staging.must_make(&arguments);
        assert!(prefix.join("bin/pizauth").exists(), "{make}");
        arguments[2] = "uninstall";
        staging.must_make(&arguments);
        let left = below(&prefix);
        assert!(left.values().all(|mode| mode & 0o040_000 != 0), "{make}: {left:?}");
        assert!(left.contains_key("share/empty") && left.contains_key("bin"), "{make}: {left:?}");
        assert!(left.keys().all(|name| !name.ends_with("pizauth")), "{make}: {left:?}");
    }
}

#[test]
fn each_service_is_installed_by_its_own_target_and_goes_again() {
    for (make, staging) in Staging::all() {
        for (arguments, want) in [
            (
                &["install-systemd"][..],
                &[
                    ("usr/pkg/lib/systemd/user/pizauth.service", 0o644),
                    ("usr/pkg/lib/systemd/user/pizauth.socket", 0o644),
                ][..],
            ),
            (
                &["install-launchd", "LAUNCHDDIR=/Library/LaunchAgents"],
                &[("Library/LaunchAgents/pizauth.plist", 0o644)],
            ),
            (&["install-rc", "RCSYSTEM=freebsd"], &[("usr/pkg/etc/rc.d/pizauth", 0o555)]),
            (&["install-rc", "RCSYSTEM=netbsd"], &[("etc/rc.d/pizauth", 0o555)]),
            (&["install-rc", "RCSYSTEM=openbsd"], &[("etc/rc.d/pizauth", 0o555)]),
        ] {
            staging.must_make(arguments);
            staging.must_make(arguments);
            let want: BTreeMap<_, _> = want.iter().map(|(name, mode)| ((*name).to_owned(), *mode)).collect();
            assert_eq!(staging.files(), want, "{make} {arguments:?}");
            for name in want.keys() {
                let text = fs::read_to_string(staging.stage().join(name)).expect("a service file");
                assert!(!text.contains("/usr/local/bin"), "{make} {name}: {text}");
            }
            let uninstall: Vec<_> = [&["uninstall"], &arguments[1..]].concat();
            staging.must_make(&uninstall);
            assert_eq!(staging.files(), BTreeMap::new(), "{make} {arguments:?}");
        }
        let (is_success, said) = staging.make(&["install-rc", "RCSYSTEM=plan9"]);
        assert!(!is_success && said.contains("no rc.d script for plan9"), "{make}: {said}");
    }
}

#[test]
fn files_of_a_user_are_left_alone() {
    for (make, staging) in Staging::all() {
        let stage = staging.stage();
        let own = [
            "usr/pkg/share/examples/pizauth/mine.conf",
            "etc/rc.d/pizauth",
            "Library/LaunchAgents/pizauth.plist",
            "usr/pkg/lib/systemd/user/other.service",
        ];
        for name in own {
            fs::create_dir_all(stage.join(name).parent().expect("a folder")).expect("a folder");
            fs::write(stage.join(name), "mine").expect("a file");
        }
        staging.folder.make("home/.config");
        staging.folder.write("home/.config/pizauth.conf", "mine");

        staging.must_make(&["install"]);
        for arguments in [&["install-rc", "RCSYSTEM=openbsd"], &["install-launchd", "LAUNCHDDIR=/Library/LaunchAgents"]]
        {
            let (is_success, said) = staging.make(arguments);
            assert!(!is_success && said.contains("left as it is"), "{make}: {said}");
        }
        staging.must_make(&["uninstall", "RCSYSTEM=openbsd", "LAUNCHDDIR=/Library/LaunchAgents"]);
        assert_eq!(staging.files().into_keys().collect::<Vec<_>>(), sorted(own), "{make}");
        for name in own {
            assert_eq!(fs::read_to_string(stage.join(name)).expect("a file"), "mine", "{make}: {name}");
        }
        assert_eq!(staging.folder.read("home/.config/pizauth.conf"), "mine", "{make}");
    }
}

#[test]
fn nothing_is_installed_before_it_is_built() {
    for (make, staging) in Staging::all() {
        fs::remove_file(staging.folder.join("built/release/pizauth")).expect("a file");
        let (is_success, said) = staging.make(&["install"]);
        assert!(!is_success && said.contains("not built yet: run make first"), "{make}: {said}");
        assert_eq!(staging.files(), BTreeMap::new(), "{make}");
    }
}

#[test]
fn every_target_is_there_for_both_makes() {
    let makefile = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Makefile")).expect("the Makefile");
    let phony: Vec<_> = makefile.split_once(".PHONY:").expect("phony targets").1.split_whitespace().collect();
    let wanted = "all test check install uninstall clean demo lint cross simulate bench msrv";
    for target in wanted.split(' ') {
        assert!(phony.contains(&target), "{target}");
    }
    for (make, staging) in Staging::all() {
        for target in phony.iter().filter(|target| **target != "\\") {
            let said = staging.must_make(&["-n", target]);
            assert!(!said.trim().is_empty(), "{make} {target}");
        }
    }
}

fn sorted<const N: usize>(names: [&str; N]) -> Vec<String> {
    let mut names = names.map(str::to_owned).to_vec();
    names.sort();
    names
}

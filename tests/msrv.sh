#!/bin/sh
# Builds and installs pizauth as a distribution does: from vendored crates, without a network, by the oldest Rust that
# Cargo.toml names.
#
#     tests/msrv.sh
#
# That Rust is the one in PATH where it is as old; else rustup's; else Debian's, unpacked aside. Where none can be had,
# this is said, and the one in PATH builds. Tools and builds are kept in $PIZAUTH_CACHE/msrv, or ~/.cache/pizauth-msrv.
# With CI=true nothing is skipped.
set -eu

cd "$(dirname "$0")/.."
oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)
cache=${PIZAUTH_CACHE:+$PIZAUTH_CACHE/msrv}
cache=${cache:-$HOME/.cache/pizauth-msrv}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
debian=$cache/debian

# Says that $1 cannot be had.
skip() {
	if [ "${CI:-}" = true ]; then
		echo "msrv: no $1" >&2
		exit 1
	fi
	echo "skipped: no $1"
}

# Whether the command is a compiler of the oldest version.
is_oldest() {
	case $("$@" --version 2>/dev/null) in "rustc $oldest".*) ;; *) return 1 ;; esac
}

# Whether the package $1 is installed or among those here.
is_here() {
	ls "$1"_*.deb >/dev/null 2>&1 || dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}

# Prints the libraries that the packages here depend on and that are neither installed nor here.
missing_libraries() {
	for file in *.deb; do dpkg-deb -f "$file" Depends; done | tr ',' '\n' | sed 's/^ *//; s/[ (|].*//' | sort -u |
		while read -r name; do
			case $name in
			lib*[0-9]*) is_here "$name" || echo "$name" ;;
			esac
		done
}

# Prints the version of Debian's package of the oldest compiler, if there is one.
debians_version() {
	apt-cache madison rustc-web 2>/dev/null | awk -v old="$oldest." 'index($3, old) == 1 { print $3; exit }'
}

# Unpacks Debian's compiler, and the libraries that it needs, into $debian.
unpack() {
	if [ -d "$debian" ]; then return; fi
	found=$(debians_version)
	if [ -z "$found" ] && [ "${CI:-}" = true ]; then
		apt-get update -qq >&2
		found=$(debians_version)
	fi
	[ -n "$found" ] || return 0
	rm -rf "$cache/packages" "$debian.new"
	mkdir "$cache/packages"
	(
		cd "$cache/packages"
		set -- "rustc-web=$found" "cargo-web=$found" "libstd-rust-web-dev=$found" "libstd-rust-web-$oldest=$found"
		while [ $# -gt 0 ]; do
			# apt warns that it does this as root.
			apt-get download -qq "$@" 2>"$cache/apt.log" || {
				cat "$cache/apt.log" >&2
				exit 1
			}
			# The names of packages have no blanks.
			# shellcheck disable=SC2046
			set -- $(missing_libraries)
		done
		for file in *.deb; do dpkg-deb -x "$file" "$debian.new"; done
	)
	mv "$debian.new" "$debian"
	rm -rf "$cache/packages"
}

# Prepares the environment so that cargo is of the oldest version, if that can be had.
choose() {
	if is_oldest rustc; then return; fi
	if is_oldest rustup run "$oldest" rustc; then
		RUSTUP_TOOLCHAIN=$oldest
		export RUSTUP_TOOLCHAIN
		return
	fi
	unpack
	if [ -d "$debian" ]; then
		machine=$(uname -m)-linux-gnu
		PATH=$debian/usr/bin:$PATH
		LD_LIBRARY_PATH=$debian/usr/lib/$machine:$debian/lib/$machine
		RUSTC=$debian/usr/bin/rustc
		export PATH LD_LIBRARY_PATH RUSTC
		is_oldest rustc && return
	fi
	skip "Rust $oldest"
}

# Runs the command where no network is, if the system can do that. Cargo is told to be offline in any case.
without_network() {
	if unshare -rn true 2>/dev/null; then
		unshare -rn "$@"
	else
		skip 'unshare'
		"$@"
	fi
}

# Always the same, so that what is built already counts.
work=$cache/work
rm -rf "$work"
mkdir -p "$work/pizauth" "$work/cargo"
git ls-files -z | xargs -0 tar cf - | tar xf - -C "$work/pizauth"
# What this prints is the configuration that makes cargo use the folder.
cargo vendor --locked "$work/vendor" >"$work/cargo/config.toml" 2>"$cache/vendor.log"

# From here on, cargo knows the vendored crates and nothing else.
CARGO_HOME=$work/cargo CARGO_NET_OFFLINE=true CARGO_TARGET_DIR=$cache/target
export CARGO_HOME CARGO_NET_OFFLINE CARGO_TARGET_DIR
choose
# It is to be seen that it builds: without optimisation, that is a matter of a minute.
CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_OPT_LEVEL CARGO_PROFILE_RELEASE_LTO CARGO_PROFILE_RELEASE_CODEGEN_UNITS

cd "$work/pizauth"
without_network make
without_network make DESTDIR="$work/stage" PREFIX=/usr install >/dev/null
said=$("$work/stage/usr/bin/pizauth" --version)
[ "$said" = "pizauth $version" ] || {
	echo "msrv: pizauth --version says: $said" >&2
	exit 1
}
without_network make DESTDIR="$work/stage" PREFIX=/usr uninstall
if [ -e "$work/stage" ]; then
	echo "msrv: uninstall leaves $(find "$work/stage")" >&2
	exit 1
fi
echo "$(rustc --version): builds pizauth $version from vendored crates, without a network"

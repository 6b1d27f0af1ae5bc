#!/bin/sh
# Checks or links pizauth for FreeBSD, NetBSD, OpenBSD and macOS, from Linux.
#
#     tests/cross.sh check|link|link-fast [TARGET...]
#
# TARGET is a Rust target, and all four without any. The standard library is built from source by Debian's rustc-web,
# and zig stands in for each system's C compiler, linker and C library. `check` is for types, and for clippy where it is
# there; tests are looked at for FreeBSD, which the other BSDs are like, and for macOS. `link` builds the release
# executables, says how big they are, and looks at what file(1) thinks of them; `link-fast` does the same without
# optimisation, which shows as well that nothing is missing.
#
# Tools and builds are kept in $PIZAUTH_CACHE, or ~/.cache/pizauth-cross. A tool that is missing and cannot be had is
# named and the rest skipped; with CI=true, Debian's packages are installed, and a failure is a failure.
set -eu

cache=${PIZAUTH_CACHE:-$HOME/.cache/pizauth-cross}
all="x86_64-unknown-freebsd x86_64-unknown-netbsd x86_64-unknown-openbsd aarch64-apple-darwin"

usage() {
	echo "usage: tests/cross.sh check|link|link-fast [TARGET...]" >&2
	exit 2
}

# The tool $1 cannot be had.
missing() {
	if [ "${CI:-}" = true ]; then
		echo "cross: no $1" >&2
		exit 1
	fi
	echo "skipped: no $1"
	exit 0
}

# Makes sure of the Debian package $1: the rest is a command that succeeds where it is there.
package() {
	name=$1
	shift
	if "$@" >/dev/null 2>&1; then return; fi
	if [ "${CI:-}" = true ]; then
		apt-get update -qq >&2
		apt-get install -y -qq --no-install-recommends "$name" >&2
	fi
	"$@" >/dev/null 2>&1 || missing "$name"
}

# The name that zig has for the target $1.
zig_target() {
	case $1 in
	x86_64-unknown-freebsd) echo x86_64-freebsd ;;
	x86_64-unknown-netbsd) echo x86_64-netbsd ;;
	x86_64-unknown-openbsd) echo x86_64-openbsd ;;
	aarch64-apple-darwin) echo aarch64-macos ;;
	*)
		echo "cross: unknown target $1" >&2
		exit 2
		;;
	esac
}

# What file(1) must say of an executable for the target $1.
kind() {
	case $1 in
	*-freebsd) echo 'ELF 64-bit LSB .*x86-64.*FreeBSD' ;;
	*-netbsd) echo 'ELF 64-bit LSB .*x86-64.*(NetBSD|ld\.elf_so)' ;;
	*-openbsd) echo 'ELF 64-bit LSB .*x86-64.*(OpenBSD|ld\.so)' ;;
	*-darwin) echo 'Mach-O 64-bit arm64 .*executable' ;;
	esac
}

# Writes the compiler and the archiver for the target $1, whose name for zig is $2.
write_tools() {
	mkdir -p "$cache/bin"
	cat >"$cache/bin/cc-$1" <<EOF
#!/bin/sh
# zig has no stub for some libraries that Rust names and this program does not use, and takes the target from here.
for argument do
	shift
	case \$argument in
	--target=* | -lmemstat | -lkvm | -lprocstat | -ldevstat | -lutil | -liconv) ;;
	*) set -- "\$@" "\$argument" ;;
	esac
done
exec "$cache/venv/bin/python" -m ziglang cc -target $2 "\$@"
EOF
	cat >"$cache/bin/ar-$1" <<EOF
#!/bin/sh
exec "$cache/venv/bin/python" -m ziglang ar "\$@"
EOF
	chmod +x "$cache/bin/cc-$1" "$cache/bin/ar-$1"
}

# Runs cargo's command $2 for the target $1, with the arguments that follow.
cross_cargo() {
	target=$1
	verb=$2
	shift 2
	lower=$(echo "$target" | tr - _)
	upper=$(echo "$lower" | tr '[:lower:]' '[:upper:]')
	# Zig cannot take the symbols out of a Mach-O file, and Apple's strip is not here.
	case $target in *-darwin) strip=none ;; *) strip=symbols ;; esac
	env PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
		CARGO_TARGET_DIR="$builds" CARGO_PROFILE_RELEASE_STRIP=$strip ZIG_GLOBAL_CACHE_DIR="$cache/zig" \
		"CC_$lower=$cache/bin/cc-$target" "AR_$lower=$cache/bin/ar-$target" \
		"CARGO_TARGET_${upper}_LINKER=$cache/bin/cc-$target" \
		/usr/bin/cargo "$verb" -Zbuild-std=std,panic_unwind --target "$target" "$@"
}

[ $# -ge 1 ] || usage
mode=$1
shift
case $mode in check | link | link-fast) ;; *) usage ;; esac
# The names of targets have no blanks.
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $all
for target do
	zig_target "$target" >/dev/null
done

package rustc-web test -x /usr/bin/rustc
package cargo-web test -x /usr/bin/cargo
package rust-web-src test -e "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml"
if [ "$mode" != check ]; then
	package file test -x /usr/bin/file
elif [ "${CI:-}" = true ]; then
	package rust-web-clippy test -x /usr/bin/cargo-clippy
elif ! [ -x /usr/bin/cargo-clippy ]; then
	echo 'skipped: no rust-web-clippy, so types only'
fi
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
if ! "$cache/venv/bin/python" -m ziglang version >/dev/null 2>&1; then
	package python3-venv python3 -c 'import ensurepip'
	python3 -m venv "$cache/venv"
	"$cache/venv/bin/pip" install -q ziglang >&2 || missing ziglang
fi

builds=$cache/target
if [ "$mode" = link-fast ]; then
	builds=$cache/fast
	export CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
fi

cd "$(dirname "$0")/.."
for target do
	write_tools "$target" "$(zig_target "$target")"
	if [ "$mode" = check ]; then
		case $target in *-freebsd | *-darwin) kinds=--all-targets ;; *) kinds=--bins ;; esac
		if [ -x /usr/bin/cargo-clippy ]; then
			cross_cargo "$target" clippy --locked "$kinds" -- -D warnings
		else
			cross_cargo "$target" check --locked "$kinds"
		fi
		echo "$target: checked"
		continue
	fi
	cross_cargo "$target" build --locked --release
	executable=$builds/$target/release/pizauth
	found=$(file -b "$executable")
	echo "$found" | grep -Eq "$(kind "$target")" || {
		echo "cross: $target gave: $found" >&2
		exit 1
	}
	echo "$target: linked, $(($(wc -c <"$executable"))) bytes, $found"
done

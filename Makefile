# For BSD make and GNU make alike: nothing here but what both understand.
#
#   make && make install        build for release, then copy into PREFIX; install itself never builds
#   make test                   every test; demo shows pizauth at work in a few seconds
#   make lint                   formatting, clippy, documentation, man pages, shell scripts
#   make bench                  what pizauth costs, as a table; BENCH=show measures one subject of it
#   make simulate               months of simulated life; SEEDS=n says in how many worlds
#   make fuzz                   each fuzz target for SECONDS=n seconds; see tests/fuzz/README.md
#
# For a package: make DESTDIR=STAGING PREFIX=/usr install, and then install-systemd, install-rc or install-launchd as
# the system wants it.

PREFIX ?= /usr/local
BINDIR ?= ${PREFIX}/bin
# Where it is empty: PREFIX/man on NetBSD and OpenBSD, PREFIX/share/man elsewhere.
MANDIR ?=
EXAMPLEDIR ?= ${PREFIX}/share/examples/pizauth
DOCDIR ?= ${PREFIX}/share/doc/pizauth
BASHCOMPDIR ?= ${PREFIX}/share/bash-completion/completions
ZSHCOMPDIR ?= ${PREFIX}/share/zsh/site-functions
FISHCOMPDIR ?= ${PREFIX}/share/fish/vendor_completions.d
SYSTEMDDIR ?= ${PREFIX}/lib/systemd/user
LAUNCHDDIR ?= ${HOME}/Library/LaunchAgents
# Where it is empty: PREFIX/etc/rc.d on FreeBSD, /etc/rc.d on NetBSD and OpenBSD.
RCDIR ?=
# freebsd, netbsd or openbsd: whose script install-rc takes. Empty: this system's.
RCSYSTEM ?=
DESTDIR ?=
SEEDS ?= 20000
SECONDS ?= 20
BENCH ?=
CARGO ?= cargo
CARGO_TARGET_DIR ?= target

INSTALLER = DESTDIR='${DESTDIR}' PREFIX='${PREFIX}' BINDIR='${BINDIR}' MANDIR='${MANDIR}' EXAMPLEDIR='${EXAMPLEDIR}' \
	DOCDIR='${DOCDIR}' BASHCOMPDIR='${BASHCOMPDIR}' ZSHCOMPDIR='${ZSHCOMPDIR}' FISHCOMPDIR='${FISHCOMPDIR}' SYSTEMDDIR='${SYSTEMDDIR}' \
	LAUNCHDDIR='${LAUNCHDDIR}' RCDIR='${RCDIR}' RCSYSTEM='${RCSYSTEM}' CARGO_TARGET_DIR='${CARGO_TARGET_DIR}' \
	sh conf/install.sh

all:
	${CARGO} build --release --locked

test:
	${CARGO} test --locked

demo:
	${CARGO} test --locked --quiet --test demo

check: lint test

lint: lint-man lint-sh
	${CARGO} fmt --check
	${CARGO} clippy --locked --all-targets -- -D warnings
	${CARGO} clippy --locked --test demo --test bench -- -D warnings
	RUSTDOCFLAGS='-D warnings' ${CARGO} doc --locked --no-deps --quiet

lint-man:
	sh tests/manuals.sh

lint-sh:
	@if command -v shellcheck >/dev/null 2>&1; then \
		find conf tests -name '*.sh' -exec shellcheck {} + && \
		shellcheck -e SC1091,SC2034,SC2154 conf/service/rc.d/* && echo 'shell scripts: clean'; \
	else \
		echo 'skipped: no shellcheck'; \
	fi

# Copies what `make` has built, replaces its own files of before, and touches nobody else's.
install:
	@${INSTALLER} install

# What starts pizauth at login or boot: each is asked for by name.
install-systemd:
	@${INSTALLER} install-systemd

install-launchd:
	@${INSTALLER} install-launchd

install-rc:
	@${INSTALLER} install-rc

uninstall:
	@${INSTALLER} uninstall

clean:
	${CARGO} clean

# Months of the daemon's life in so many worlds as SEEDS says.
simulate:
	SEEDS=${SEEDS} ${CARGO} test --release --locked --test simulate -- --nocapture

# Builds and installs as a package does: vendored crates, no network, the oldest Rust.
msrv:
	sh tests/msrv.sh

# Looks for input that breaks a reader, for SECONDS seconds at each.
fuzz:
	sh tests/fuzz.sh ${SECONDS}

# Each figure beside its goal; BENCH names subjects, BENCH_STRICT=1 fails where a goal is missed that no noise touches.
bench:
	@BENCH='${BENCH}' ${CARGO} test --release --locked --quiet --test bench

# Executables for FreeBSD, NetBSD, OpenBSD and macOS; cross-check stops after the type check.
cross:
	sh tests/cross.sh link

cross-check:
	sh tests/cross.sh check

.PHONY: all test demo check lint lint-man lint-sh install install-systemd install-launchd install-rc uninstall clean \
	simulate bench fuzz msrv cross cross-check

# For BSD make and GNU make alike: nothing here but what both understand.
#
#   make && make install        build for release, then copy into PREFIX; install itself never builds
#   make test                   every test; demo shows pizauth at work in a few seconds
#   make lint                   formatting, clippy, man pages, shell scripts
#   make simulate               months of simulated life; SEEDS=n says in how many worlds

PREFIX ?= /usr/local
BINDIR ?= ${PREFIX}/bin
MANDIR ?= ${PREFIX}/share/man
EXAMPLEDIR ?= ${PREFIX}/share/examples/pizauth
BASHCOMPDIR ?= ${PREFIX}/share/bash-completion/completions
ZSHCOMPDIR ?= ${PREFIX}/share/zsh/site-functions
FISHCOMPDIR ?= ${PREFIX}/share/fish/vendor_completions.d
DESTDIR ?=
SEEDS ?= 20000
CARGO ?= cargo
CARGO_TARGET_DIR ?= target

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
	${CARGO} clippy --locked --test demo -- -D warnings

lint-man:
	@if command -v mandoc >/dev/null 2>&1; then \
		mandoc -Tlint -Wwarning man/*.[1-9] && echo 'man pages: clean'; \
	else \
		echo 'skipped: no mandoc'; \
	fi

lint-sh:
	@if command -v shellcheck >/dev/null 2>&1; then \
		find conf tests -name '*.sh' -exec shellcheck {} + && echo 'shell scripts: clean'; \
	else \
		echo 'skipped: no shellcheck'; \
	fi

# Replaces the program and what belongs to it; a file of the user's is never touched.
install:
	@test -f ${CARGO_TARGET_DIR}/release/pizauth || { echo 'not built yet: run make first' >&2; exit 1; }
	install -d ${DESTDIR}${BINDIR} ${DESTDIR}${MANDIR}/man1 ${DESTDIR}${MANDIR}/man5
	install -d ${DESTDIR}${EXAMPLEDIR}/examples ${DESTDIR}${EXAMPLEDIR}/service
	install -d ${DESTDIR}${BASHCOMPDIR} ${DESTDIR}${ZSHCOMPDIR} ${DESTDIR}${FISHCOMPDIR}
	install -m 755 ${CARGO_TARGET_DIR}/release/pizauth ${DESTDIR}${BINDIR}/pizauth
	install -m 644 man/pizauth.1 ${DESTDIR}${MANDIR}/man1/pizauth.1
	install -m 644 man/pizauth.conf.5 ${DESTDIR}${MANDIR}/man5/pizauth.conf.5
	install -m 644 conf/pizauth.conf ${DESTDIR}${EXAMPLEDIR}/pizauth.conf
	install -m 644 conf/examples/persistence.conf ${DESTDIR}${EXAMPLEDIR}/examples/persistence.conf
	install -m 755 conf/examples/*.sh ${DESTDIR}${EXAMPLEDIR}/examples
	install -m 644 conf/service/* ${DESTDIR}${EXAMPLEDIR}/service
	install -m 644 conf/completions/pizauth.bash ${DESTDIR}${BASHCOMPDIR}/pizauth
	install -m 644 conf/completions/_pizauth ${DESTDIR}${ZSHCOMPDIR}/_pizauth
	install -m 644 conf/completions/pizauth.fish ${DESTDIR}${FISHCOMPDIR}/pizauth.fish

# EXAMPLEDIR is pizauth's own; the other folders are not.
uninstall:
	rm -f ${DESTDIR}${BINDIR}/pizauth
	rm -f ${DESTDIR}${MANDIR}/man1/pizauth.1 ${DESTDIR}${MANDIR}/man5/pizauth.conf.5
	rm -f ${DESTDIR}${BASHCOMPDIR}/pizauth ${DESTDIR}${ZSHCOMPDIR}/_pizauth ${DESTDIR}${FISHCOMPDIR}/pizauth.fish
	rm -rf ${DESTDIR}${EXAMPLEDIR}

clean:
	${CARGO} clean

# Months of the daemon's life in so many worlds as SEEDS says.
simulate:
	SEEDS=${SEEDS} ${CARGO} test --release --locked --test simulate -- --nocapture

# Executables for FreeBSD, NetBSD, OpenBSD and macOS; cross-check stops after the type check.
cross:
	sh tests/cross.sh link

cross-check:
	sh tests/cross.sh check

.PHONY: all test demo check lint lint-man lint-sh install uninstall clean simulate cross \
	cross-check

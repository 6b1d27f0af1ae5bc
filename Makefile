# For BSD make and GNU make alike: nothing here but what both understand.
#
#   make && make install        build for release, then copy into PREFIX; install itself never builds
#   make test                   every test; demo shows pizauth at work in a few seconds
#   make lint                   formatting, clippy, man pages, shell scripts

PREFIX ?= /usr/local
BINDIR ?= ${PREFIX}/bin
MANDIR ?= ${PREFIX}/share/man
EXAMPLEDIR ?= ${PREFIX}/share/examples/pizauth
DESTDIR ?=
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

# Replaces the program and its pages; a file of the user's is never touched.
install:
	@test -f ${CARGO_TARGET_DIR}/release/pizauth || { echo 'not built yet: run make first' >&2; exit 1; }
	install -d ${DESTDIR}${BINDIR} ${DESTDIR}${MANDIR}/man1 ${DESTDIR}${MANDIR}/man5 ${DESTDIR}${EXAMPLEDIR}
	install -m 755 ${CARGO_TARGET_DIR}/release/pizauth ${DESTDIR}${BINDIR}/pizauth
	install -m 644 man/pizauth.1 ${DESTDIR}${MANDIR}/man1/pizauth.1
	install -m 644 man/pizauth.conf.5 ${DESTDIR}${MANDIR}/man5/pizauth.conf.5
	install -m 644 conf/pizauth.conf ${DESTDIR}${EXAMPLEDIR}/pizauth.conf

uninstall:
	rm -f ${DESTDIR}${BINDIR}/pizauth
	rm -f ${DESTDIR}${MANDIR}/man1/pizauth.1 ${DESTDIR}${MANDIR}/man5/pizauth.conf.5
	rm -f ${DESTDIR}${EXAMPLEDIR}/pizauth.conf
	test ! -d ${DESTDIR}${EXAMPLEDIR} || rmdir ${DESTDIR}${EXAMPLEDIR}

clean:
	${CARGO} clean

# Executables for FreeBSD, NetBSD, OpenBSD and macOS; cross-check stops after the type check.
cross:
	sh tests/cross.sh link

cross-check:
	sh tests/cross.sh check

.PHONY: all test demo check lint lint-man lint-sh install uninstall clean cross cross-check

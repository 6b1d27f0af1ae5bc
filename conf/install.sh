#!/bin/sh
# Installs and removes pizauth for the Makefile, which sets the variables.
#
#     conf/install.sh install|install-systemd|install-launchd|install-rc|uninstall
#
# One list of files serves both ways. Files that a person or a system's administrator may have changed, an rc.d script
# and a launchd agent, are left alone where they differ from what this would write.
set -eu

cd "$(dirname "$0")/.."
# Folders are for everybody, whoever's umask it is.
umask 022
system=$(uname)

# NetBSD and OpenBSD keep their packages' manuals in PREFIX/man.
case $MANDIR,$system in
,NetBSD | ,OpenBSD) MANDIR=$PREFIX/man ;;
,*) MANDIR=$PREFIX/share/man ;;
esac
RCSYSTEM=${RCSYSTEM:-$(echo "$system" | tr '[:upper:]' '[:lower:]')}
case $RCDIR,$RCSYSTEM in
,freebsd) RCDIR=$PREFIX/etc/rc.d ;;
,*) RCDIR=/etc/rc.d ;;
esac

# Calls "$@ MODE SOURCE TARGET" for each file that `install` copies.
each_file() {
	"$@" 755 "$CARGO_TARGET_DIR/release/pizauth" "$BINDIR/pizauth"
	"$@" 644 man/pizauth.1 "$MANDIR/man1/pizauth.1"
	"$@" 644 man/pizauth.conf.5 "$MANDIR/man5/pizauth.conf.5"
	"$@" 644 conf/completions/pizauth.bash "$BASHCOMPDIR/pizauth"
	"$@" 644 conf/completions/_pizauth "$ZSHCOMPDIR/_pizauth"
	"$@" 644 conf/completions/pizauth.fish "$FISHCOMPDIR/pizauth.fish"
	for file in README.md CHANGES.md SECURITY.md LICENSE-MIT LICENSE-APACHE; do
		"$@" 644 "$file" "$DOCDIR/$file"
	done
	for file in conf/*.conf conf/examples/*.conf conf/examples/*.sh conf/providers/*.conf conf/service/*.*; do
		if [ -f "$file" ]; then
			case $file in *.sh) mode=755 ;; *) mode=644 ;; esac
			"$@" "$mode" "$file" "$EXAMPLEDIR/${file#conf/}"
		fi
	done
	for file in conf/service/rc.d/*; do
		"$@" 755 "$file" "$EXAMPLEDIR/${file#conf/}"
	done
}

# The text of $1 with the folder of the program in place of /usr/local/bin. What is no text stays as it is.
edited() {
	case $1 in
	conf/service/*) sed "s|/usr/local/bin|$BINDIR|g" "$1" ;;
	*) cat "$1" ;;
	esac
}

# Writes $2 to $3 with mode $1, in place of the file of before.
put() {
	target=$DESTDIR$3
	mkdir -p "$(dirname "$target")"
	# Not over a program that may be running, and not through a link.
	edited "$2" >"$target.new"
	chmod "$1" "$target.new"
	mv -f "$target.new" "$target"
	echo "$target"
}

# Removes $3.
take() {
	rm -f "$DESTDIR$3"
}

# Writes $2 to $3 with mode $1, unless there is something else already.
put_new() {
	if [ -e "$DESTDIR$3" ] && ! is_ours "$2" "$DESTDIR$3"; then
		echo "$DESTDIR$3 is there already and differs from $2: left as it is" >&2
		exit 1
	fi
	put "$@"
}

# Removes $3 where it is as `put` has written it.
take_ours() {
	if ! [ -e "$DESTDIR$3" ]; then return; fi
	if is_ours "$2" "$DESTDIR$3"; then
		rm -f "$DESTDIR$3"
	else
		echo "$DESTDIR$3 was changed: left as it is" >&2
	fi
}

# Whether $2 is what `put` writes for $1.
is_ours() {
	edited "$1" | cmp -s - "$2"
}

# Calls "$@ MODE SOURCE TARGET" for each unit of systemd.
each_unit() {
	"$@" 644 conf/service/pizauth.service "$SYSTEMDDIR/pizauth.service"
	"$@" 644 conf/service/pizauth.socket "$SYSTEMDDIR/pizauth.socket"
}

# Removes the folder $1 and those in it, as far as they are empty.
prune() {
	if [ -d "$1" ]; then
		find "$1" -depth -type d -exec rmdir {} \; 2>/dev/null || :
	fi
}

case ${1:-} in
install)
	if ! [ -f "$CARGO_TARGET_DIR/release/pizauth" ]; then
		echo 'not built yet: run make first' >&2
		exit 1
	fi
	each_file put
	;;
install-systemd)
	each_unit put
	;;
install-launchd)
	put_new 644 conf/service/pizauth.plist "$LAUNCHDDIR/pizauth.plist"
	;;
install-rc)
	if ! [ -f "conf/service/rc.d/$RCSYSTEM" ]; then
		echo "no rc.d script for $RCSYSTEM: set RCSYSTEM to freebsd, netbsd or openbsd" >&2
		exit 1
	fi
	put_new 555 "conf/service/rc.d/$RCSYSTEM" "$RCDIR/pizauth"
	;;
uninstall)
	each_file take
	each_unit take
	take_ours 644 conf/service/pizauth.plist "$LAUNCHDDIR/pizauth.plist"
	if [ -f "conf/service/rc.d/$RCSYSTEM" ]; then
		take_ours 555 "conf/service/rc.d/$RCSYSTEM" "$RCDIR/pizauth"
	fi
	prune "$DESTDIR$EXAMPLEDIR"
	prune "$DESTDIR$DOCDIR"
	# The folders of a staging tree are all of this script's making; those of a system are not.
	if [ -n "$DESTDIR" ]; then prune "$DESTDIR"; fi
	;;
*)
	echo 'usage: conf/install.sh install|install-systemd|install-launchd|install-rc|uninstall' >&2
	exit 2
	;;
esac

#!/bin/sh
# Keeps pizauth's token state in the password store of pass(1).
#
# In pizauth.conf:
#   persist_cmd = "$HOME/.config/pizauth/pass.sh persist";
#   restore_cmd = "$HOME/.config/pizauth/pass.sh restore";
#
# Where the store is a git repository, every save is a commit, and old states stay in its history: revoke what must
# not be usable any more.
set -eu
umask 077

store=${PASSWORD_STORE_DIR:-$HOME/.password-store}
name=pizauth/state

# Passes the state on, and fails where its last line is missing: then pizauth died while it wrote.
whole() {
    awk '{ print; last = $0 } END { exit last != "pizauth-dump end" }'
}

case ${1-} in
persist)
    # Beside the old entry first: a save that fails half-way costs nothing. What is known of the input comes by a
    # descriptor of its own, since a pipe tells how its last command ended only.
    ended=$({ { whole && echo yes >&3; } | pass insert --multiline --force "$name.new" >/dev/null; } 3>&1)
    [ "$ended" = yes ]
    pass mv --force "$name.new" "$name" >/dev/null
    ;;
restore)
    # No entry: nothing was saved yet. An entry that cannot be read is a failure.
    [ -e "$store/$name.gpg" ] || exit 0
    pass show "$name"
    ;;
*)
    echo "usage: $0 persist | restore" >&2
    exit 2
    ;;
esac

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

case ${1-} in
persist)
    # Beside the old entry first: a save that fails half-way costs nothing.
    pass insert --multiline --force "$name.new" >/dev/null
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

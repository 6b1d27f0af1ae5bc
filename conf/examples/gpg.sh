#!/bin/sh
# Keeps pizauth's token state in a file encrypted with gpg(1) to the default key.
#
# In pizauth.conf:
#   persist_cmd = "$HOME/.config/pizauth/gpg.sh persist";
#   restore_cmd = "$HOME/.config/pizauth/gpg.sh restore";
#
# While the key is locked and nobody answers gpg-agent's question, restore fails, and pizauth tries again when a token
# is asked for. Saving needs the public key only.
set -eu
umask 077

folder=${XDG_STATE_HOME:-$HOME/.local/state}/pizauth
state=$folder/state.gpg

# Passes the state on, and fails where its last line is missing: then pizauth died while it wrote.
whole() {
    awk '{ print; last = $0 } END { exit last != "pizauth-dump end" }'
}

case ${1-} in
persist)
    mkdir -p "$folder"
    # Beside the old state first: a save that fails half-way costs nothing. What is known of the input comes by a
    # descriptor of its own, since a pipe tells how its last command ended only.
    ended=$({ { whole && echo yes >&3; } | gpg --batch --yes --quiet --encrypt --default-recipient-self --output "$state.new"; } 3>&1)
    [ "$ended" = yes ]
    mv -f "$state.new" "$state"
    ;;
restore)
    # No file: nothing was saved yet. A file that cannot be read is a failure.
    [ -e "$state" ] || exit 0
    gpg --batch --quiet --decrypt "$state"
    ;;
*)
    echo "usage: $0 persist | restore" >&2
    exit 2
    ;;
esac

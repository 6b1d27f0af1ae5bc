#!/bin/sh
# Keeps pizauth's token state in a file encrypted with openssl(1), and the file's key in the desktop's keyring by
# secret-tool(1): a keyring is made for short secrets, and a token state may be long.
#
# In pizauth.conf:
#   persist_cmd = "$HOME/.config/pizauth/secret-tool.sh persist";
#   restore_cmd = "$HOME/.config/pizauth/secret-tool.sh restore";
#
# While the keyring is locked, restore fails, and pizauth tries again when a token is asked for.
set -eu
umask 077

folder=${XDG_STATE_HOME:-$HOME/.local/state}/pizauth
state=$folder/state.keyring

# Sets key, which is empty where the keyring has none or is locked.
find_key() {
    key=$(secret-tool lookup application pizauth purpose state) || key=
}

# The key goes to openssl by a file descriptor: arguments can be seen by everybody.
crypt() {
    openssl enc "$1" -aes-256-cbc -pbkdf2 -pass fd:3 3<<END
$key
END
}

# Passes the state on, and fails where its last line is missing: then pizauth died while it wrote.
whole() {
    awk '{ print; last = $0 } END { exit last != "pizauth-dump end" }'
}

case ${1-} in
persist)
    mkdir -p "$folder"
    find_key
    if [ -z "$key" ]; then
        # A new key would not open the old state: the keyring must be unlocked first.
        [ ! -e "$state" ] || exit 1
        key=$(openssl rand -hex 32)
        printf %s "$key" | secret-tool store --label='pizauth token state' application pizauth purpose state
        new=$key
        find_key
        [ "$key" = "$new" ]
    fi
    # Beside the old state first: a save that fails half-way costs nothing. What is known of the input comes by a
    # descriptor of its own, since a pipe tells how its last command ended only.
    ended=$({ { whole && echo yes >&3; } | crypt -e >"$state.new"; } 3>&1)
    [ "$ended" = yes ]
    mv -f "$state.new" "$state"
    ;;
restore)
    # No file: nothing was saved yet. A file that cannot be read is a failure.
    [ -e "$state" ] || exit 0
    find_key
    [ -n "$key" ]
    crypt -d <"$state"
    ;;
*)
    echo "usage: $0 persist | restore" >&2
    exit 2
    ;;
esac

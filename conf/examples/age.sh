#!/bin/sh
# Keeps pizauth's token state in a file encrypted with age(1).
#
# Once:
#   mkdir -p -m 700 ~/.config/pizauth
#   age-keygen -o ~/.config/pizauth/age-key.txt
#   age-keygen -y ~/.config/pizauth/age-key.txt >~/.config/pizauth/age-recipient.txt
# In pizauth.conf:
#   persist_cmd = "$HOME/.config/pizauth/age.sh persist";
#   restore_cmd = "$HOME/.config/pizauth/age.sh restore";
#
# The key lies on the same disk, so this guards backups and copies of the state, not the disk. An SSH key works too:
# name it and its .pub file below.
set -eu
umask 077

key=${PIZAUTH_AGE_KEY:-$HOME/.config/pizauth/age-key.txt}
recipient=${PIZAUTH_AGE_RECIPIENT:-$HOME/.config/pizauth/age-recipient.txt}
folder=${XDG_STATE_HOME:-$HOME/.local/state}/pizauth
state=$folder/state.age

# Passes the state on, and fails where its last line is missing: then pizauth died while it wrote.
whole() {
    awk '{ print; last = $0 } END { exit last != "pizauth-dump end" }'
}

case ${1-} in
persist)
    mkdir -p "$folder"
    # Beside the old state first: a save that fails half-way costs nothing. What is known of the input comes by a
    # descriptor of its own, since a pipe tells how its last command ended only.
    ended=$({ { whole && echo yes >&3; } | age -e -R "$recipient" -o "$state.new"; } 3>&1)
    [ "$ended" = yes ]
    mv -f "$state.new" "$state"
    ;;
restore)
    # No file: nothing was saved yet. A file that cannot be read is a failure.
    [ -e "$state" ] || exit 0
    age -d -i "$key" "$state"
    ;;
*)
    echo "usage: $0 persist | restore" >&2
    exit 2
    ;;
esac

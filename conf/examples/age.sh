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

case ${1-} in
persist)
    mkdir -p "$folder"
    # Beside the old state first: a save that fails half-way costs nothing.
    age -e -R "$recipient" -o "$state.new"
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

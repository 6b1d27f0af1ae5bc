#!/bin/sh
# Installs the authorization servers that tests/real_servers.rs starts: oidc-provider by npm and Canaille by pip, with
# all that they need in the versions that package-lock.json and requirements.txt name.
#
#     tests/servers/install.sh
#
# They are kept in $PIZAUTH_CACHE, or ~/.cache/pizauth-tests, and are installed anew where the versions have changed.
# What cannot be installed is named and skipped; with CI=true that is a failure.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${PIZAUTH_CACHE:-$HOME/.cache/pizauth-tests}
mkdir -p "$cache"

# The server $1 cannot be had, for the reason that the log $2 ends with.
missing() {
	tail -n 5 "$2" >&2
	echo "skipped: no $1"
	if [ "${CI:-}" = true ]; then exit 1; fi
}

install_node() {
	cp "$here/package.json" "$here/package-lock.json" "$1/" && (cd "$1" && npm ci --ignore-scripts)
}

install_python() {
	python3 -m venv "$1" && "$1/bin/pip" install --requirement "$here/requirements.txt"
}

# Installs the server $1 into the folder $2 by the function $3, unless the versions in the file $4 are there.
server() {
	folder=$cache/$2
	if cmp -s "$here/$4" "$folder/installed"; then
		echo "$1: installed"
		return
	fi
	rm -rf "$folder"
	mkdir -p "$folder"
	if "$3" "$folder" >"$folder.log" 2>&1; then
		cp "$here/$4" "$folder/installed"
		echo "$1: installed"
	else
		missing "$1" "$folder.log"
	fi
}

server oidc-provider node install_node package-lock.json
server canaille python install_python requirements.txt

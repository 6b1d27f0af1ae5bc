#!/bin/sh
# Checks the man pages: no warning of mandoc's, and groff renders them without one.
set -eu

cd "$(dirname "$0")/.."

if command -v mandoc >/dev/null 2>&1; then
	mandoc -Tlint -Wwarning man/*.[1-9]
	echo 'mandoc: clean'
else
	echo 'skipped: no mandoc'
fi

if command -v groff >/dev/null 2>&1; then
	for page in man/*.[1-9]; do
		warnings=$(groff -mdoc -Tutf8 -ww "$page" 2>&1 >/dev/null)
		if [ -n "$warnings" ]; then
			echo "groff, $page: $warnings" >&2
			exit 1
		fi
		# A page that is cut short renders without a warning too.
		groff -mdoc -Tascii -P-cbou "$page" 2>/dev/null | grep -q '^CAVEATS' || {
			echo "groff: $page has no end" >&2
			exit 1
		}
	done
	echo 'groff: clean'
else
	echo 'skipped: no groff'
fi

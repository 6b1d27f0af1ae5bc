#!/bin/sh
# Fuzzes each target, or those that are named, for some seconds, two at a time; fails where one finds a fault.
#
#     tests/fuzz.sh SECONDS [TARGET...]
#
# It needs cargo and a C++ compiler. Coverage comes from the compiler's own pass, so that no other toolchain is wanted.
# What is built, learnt and found is kept in $PIZAUTH_FUZZ, or target/fuzz; the corpora in tests/fuzz are only read.
set -eu
cd "$(dirname "$0")/.."

seconds=${1:?how many seconds for each target?}
shift
work=${PIZAUTH_FUZZ:-${CARGO_TARGET_DIR:-$PWD/target}/fuzz}
mkdir -p "$work"
work=$(cd "$work" && pwd)
triple=$(rustc -vV | sed -n 's/^host: //p')

# Only what is built for $triple is watched: not build scripts and the compiler's plug-ins.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
	CARGO_TARGET_DIR=$work/build \
	cargo build --quiet --release --locked --manifest-path tests/fuzz/Cargo.toml --target "$triple"

if [ $# -eq 0 ]; then
	# shellcheck disable=SC2046 # The names have no blanks.
	set -- $(for file in tests/fuzz/src/bin/*.rs; do basename "$file" .rs; done)
fi

# Fuzzes target $1; its log ends with the figures, and its processor time is in another file.
fuzz() {
	mkdir -p "$work/corpus/$1" "$work/found/$1"
	status=0
	"$work/build/$triple/release/$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=4096 \
		-print_final_stats=1 -verbosity=1 -dict=tests/fuzz/dictionaries/"$1" -artifact_prefix="$work/found/$1/" \
		"$work/corpus/$1" tests/fuzz/corpus/"$1" >"$work/$1.log" 2>&1 || status=$?
	times >"$work/$1.time"
	return "$status"
}

# Waits for process $2, which fuzzes target $1, and tells how it went.
finish() {
	if wait "$2"; then
		coverage=$(sed -n 's/^#[0-9]*[[:space:]]*DONE[[:space:]]*\(cov: [0-9]*\).*/\1/p' "$work/$1.log")
		executions=$(sed -n 's/^stat::number_of_executed_units: //p' "$work/$1.log")
		processor=$(sed -n '2s/ .*//p' "$work/$1.time")
		echo "$1: $executions executions in $processor of processor time, $coverage"
	else
		tail -n 40 "$work/$1.log"
		echo "$1: a fault; the input is in $work/found/$1" >&2
		failed=1
	fi
}

failed=0
while [ $# -gt 0 ]; do
	first=$1
	shift
	fuzz "$first" &
	first_process=$!
	if [ $# -gt 0 ]; then
		second=$1
		shift
		fuzz "$second" &
		finish "$first" "$first_process"
		finish "$second" "$!"
	else
		finish "$first" "$first_process"
	fi
done
exit "$failed"

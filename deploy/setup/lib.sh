# Shared by the set-up scripts. Sourced, never run.
# Everything these scripts print goes to stderr: stdout carries answers (paths).

set -eu

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")" && while [ ! -f Cargo.lock ] && [ "$PWD" != / ]; do cd ..; done && pwd)
CACHE=${LONGSHORE_CACHE:-${HOME:-/root}/.cache/longshore}

# Debian keeps daemons in sbin, which a plain user's PATH lacks, and a shell
# that was open during rustup's installation does not know its folder yet.
PATH=$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:/usr/local/go/bin:/usr/sbin:/sbin
export PATH

say() { printf '%s\n' "longshore: $*" >&2; }
hint() { printf '%s\n' "  hint: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# at_least 1.88.0 1.88: true when the first version is not older.
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# with_lock NAME COMMAND...: one at a time among all processes of this machine
# that use the same cache. Without flock(1) the renames still keep it correct,
# and only the work may be done twice.
with_lock() {
    lock=$CACHE/$1.lock
    shift
    mkdir -p "$CACHE"
    if have flock; then
        (
            if ! flock -n 9; then
                say "another process holds $lock; waiting for it"
                flock 9
            fi
            "$@"
        ) 9>"$lock"
    else
        "$@"
    fi
}

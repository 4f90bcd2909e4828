#!/usr/bin/env bash
# Installs the benchmark's peers, all or those named, below target/peers: peers.sh [ws|uws|bun|...]
# One line per peer with its version; quick when there is nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."

node_dir=target/peers/node

install_node() {
    mkdir -p "$node_dir"
    # Copies, since Node resolves imports from where a symlink points to, and node_modules is not there.
    cp bench/peers/node/*.mjs "$node_dir/"
    # The stamp is written last, so that an interrupted install is done again.
    if ! cmp -s bench/peers/node/package.json "$node_dir/installed.json"; then
        cp bench/peers/node/package.json "$node_dir/"
        (cd "$node_dir" && npm install --no-package-lock --no-audit --no-fund --loglevel=error >&2)
        # The package `bun` is a placeholder until its postinstall script has run, which npm may be told to
        # leave out.
        "$node_dir/node_modules/.bin/bun" --version > /dev/null 2>&1 ||
            (cd "$node_dir/node_modules/bun" && node install.js >&2)
        cp bench/peers/node/package.json "$node_dir/installed.json"
    fi
}

node_version() {
    sed -n 's/^ *"version": *"\([^"]*\)".*/\1/p' "$node_dir/node_modules/$1/package.json" | head -n 1
}

install_rust() {
    cargo build --quiet --release --locked --manifest-path bench/peers/rust/Cargo.toml \
        --target-dir target/peers/rust --bin "$1"
}

rust_version() {
    sed -n "/^name = \"$1\"\$/{n;s/^version = \"\(.*\)\"/\1/p}" bench/peers/rust/Cargo.lock
}

[ $# -gt 0 ] || set -- ws uws bun tokio-tungstenite fastwebsockets
for name in "$@"; do
    case $name in
        ws) install_node; version=$(node_version ws) ;;
        uws) install_node; version=$(node_version @trufflesuite/uws-js-unofficial) ;;
        bun) install_node; version=$("$node_dir/node_modules/.bin/bun" --version) ;;
        tokio-tungstenite | fastwebsockets) install_rust "$name"; version=$(rust_version "$name") ;;
        *) echo "peers.sh: no peer is called $name" >&2; exit 2 ;;
    esac
    # What the tables will say is what is installed.
    grep -q "^version = \"${version%-unofficial.*}\"" "bench/peers/$name.toml" ||
        { echo "peers.sh: $name is $version, but bench/peers/$name.toml says otherwise" >&2; exit 1; }
    echo "$name $version"
done

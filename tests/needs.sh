#!/bin/sh
# What the fleet needs beside a Rust toolchain, installed from Debian where it is missing. As root. Sourced or run.
# Exit code 1 with the reason when something cannot be had.

needs() {
    missing=
    has() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
    has dockerd || missing="$missing docker.io"
    has ip || missing="$missing iproute2"
    has iptables || missing="$missing iptables"
    has sshd || missing="$missing openssh-server"
    has ssh-keygen || missing="$missing openssh-client"
    # Debian's other busybox needs a C library, which the image of the tests does not have.
    has busybox && ! ldd "$(command -v busybox)" >/dev/null 2>&1 || missing="$missing busybox-static"
    has openssl || missing="$missing openssl"
    has cc || missing="$missing gcc libc6-dev"
    # The SSH crate builds C code of its own, against the system's OpenSSL.
    has pkg-config && pkg-config --exists openssl || missing="$missing pkg-config libssl-dev"
    [ $# -eq 0 ] || for extra in "$@"; do has "${extra%%:*}" || missing="$missing ${extra#*:}"; done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || { echo "missing:$missing; run this as root, or install them" >&2; return 1; }
    command -v apt-get >/dev/null || { echo "missing:$missing; this is no Debian, so install them yourself" >&2; return 1; }
    echo "installing from Debian:$missing"
    # Only the programs are wanted: nothing is started, least of all an SSH server. (And where there is no init that could start
    # docker, its package would fail to install.)
    guard=
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        guard=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >$guard
        chmod +x $guard
    fi
    log=$(mktemp)
    # shellcheck disable=SC2086
    apt-get update >"$log" 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >>"$log" 2>&1
    outcome=$?
    [ $outcome = 0 ] || { tail -20 "$log" >&2; echo "apt-get could not install:$missing" >&2; }
    rm -f "$log" $guard
    return $outcome
}

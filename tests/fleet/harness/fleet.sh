#!/bin/sh
# The part of the fleet that is made of kernel objects: one bridge, and per host a network namespace, a veth pair and a
# process tree in namespaces of its own. mod.rs writes this file into the fleet's folder and calls it; so does the keeper,
# which takes the fleet away when its owner has ended, however that came about.
#
#   fleet.sh claim DIR            the bridge; fails when another fleet has the network
#   fleet.sh host-up DIR N        host N with sshd and dockerd; keeps its data when there was one
#   fleet.sh crash DIR N          every process of the host is gone at once, and its network with it
#   fleet.sh cut|heal DIR N       its cable
#   fleet.sh freeze|thaw DIR N    its dockerd, containerd and sshd
#   fleet.sh lose-daemon DIR N    dockerd alone is killed; fleet.sh daemon-up starts it again
#   fleet.sh keep DIR             waits for the end of its input, then `down`
#   fleet.sh down DIR             nothing of the fleet is left
#
# DIR/prefix, DIR/network (such as 10.96.1), DIR/dockerd (folder of the engine's binaries, or empty) say what is meant.
set -u
command=$1
dir=$2
number=${3:-}
prefix=$(cat "$dir/prefix")
network=$(cat "$dir/network")
host=$dir/h$number
space=$prefix-h$number

claim() {
    ip link add "$prefix" type bridge || exit 1
    ip addr add "$network.254/24" dev "$prefix" && ip link set "$prefix" up || exit 1
    # Where the machine's own dockerd made the kernel filter bridged packets, its policy would drop ours.
    iptables -w -I FORWARD -i "$prefix" -o "$prefix" -j ACCEPT 2>/dev/null || true
}

host_up() {
    # A crashed host's network goes away with its processes, as that of a machine would.
    drop_network
    ip netns add "$space" &&
        ip link add "$space" type veth peer name eth0 netns "$space" &&
        ip link set "$space" master "$prefix" up &&
        ip -n "$space" addr add "$network.$number/24" dev eth0 &&
        ip -n "$space" link set eth0 up &&
        ip -n "$space" link set lo up &&
        ip -n "$space" route add default via "$network.254" || exit 1
    rm -f "$host/pid" "$host/docker.sock"
    # Not `ip netns exec`: it remounts /sys and so hides the cgroups from dockerd. The process namespace is what makes a crash
    # exact: with its first process everything goes, containers and mounts too.
    setsid nsenter --net="/run/netns/$space" unshare --mount --uts --ipc --pid --fork --kill-child --propagation private \
        sh "$dir/fleet.sh" init "$dir" "$number" </dev/null >>"$host/log" 2>&1 &
}

# The first process of a host. It starts the daemons and takes in what they leave behind.
init() {
    # /proc is still the machine's here, so this is the number that others know this process by.
    read -r pid _ </proc/self/stat
    mount -t proc proc /proc
    hostname "h$number"
    sed 's/^root:[^:]*:/root:*:/' /etc/shadow >"$host/shadow" && mount --bind "$host/shadow" /etc/shadow
    mount -t tmpfs tmpfs /run
    mkdir -p /run/docker /run/lock /run/sshd
    # -D keeps it a child; the log is what the counts of connections come from.
    "$(command -v sshd || echo /usr/sbin/sshd)" -D -f "$host/sshd_config" -E "$host/sshd.log" &
    daemon &
    echo "$pid" >"$host/pid"
    while :; do
        wait
        sleep 1
    done
}

daemon() {
    engine=$(cat "$dir/dockerd")
    [ -z "$engine" ] || PATH=$engine:$PATH
    export DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1
    # shellcheck disable=SC2046
    exec dockerd --config-file "$dir/daemon.json" --data-root "$host/data" --exec-root /run/docker --pidfile /run/docker.pid \
        -H unix:///run/docker.sock -H "unix://$host/docker.sock" -H "tcp://$network.$number:2375" --tls=false \
        --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$space" --shutdown-timeout 1 \
        $(cat "$host/labels") >>"$host/dockerd.log" 2>&1
}

# The daemon's parent ends at once: one that waited for it would stop when it is frozen, never go on, and hold up the host's end.
daemon_up() {
    rm -f "$host/docker.sock"
    setsid nsenter --target "$(first_process)" --mount --uts --ipc --net --pid \
        sh -c 'sh "$0" daemon "$1" "$2" &' "$dir/fleet.sh" "$dir" "$number" </dev/null >>"$host/log" 2>&1
}

# The host's first process, if it lives: a number alone could belong to somebody else by now.
first_process() {
    pid=$(cat "$host/pid" 2>/dev/null) || return 1
    [ -e "/run/netns/$space" ] || return 1
    [ "$(readlink "/proc/$pid/ns/net" 2>/dev/null)" = "net:[$(stat -L -c %i "/run/netns/$space")]" ] || return 1
    echo "$pid"
}

# Processes of the host proper, its containers' not among them, whose names are given.
processes() {
    first=$(first_process) || return 0
    inside=$(readlink "/proc/$first/ns/pid")
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/ns/pid" 2>/dev/null)" = "$inside" ] || continue
        name=$(cat "$process/comm" 2>/dev/null)
        case " $* " in *" $name "*) echo "${process#/proc/}" ;; esac
    done
}

signal() {
    what=$1
    shift
    found=$(processes "$@")
    # shellcheck disable=SC2086
    [ -z "$found" ] || kill "-$what" $found 2>/dev/null || true
}

crash() {
    if first=$(first_process); then
        kill -KILL "$first" 2>/dev/null
        # The kernel ends every process of the namespace before the first one is gone.
        count=0
        while [ -e "/proc/$first" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$first/status" 2>/dev/null; do
            count=$((count + 1))
            [ $count -lt 1200 ] || { echo "host $space did not end within two minutes" >&2; break; }
            sleep 0.1
        done
    fi
    rm -f "$host/pid" "$host/docker.sock"
    drop_network
}

drop_network() {
    ip link del "$space" 2>/dev/null
    ip netns del "$space" 2>/dev/null
    return 0
}

down() {
    for host in "$dir"/h[0-9]*; do
        [ -d "$host" ] || continue
        number=${host##*/h}
        space=$prefix-h$number
        crash
        # Children first; a hierarchy that is busy or not there is of no interest.
        find /sys/fs/cgroup -depth -type d -path "*/$space*" -exec rmdir {} + 2>/dev/null
    done
    iptables -w -D FORWARD -i "$prefix" -o "$prefix" -j ACCEPT 2>/dev/null
    ip link del "$prefix" 2>/dev/null
    rm -rf "$dir"
}

case $command in
claim) claim ;;
host-up) host_up ;;
init) init ;;
daemon) daemon ;;
daemon-up) daemon_up ;;
crash) crash ;;
cut) ip link set "$space" down ;;
heal) ip link set "$space" up ;;
freeze) signal STOP dockerd containerd sshd sshd-session ;;
thaw) signal CONT dockerd containerd sshd sshd-session ;;
lose-daemon) signal KILL dockerd ;;
keep)
    trap '' INT TERM HUP
    while read -r _; do :; done
    down
    ;;
down) down ;;
*)
    echo "fleet.sh: no such command: $command" >&2
    exit 2
    ;;
esac

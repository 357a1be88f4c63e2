#!/usr/bin/env bash
# Builds both programs and shows the main job on this one machine, in network namespaces that stand for the WSL VM, Windows
# and a computer on the local network. Nothing of it is left afterwards. Ends with an error if anything that it claims
# did not happen.
set -euo pipefail

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
fail() {
    printf '\n%sThe demo failed: %s%s\n' "$bold" "$*" "$plain" >&2
    tail -n 20 /run/demo/*.log 2>/dev/null >&2 || true
    exit 1
}
bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi

outside() {
    cd "$(dirname "$0")/.."
    local tool missing=()
    for tool in ip:iproute2 python3:python3 curl:curl unshare:util-linux; do
        command -v "${tool%:*}" >/dev/null || missing+=("${tool#*:}")
    done
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    command -v cargo >/dev/null || fail "it builds with cargo, which is not on the PATH: see https://rustup.rs"
    if [ ${#missing[@]} -gt 0 ]; then
        echo "The demo needs: ${missing[*]}"
        if [ "$(id -u)" != 0 ]; then fail "please run: sudo apt-get install ${missing[*]}"; fi
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    fi

    say "Building wslnetd and wslnet-companion"
    cargo build --locked --bins
    local bin=${CARGO_TARGET_DIR:-target}/debug
    local apart=(unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private)
    if [ "$(id -u)" != 0 ]; then
        if "${apart[@]}" --map-root-user true 2>/dev/null; then
            apart+=(--map-root-user)
        elif command -v sudo >/dev/null; then
            echo "This system does not let users make namespaces, so sudo is needed."
            apart=(sudo "${apart[@]}")
        else
            fail "it needs namespaces; please run it as root"
        fi
    fi
    # What starts in there ends with it, and its files are in memory.
    exec "${apart[@]}" "$0" --inside "$(realpath "$bin")"
}

# Runs a command on one of the three machines.
on() {
    local machine=$1
    shift
    nsenter --net="/run/netns/$machine" "$@"
}

# Shows a command as one would type it, and runs it.
show() {
    local machine=$1
    shift
    printf '  %s$ %s\n' "$machine" "$*"
    case $1 in
        wslnetd) on "$machine" "$@" "${daemon_files[@]}" ;;
        wslnet-companion) on "$machine" "$@" "${companion_files[@]}" ;;
        *) on "$machine" "$@" ;;
    esac | sed 's/^/    /'
}

# Waits up to ten seconds for something to hold.
until_holds() {
    local tries=500
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ $tries = 0 ]; then fail "never happened: $*"; fi
        sleep 0.02
    done
}
reachable() { on lan curl --silent --fail --max-time 2 --noproxy '*' "http://192.168.50.1:8000/"; }
# A refused connection is 7; anything else proves nothing.
closed() {
    local code=0
    reachable || code=$?
    [ $code = 7 ]
}
connected() { on vm wslnetd status --json "${daemon_files[@]}" | grep -q '"connected"'; }
listed() { on vm wslnetd list --json "${daemon_files[@]}" | grep -q '"port"'; }
forgotten() { ! listed; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }

make_networks() {
    mount -t tmpfs tmpfs /run
    mkdir -p /run/netns /run/demo/vm /run/demo/windows
    local machine
    for machine in vm windows lan; do
        ip netns add "$machine"
        on "$machine" ip link set lo up
    done
    on windows ip link add wsl0 type veth peer name eth0 netns vm
    on windows ip link add lan0 type veth peer name eth0 netns lan
    on windows ip addr add 172.28.0.1/20 dev wsl0
    on windows ip addr add 192.168.50.1/24 dev lan0
    on windows ip link set wsl0 up
    on windows ip link set lan0 up
    on vm ip addr add 172.28.0.2/20 dev eth0
    on vm ip link set eth0 up
    on vm ip route add default via 172.28.0.1
    on lan ip addr add 192.168.50.2/24 dev eth0
    on lan ip link set eth0 up
}

inside() {
    PATH=$1:$PATH
    daemon_files=(--config /run/demo/vm/config.toml --state-dir /run/demo/vm/state --run-dir /run/demo/vm/run)
    companion_files=(--config /run/demo/windows/companion.toml --state-dir /run/demo/windows/state --run-dir /run/demo/windows/run)
    make_networks
    mkdir /run/demo/vm/run /run/demo/windows/run
    # Only outside of WSL must the networking mode be said.
    echo 'network-mode = "nat"' >/run/demo/vm/config.toml
    : >/run/demo/windows/companion.toml

    cat <<'PICTURE'

      vm (a WSL distro)              windows                    lan (somebody's laptop)
      wslnetd                        wslnet-companion           curl
      172.28.0.2  ────────────────  172.28.0.1 │ 192.168.50.1  ────────────────  192.168.50.2
PICTURE

    say "1. The two programs learn each other's public keys, and start."
    local key
    key=$(on vm wslnetd key "${daemon_files[@]}")
    show windows wslnet-companion trust demo "$key"
    key=$(on windows wslnet-companion key "${companion_files[@]}")
    show vm wslnetd trust "$key"
    on windows wslnet-companion run --listen 172.28.0.1:9756 "${companion_files[@]}" >/run/demo/companion.log 2>&1 &
    on vm wslnetd run "${daemon_files[@]}" >/run/demo/wslnetd.log 2>&1 &
    until_holds connected
    show vm wslnetd status
    closed || fail "port 8000 is not closed before anything listens"

    say "2. Somebody starts a web server in the VM. Nobody configures anything."
    echo '  vm$ python3 -m http.server 8000 &'
    mkdir /run/demo/site
    echo 'hello from the VM' >/run/demo/site/index.html
    nsenter --net=/run/netns/vm python3 -m http.server --directory /run/demo/site 8000 >/run/demo/server.log 2>&1 &
    local server=$! start
    until_holds on vm curl --silent --fail --noproxy '*' http://127.0.0.1:8000/
    start=$(now_ms)
    until_holds reachable
    echo "  Reachable from the local network $(($(now_ms) - start)) ms after it answered in the VM:"
    show lan curl --silent --noproxy '*' http://192.168.50.1:8000/
    [ "$(reachable)" = 'hello from the VM' ] || fail "another page came"
    show vm wslnetd list
    show windows wslnet-companion list

    say "3. It should stay private after all: one line in the config."
    printf 'network-mode = "nat"\nopt-out = ["process=python3,port=8000"]\n' >/run/demo/vm/config.toml
    echo "  vm\$ echo 'opt-out = [\"process=python3,port=8000\"]' >> /etc/wslnetd/config.toml"
    show vm wslnetd reload
    until_holds closed
    echo '  The local network gets no connection any more. Why?'
    show vm wslnetd explain 8000

    say "4. And back; then the server stops, and its port closes with it."
    echo 'network-mode = "nat"' >/run/demo/vm/config.toml
    show vm wslnetd reload
    until_holds reachable
    echo '  Reachable again.'
    kill "$server"
    start=$(now_ms)
    until_holds closed
    echo "  Closed $(($(now_ms) - start)) ms after the server was stopped."
    until_holds forgotten
    show vm wslnetd list

    say "All of it happened. The namespaces and everything in them are gone now."
}

case ${1:-} in
    '') outside ;;
    --inside) inside "$2" ;;
    *)
        sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"
        case $1 in -h | --help) exit 0 ;; *) exit 2 ;; esac
        ;;
esac

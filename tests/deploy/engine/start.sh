#!/bin/sh
# Starts a Docker Engine from Debian packages, without installing it, and makes the base images of docker-compose.yml
# from Debian packages too: no image registry is needed. As root, on Debian 12 or newer with mmdebstrap, runc, iptables.
#
#   start.sh SUITE FOLDER     SUITE: trixie (Engine 26, classic image store), sid (Engine 28, containerd image store), or
#                             bookworm (Engine 20, which is too old, and is started without client and images)
#
# FOLDER keeps everything; its file `path` is what to put before PATH, `dockerd.pid` the engine to stop.
set -eu
suite=$1
here=$(dirname "$(realpath "$0")")
mkdir -p "$2/lists/partial" "$2/packages" "$2/root"
cd "$2"
mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources)

unpack_engine() {
    cat >suite.sources <<END
Types: deb
URIs: $mirror
Suites: $suite
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
    : >status
    # A mirror may lag behind; signatures are checked all the same.
    set -- -qq -o Acquire::Check-Valid-Until=false -o Dir::Etc::sourcelist="$PWD/suite.sources" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$PWD/lists" -o Dir::State::status="$PWD/status" -o APT::Sandbox::User=root
    apt-get "$@" update
    client="docker-cli docker-compose docker-buildx"
    [ "$suite" != bookworm ] || client=
    # shellcheck disable=SC2086  several words
    (cd packages && apt-get "$@" download docker.io containerd tini $client)
    for package in packages/*.deb; do dpkg-deb --extract "$package" root; done
    # The runc of newer suites needs a newer C library than Debian 12 has.
    ln -sf "$(command -v runc)" root/usr/sbin/runc
}

start_engine() {
    features=
    [ "$suite" != sid ] || features="--feature containerd-snapshotter=true"
    init=root/usr/bin/tini-static
    [ -e "$init" ] || init=root/usr/bin/tini
    # Its own folders and socket: another engine on this machine is left alone.
    # shellcheck disable=SC2086  several words
    setsid dockerd $features --data-root "$PWD/data" --exec-root "$PWD/run" --pidfile "$PWD/dockerd.pid" \
        --host "unix://$PWD/docker.sock" --init-path "$PWD/$init" >dockerd.log 2>&1 &
    for _ in $(seq 60); do
        docker version >/dev/null 2>&1 && return
        sleep 1
    done
    tail -20 dockerd.log >&2
    exit 1
}

image() { # TAG FOLDER [PACKAGE...]: base:debian with packages and the lines of FOLDER/Dockerfile
    tag=$1 folder=$2
    shift 2
    mkdir -p "build/$folder"
    [ ! -d "$here/$folder" ] || cp "$here/$folder"/* "build/$folder/"
    {
        echo "FROM base:debian"
        [ $# = 0 ] || echo "RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends $* && rm -rf /var/lib/apt/lists/*"
        cat "$here/$folder.Dockerfile"
    } >"build/$folder/Dockerfile"
    docker build --quiet --tag "$tag" "build/$folder" >/dev/null
}

make_images() {
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,netbase,tzdata trixie - "$mirror" |
        docker import - base:debian >/dev/null
    mkdir -p build/python
    cp /etc/ssl/certs/ca-certificates.crt build/python/
    cp /etc/pip.conf build/python/ 2>/dev/null || : >build/python/pip.conf
    image python:3.13-slim python python3.13 python3.13-venv
    image valkey/valkey:8.1 valkey valkey-server valkey-tools
    image postgres:17 postgres postgresql-17
    image prom/prometheus:v3.5.0 prometheus prometheus
    image prom/alertmanager:v0.28.1 alertmanager prometheus-alertmanager
    # Debian has no packages of these two: their containers only sleep.
    image grafana/grafana:11.6.0 sleeping
    image jaegertracing/jaeger:2.10.0 sleeping
}

[ -x root/usr/sbin/dockerd ] || unpack_engine
DOCKER_CONFIG=$PWD/config DOCKER_HOST=unix://$PWD/docker.sock PATH=$PWD/root/usr/bin:$PWD/root/usr/sbin:$PATH
export DOCKER_CONFIG DOCKER_HOST PATH
mkdir -p config/cli-plugins
[ "$suite" = bookworm ] || cp root/usr/libexec/docker/cli-plugins/* config/cli-plugins/
start_engine
[ "$suite" = bookworm ] || [ -e images.done ] || make_images
touch images.done

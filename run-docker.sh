#!/usr/bin/env bash
# Run AaronNet's commands in a container: ./run-docker.sh VERB [ARGUMENTS]
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: ./run-docker.sh VERB [ARGUMENTS]

  train, prune, test, cost (or score), export, quantize, report, data, zoo, demo, doctor
                as `aaronnet VERB`, in the image aaronnet-train
  build, simulate, synth, boards
                as `aaronnet VERB`, in aaronnet-finn, with the host's Xilinx tools if there are any
  deploy, board
                as `aaronnet VERB`, in aaronnet-board; `board serve` answers on 127.0.0.1:7967
  notebook      JupyterLab on http://127.0.0.1:8888, in aaronnet-board
  shell [train|finn|board] [ARGUMENTS OF bash]
                a shell in the container, by default in aaronnet-train
  image [train|finn|board] [OPTIONS OF docker build]
                build one image, or all three; the other verbs build a missing one

The current folder is mounted as /workspace and is where commands start, so relative paths work and
results stay yours. Environment:

  AARONNET_DATA        folder with data files, mounted read-only as /data
  AARONNET_CACHE       folder for caches and built simulators (default: ~/.cache/aaronnet/docker)
  AARONNET_GPU         what to pass to `docker run --gpus`, or none (default: all, where nvidia-smi
                       answers)
  AARONNET_IMAGE       image to take instead of aaronnet-train, -finn or -board
  AARONNET_PORT        port of the notebook (default: 8888)
  FINN_XILINX_PATH     folder of the host's Xilinx tools, mounted read-only under the same path
  FINN_XILINX_VERSION  their version, such as 2022.2
  XILINXD_LICENSE_FILE their licence: PORT@SERVER, or a file
TEXT
}

fail() {
    echo "run-docker.sh: $1" >&2
    exit 2
}

absolute() {
    [ -d "$2" ] || fail "$1=$2 is no folder"
    (cd "$2" && pwd)
}

build_image() { # KIND TAG [OPTIONS OF docker build]
    # What a command prints may be piped on: the build's output does not belong there.
    docker build --tag "$2" --file "$here/docker/Dockerfile.$1" "${@:3}" "$here" >&2
}

mount_xilinx() {
    local root version=${FINN_XILINX_VERSION:-} licence=${XILINXD_LICENSE_FILE:-}
    root=$(absolute FINN_XILINX_PATH "$FINN_XILINX_PATH")
    [ -n "$version" ] || fail "FINN_XILINX_VERSION is not set; set it to the version in $root, such as 2022.2"
    [ -d "$root/Vivado/$version" ] || [ -d "$root/$version/Vivado" ] ||
        fail "there is no Vivado $version in FINN_XILINX_PATH=$root"
    options+=(--volume "$root:$root:ro" --env "FINN_XILINX_PATH=$root" --env "FINN_XILINX_VERSION=$version")
    if [ -n "$licence" ]; then
        if [ -f "$licence" ]; then
            licence=$(realpath "$licence")
            options+=(--volume "$licence:$licence:ro")
        fi
        options+=(--env "XILINXD_LICENSE_FILE=$licence")
    fi
}

verb=${1:---help}
[ $# -gt 0 ] && shift
case "$verb" in
-h | --help | help)
    usage
    exit 0
    ;;
train | prune | test | cost | export | quantize | report | data | zoo | demo | doctor) kind=train command=("$verb") ;;
score) kind=train command=(cost) ;;
build | simulate | synth | boards) kind=finn command=("$verb") ;;
deploy | board) kind=board command=("$verb") ;;
notebook) kind=board command=() ;;
shell | image)
    kind=${verb/shell/train} command=()
    case "${1:-}" in
    train | finn | board)
        kind=$1
        shift
        ;;
    esac
    ;;
*) fail "unknown verb '$verb'; ./run-docker.sh --help lists them" ;;
esac

command -v docker >/dev/null || fail "docker is not installed; install Docker Engine, or use 'make setup' and '.venv/bin/aaronnet' instead"
docker info >/dev/null 2>&1 || fail "the Docker daemon does not answer; start it (systemctl start docker) or join the docker group"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ "$verb" = image ]; then
    if [ "$kind" != image ]; then
        build_image "$kind" "${AARONNET_IMAGE:-aaronnet-$kind}" "$@"
    else
        for kind in train finn board; do
            build_image "$kind" "aaronnet-$kind" "$@"
        done
    fi
    exit 0
fi

image=${AARONNET_IMAGE:-aaronnet-$kind}
options=(--rm --init --user "$(id -u):$(id -g)" --env HOME=/tmp)
options+=(--volume "$PWD:/workspace" --workdir /workspace)
# Lightning's worker processes hand tensors over through shared memory; Docker's 64 MB are too few.
options+=(--shm-size 1g)
[ -t 0 ] && [ -t 1 ] && options+=(--interactive --tty)

if [ -n "${AARONNET_DATA:-}" ]; then
    data=$(absolute AARONNET_DATA "$AARONNET_DATA")
    options+=(--volume "$data:/data:ro")
fi
cache=${AARONNET_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/aaronnet/docker}
mkdir -p "$cache" 2>/dev/null || fail "cannot create the folder for caches $cache; name another one in AARONNET_CACHE"
cache=$(absolute AARONNET_CACHE "$cache")
options+=(--volume "$cache:/cache" --env AARONNET_CACHE=/cache --env XDG_CACHE_HOME=/cache)
if [ "${AARONNET_GPU:-}" = none ]; then
    :
elif [ -n "${AARONNET_GPU:-}" ]; then
    options+=(--gpus "$AARONNET_GPU")
elif command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then
    options+=(--gpus all)
fi
[ "$kind" != finn ] || [ -z "${FINN_XILINX_PATH:-}" ] || mount_xilinx

# In a container, 127.0.0.1 is the container: services listen on all of its addresses, and Docker
# lets only the host's 127.0.0.1 in.
case "$verb ${1:-}" in
"board serve")
    shift
    command+=(serve --address 0.0.0.0)
    options+=(--publish 127.0.0.1:7967:7967)
    ;;
notebook*)
    port=${AARONNET_PORT:-8888}
    command=(lab --no-browser --ip 0.0.0.0 --port "$port")
    options+=(--publish "127.0.0.1:$port:$port" --entrypoint jupyter)
    ;;
shell*)
    if [ "$kind" = finn ]; then
        command=(bash)
        options+=(--entrypoint /opt/aaronnet/docker/with-xilinx.sh)
    else
        options+=(--entrypoint bash)
    fi
    ;;
esac

docker image inspect "$image" >/dev/null 2>&1 || build_image "$kind" "$image"
exec docker run "${options[@]}" "$image" ${command[@]+"${command[@]}"} "$@"

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
  AARONNET_GPU         what `docker run --gpus` gets (all, a number, device=ID), or none (default:
                       all, where nvidia-smi answers)
  AARONNET_IMAGE       image to take instead of aaronnet-train, -finn or -board
  AARONNET_PORT        port of the notebook (default: 8888)
  FINN_XILINX_PATH     folder of the host's Xilinx tools, mounted read-only under the same path
  FINN_XILINX_VERSION  their version, such as 2022.2
  XILINXD_LICENSE_FILE their licence: PORT@SERVER or a file, or several with colons between
TEXT
}

fail() {
    echo "run-docker.sh: $1" >&2
    exit 2
}

checked() { # NAME VALUE PATTERN WHAT: the whole value matches
    [[ $2 =~ ^($3)$ ]] || fail "$1=$(printf %q "$2") is not $4"
}

# Docker's --volume takes colons for its own.
mountable() { # WHAT PATH
    case "$2" in
    *[:$'\n\r']*) fail "Docker cannot mount $1=$(printf %q "$2"): its path has a colon or a line break" ;;
    esac
}

absolute() { # NAME PATH: neither resolves links (Xilinx's scripts name their own folder) nor asks CDPATH
    local path=$2
    [[ $path = /* ]] || path=$PWD/$path
    mountable "$1" "$path"
    [ -d "$path" ] || fail "$1=$2 is no folder"
    (cd "$path" 2>/dev/null && pwd) || fail "$1=$2 cannot be entered; name a folder that you may read"
}

build_image() { # KIND TAG [OPTIONS OF docker build]
    # What a command prints may be piped on: the build's output does not belong there.
    docker build --tag "$2" --file "$here/docker/Dockerfile.$1" "${@:3}" "$here" >&2
}

mount_xilinx() {
    local root part parts licence='' version=${FINN_XILINX_VERSION:-}
    root=$(absolute FINN_XILINX_PATH "$FINN_XILINX_PATH")
    [ -n "$version" ] || fail "FINN_XILINX_VERSION is not set; set it to the version in $root, such as 2022.2"
    checked FINN_XILINX_VERSION "$version" '[0-9]+([.][0-9]+)+' "a version such as 2022.2"
    [ -d "$root/Vivado/$version" ] || [ -d "$root/$version/Vivado" ] ||
        fail "there is no Vivado $version in FINN_XILINX_PATH=$root"
    options+=(--volume "$root:$root:ro" --env "FINN_XILINX_PATH=$root" --env "FINN_XILINX_VERSION=$version")
    # The licence manager takes several, with colons between them.
    mapfile -d : -t parts < <(printf %s "${XILINXD_LICENSE_FILE:-}")
    for part in ${parts[@]+"${parts[@]}"}; do
        if [ -e "$part" ]; then
            part=$(realpath -- "$part")
            mountable XILINXD_LICENSE_FILE "$part"
            options+=(--volume "$part:$part:ro")
        else
            checked XILINXD_LICENSE_FILE "$part" '[0-9]*@[A-Za-z0-9._-]+' "a file that exists or PORT@SERVER"
        fi
        licence+=${licence:+:}$part
    done
    [ -z "$licence" ] || options+=(--env "XILINXD_LICENSE_FILE=$licence")
}

unset CDPATH # with it, cd prints where it went, and may go elsewhere
if [ $# = 0 ]; then
    usage >&2
    exit 2
fi
verb=$1
shift
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
*) fail "unknown verb $(printf %q "$verb"); ./run-docker.sh --help lists them" ;;
esac
if [ "$verb" = image ] && [ $# -gt 0 ] && [[ $1 != -* ]]; then
    fail "unknown image $(printf %q "$1"); there are train, finn and board"
fi
if [ -n "${AARONNET_IMAGE:-}" ]; then
    # A dash in front would make it an option of docker.
    checked AARONNET_IMAGE "$AARONNET_IMAGE" '[A-Za-z0-9][A-Za-z0-9._/:@-]*' "the name of an image"
    [ "$kind" != image ] || fail "AARONNET_IMAGE names one image, and 'image' builds three; say which: train, finn or board"
fi

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
mountable "the current folder" "$PWD"
options+=(--volume "$PWD:/workspace" --workdir /workspace)
# Lightning's worker processes hand tensors over through shared memory; Docker's 64 MB are too few.
options+=(--shm-size 1g)
[ -t 0 ] && [ -t 1 ] && options+=(--interactive --tty)

if [ -n "${AARONNET_DATA:-}" ]; then
    data=$(absolute AARONNET_DATA "$AARONNET_DATA")
    options+=(--volume "$data:/data:ro")
fi
cache=${AARONNET_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/aaronnet/docker}
mountable AARONNET_CACHE "$cache"
mkdir -p -- "$cache" 2>/dev/null || fail "cannot create the folder for caches $cache; name another one in AARONNET_CACHE"
cache=$(absolute AARONNET_CACHE "$cache")
options+=(--volume "$cache:/cache" --env AARONNET_CACHE=/cache --env XDG_CACHE_HOME=/cache)
if [ "${AARONNET_GPU:-}" = none ]; then
    :
elif [ -n "${AARONNET_GPU:-}" ]; then
    checked AARONNET_GPU "$AARONNET_GPU" 'all|[0-9]+|"?[a-z]+=[A-Za-z0-9=,_-]+"?' "all, none, a number or device=ID"
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
    [[ " $* " != *" --address"* ]] || fail "leave --address out: a board in a container answers on 127.0.0.1:7967"
    command+=(serve --address 0.0.0.0)
    options+=(--publish 127.0.0.1:7967:7967)
    ;;
notebook*)
    port=${AARONNET_PORT:-8888}
    checked AARONNET_PORT "$port" '[1-9][0-9]{0,4}' "a port from 1 to 65535"
    [ "$port" -le 65535 ] || fail "AARONNET_PORT=$port is not a port from 1 to 65535"
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

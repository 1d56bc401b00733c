#!/usr/bin/env bash
# Run AaronNet's commands in a container: ./run-docker.sh VERB [OPTIONS OF THE COMMAND]
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: ./run-docker.sh VERB [ARGUMENTS]

Verbs   demo, train, prune, test, cost (or score), export, build, report, data: as `aaronnet VERB`
        shell: a shell in the container
        image: build the image and stop

The current folder is mounted as /workspace and is where commands start, so relative paths work and
results stay yours. Environment:

  AARONNET_DATA   folder with data files, mounted read-only as /data
  AARONNET_IMAGE  image name (default: aaronnet-train)
  AARONNET_GPU    what to pass to `docker run --gpus` (default: all, where nvidia-smi is found)
TEXT
}

fail() {
    echo "run-docker.sh: $1" >&2
    exit 2
}

image=${AARONNET_IMAGE:-aaronnet-train}
verb=${1:---help}
[ $# -gt 0 ] && shift

case "$verb" in
-h | --help | help)
    usage
    exit 0
    ;;
score) command=(cost) ;;
demo | train | prune | test | cost | export | build | report | data) command=("$verb") ;;
shell | image) command=() ;;
*) fail "unknown verb '$verb'; ./run-docker.sh --help lists them" ;;
esac

command -v docker >/dev/null || fail "docker is not installed; install Docker Engine, or use 'make setup' and '.venv/bin/aaronnet' instead"
docker info >/dev/null 2>&1 || fail "the Docker daemon does not answer; start it (systemctl start docker) or join the docker group"
if [ -n "${AARONNET_DATA:-}" ] && [ ! -d "$AARONNET_DATA" ]; then
    fail "AARONNET_DATA=$AARONNET_DATA is no folder"
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ "$verb" = image ] || ! docker image inspect "$image" >/dev/null 2>&1; then
    docker build --tag "$image" --file "$here/docker/Dockerfile.train" "$here"
fi
[ "$verb" = image ] && exit 0

options=(--rm --user "$(id -u):$(id -g)" --env HOME=/tmp --volume "$PWD:/workspace" --workdir /workspace)
# Lightning's worker processes hand tensors over through shared memory; Docker's 64 MB are too few.
options+=(--shm-size 1g)
[ -t 0 ] && [ -t 1 ] && options+=(--interactive --tty)
[ -n "${AARONNET_DATA:-}" ] && options+=(--volume "$(cd "$AARONNET_DATA" && pwd):/data:ro")
if [ -n "${AARONNET_GPU:-}" ]; then
    options+=(--gpus "$AARONNET_GPU")
elif command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then
    options+=(--gpus all)
fi
[ "$verb" = shell ] && options+=(--entrypoint bash)

exec docker run "${options[@]}" "$image" ${command[@]+"${command[@]}"} "$@"

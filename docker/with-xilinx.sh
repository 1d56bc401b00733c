#!/usr/bin/env bash
# Run a command with the host's Xilinx tools on the PATH, where run-docker.sh has mounted them.
if [ -n "${FINN_XILINX_PATH:-}" ]; then
    found=
    for tool in Vivado Vitis_HLS Vitis; do
        # Since 2025.1 the version stands above the tools.
        for folder in "$FINN_XILINX_PATH/$tool/$FINN_XILINX_VERSION" "$FINN_XILINX_PATH/$FINN_XILINX_VERSION/$tool"; do
            [ -f "$folder/settings64.sh" ] || continue
            # shellcheck source=/dev/null
            source "$folder/settings64.sh"
            found+=" $tool"
        done
    done
    if [ -z "$found" ]; then
        echo "with-xilinx.sh: no settings64.sh of version '$FINN_XILINX_VERSION' in $FINN_XILINX_PATH" >&2
        exit 2
    fi
    # As in FINN's script, against a fault of the licence manager in containers.
    library=/lib/x86_64-linux-gnu/libudev.so.1
    [ -f "$library" ] && export LD_PRELOAD=$library
fi
exec "$@"

#!/usr/bin/env bash
# Usage: prepare_data.sh CONFIG [--preview | --shard I/N] [--override "KEY=VALUE ..."]... [--debug]
# Turns recordings into a frame cache on scratch and project storage.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"

[[ $# -ge 1 && $1 != -* ]] || usage 2 >&2
config=$(absolute_config "$1")
shift
run_python "$repository/prepare_data.py" "$config" "$@"

#!/usr/bin/env bash
# Usage: prepare_data.sh CONFIG [--inspect | --preview | --shard I/N] [--override "KEY=VALUE ..."]... [--debug]
# Turns recordings into a frame cache on scratch and project storage.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"
answer_help prepare_data.py "$@"

[[ $# -ge 1 && $1 != -* ]] ||
  misused "a CONFIG comes first, such as: ./prepare_data.sh configs/prepare_nmnist.yaml"
config=$(absolute_config "$1")
shift
run_python "$repository/prepare_data.py" "$config" "$@"

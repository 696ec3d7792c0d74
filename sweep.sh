#!/usr/bin/env bash
# Usage: sweep.sh SWEEP.yaml [--parallel=N | --slurm | --table] [--debug]
# Trains a grid, random draws or variants of a config with several seeds, and makes one table of all.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"

[[ $# -ge 1 && $1 != -* ]] || usage 2 >&2
config=$(absolute_config "$1")
shift
run_python "$repository/sweep.py" "$config" "$@"

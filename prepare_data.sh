#!/usr/bin/env bash
# Usage: prepare_data.sh CONFIG [--override "KEY=VALUE ..."]... [--debug]
# Turns recordings into a frame cache on scratch and project storage.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"

if [[ $# -lt 1 || $1 == -* ]]; then
  sed -n '2,3s/^# //p' "$repository/prepare_data.sh" >&2
  exit 2
fi
config=$(absolute_config "$1")
shift
run_python "$repository/prepare_data.py" "$config" "$@"

#!/usr/bin/env bash
# Usage: status.sh [JOB_ID]...
# Shows where jobs are, from their files on scratch and project storage: step, epoch, accuracy, last checkpoint.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"

run_python "$repository/status.py" "$@"

#!/usr/bin/env bash
# Usage: check_and_sync_data.sh [--fast] [--dry-run] [--dataset NAME] [--prune] [--debug]
# Verifies every frame cache on scratch and project storage and copies valid ones to where they are missing or damaged.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"
answer_help check_and_sync_data.py "$@"

run_python "$repository/check_and_sync_data.py" "$@"

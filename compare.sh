#!/usr/bin/env bash
# Usage: compare.sh JOB_ID... [--debug]
# Compares jobs in one table and one chart, which it also writes to logs on project storage.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"

[[ $# -ge 1 && $1 != -* ]] || usage 2 >&2
run_python "$repository/compare.py" "$@"

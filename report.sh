#!/usr/bin/env bash
# Usage: report.sh JOB_ID [--debug]
# Writes the job's report, report.html and plots in its logs, from the files that the job has left.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"

[[ $# -ge 1 && $1 != -* ]] || usage 2 >&2
run_python "$repository/report.py" "$@"

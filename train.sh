#!/usr/bin/env bash
# Usage: train.sh CONFIG JOB_ID [--resume | --restart] [--override "KEY=VALUE ..."]... [--debug]
# Trains one job; the README says what it leaves where.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"

if [[ $# -lt 2 || $1 == -* || $2 == -* ]]; then
  sed -n '2,3s/^# //p' "$repository/train.sh" >&2
  exit 2
fi
config=$(absolute_config "$1")
job_id=$2
shift 2
run_python "$repository/main.py" "$config" --job_id="$job_id" "$@"

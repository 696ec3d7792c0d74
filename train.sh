#!/usr/bin/env bash
# Usage: train.sh CONFIG JOB_ID [--resume | --restart | --evaluate [--split=NAME] [--model=NAME]] [--nproc=N] [--override "KEY=VALUE ..."]... [--debug]
# Trains one job, or evaluates a model that it has saved; `train.sh --explain [KEY]` says what the options of a CONFIG are.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"

[[ ${1:-} != --explain ]] || run_python "$repository/main.py" "$@"
[[ $# -ge 2 && $1 != -* && $2 != -* ]] || usage 2 >&2
config=$(absolute_config "$1")
job_id=$2
shift 2
run_python "$repository/main.py" "$config" --job_id="$job_id" "$@"

#!/usr/bin/env bash
# Usage: train.sh CONFIG JOB_ID [--resume | --restart | --evaluate [--split=NAME] [--model=NAME]] [--nproc=N]
#                 [--override "KEY=VALUE ..."]... [--debug]
#        train.sh --explain [KEY]...
# Trains one job, or evaluates a model that it has saved; --explain prints the options of a CONFIG.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"
answer_help main.py "$@"

[[ ${1:-} != --explain ]] || run_python "$repository/main.py" "$@"
[[ $# -ge 2 && $1 != -* && $2 != -* ]] ||
  misused "a CONFIG and a JOB_ID come first, such as: ./train.sh configs/demo_difflogic.yaml demo"
typed=("$0" "$@")
DIFFLOGIC_TYPED=$(printf " '%s'" "${typed[@]//\'/\'\\\'\'}") # what the report shows
export DIFFLOGIC_TYPED
config=$(absolute_config "$1")
job_id=$2
shift 2
run_python "$repository/main.py" "$config" --job_id="$job_id" "$@"

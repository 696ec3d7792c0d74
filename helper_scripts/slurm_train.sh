#!/usr/bin/env bash
# Usage: slurm_train.sh [--dry-run] [--resources=FILE] [--SBATCH_OPTION=VALUE]... CONFIG JOB_ID [options of train.sh]
# Submits a job that saves a checkpoint when it is preempted or its time is up, goes back to the queue, and resumes.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=helper_scripts/slurm_submit.sh
source "$repository/helper_scripts/slurm_submit.sh"

read_options "$@"
set -- "${rest[@]}"
[[ $# -ge 2 && $2 != -* ]] || usage 2 >&2
config=$(check_config "$1" "")
check_job_id "$2" ""
for word in "${@:3}"; do
  [[ $word != --dry-run ]] || fail "--dry-run goes before CONFIG" 2
done
job=("$(($# + 1))" train.sh "$config" "${@:2}")
check_jobs "${job[@]}"
submit "$2" "logs/$2/slurm-%j.out" "${job[@]}"

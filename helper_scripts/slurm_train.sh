#!/usr/bin/env bash
# Usage: slurm_train.sh [OPTION]... CONFIG JOB_ID [OPTION OF train.sh]...
# Submits a job that saves a checkpoint when it is preempted or its time is up, goes back to the queue, and resumes.
#
# Options:
#   --dry-run                print the command of sbatch, submit nothing
#   --resources=FILE         sbatch's options in a YAML file; default: helper_scripts/slurm_resources.yaml
#   --SBATCH_OPTION=VALUE    any option of sbatch by its long name, such as --partition=gpu; an empty value drops the file's
#
# Examples:
#   helper_scripts/slurm_train.sh configs/nmnist_difflogic.yaml job_001
#   helper_scripts/slurm_train.sh --partition=gpu --time=02:00:00 configs/nmnist_difflogic.yaml job_001 --nproc=2
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=helper_scripts/slurm_submit.sh
source "$repository/helper_scripts/slurm_submit.sh"

read_options "$@"
set -- "${rest[@]}"
[[ $# -ge 2 && $2 != -* ]] || misused "a CONFIG and a JOB_ID follow the options of sbatch"
config=$(check_config "$1" "")
check_job_id "$2" ""
for word in "${@:3}"; do
  [[ $word != --dry-run ]] || fail "--dry-run goes before CONFIG" 2
done
job=("$(($# + 1))" train.sh "$config" "${@:2}")
check_jobs "${job[@]}"
submit "$2" "logs/$2/slurm-%j.out" "${job[@]}"

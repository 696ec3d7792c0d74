#!/usr/bin/env bash
# Usage: slurm_prepare.sh [--dry-run] [--resources=FILE] [--SBATCH_OPTION=VALUE]... CONFIG [options of prepare_data.sh]
# Submits a preparation, without the GPUs of the file of resources; a preempted one goes back to the queue.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=helper_scripts/slurm_submit.sh
source "$repository/helper_scripts/slurm_submit.sh"

read_options "$@"
set -- "${rest[@]}"
[[ $# -ge 1 ]] || usage 2 >&2
config=$(check_config "$1" "")
for option in "${!resources[@]}"; do
  [[ $option != gpus* && $option != gres ]] || unset "resources[$option]"
done
name=$(basename -- "${config%.*}")
job=("$(($# + 1))" prepare_data.sh "$config" "${@:2}")
check_jobs "${job[@]}"
submit "$name" "slurm/slurm-%j.out" "${job[@]}"

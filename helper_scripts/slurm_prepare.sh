#!/usr/bin/env bash
# Usage: slurm_prepare.sh [OPTION]... CONFIG [OPTION OF prepare_data.sh]...
# Submits a preparation, without the GPUs of the file of resources; a preempted one goes back to the queue.
#
# Options:
#   --dry-run                print the command of sbatch, submit nothing
#   --resources=FILE         sbatch's options in a YAML file; default: helper_scripts/slurm_resources.yaml
#   --SBATCH_OPTION=VALUE    any option of sbatch by its long name, such as --partition=gpu; an empty value drops the file's
#
# Examples:
#   helper_scripts/slurm_prepare.sh configs/prepare_nmnist.yaml
#   helper_scripts/slurm_prepare.sh --dry-run --cpus-per-task=16 configs/prepare_nmnist.yaml
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=helper_scripts/slurm_submit.sh
source "$repository/helper_scripts/slurm_submit.sh"

read_options "$@"
set -- "${rest[@]}"
[[ $# -ge 1 ]] || misused "a CONFIG follows the options of sbatch"
config=$(check_config "$1" "")
for option in "${!resources[@]}"; do
  [[ $option != gpus* && $option != gres ]] || unset "resources[$option]"
done
name=$(basename -- "${config%.*}")
job=("$(($# + 1))" prepare_data.sh "$config" "${@:2}")
check_jobs "${job[@]}"
submit "$name" "slurm/slurm-%j.out" "${job[@]}"

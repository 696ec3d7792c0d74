#!/usr/bin/env bash
# Usage: slurm_array.sh [OPTION]... LIST
# Submits an array with one training per line 'CONFIG JOB_ID [options of train.sh]' of LIST.
#
# Options:
#   --dry-run                print the command of sbatch, submit nothing
#   --resources=FILE         sbatch's options in a YAML file; default: helper_scripts/slurm_resources.yaml
#   --SBATCH_OPTION=VALUE    any option of sbatch by its long name, such as --partition=gpu; an empty value drops the file's
#
# Examples:
#   helper_scripts/slurm_array.sh jobs.txt
#   helper_scripts/slurm_array.sh --array=1-8%2 --partition=gpu jobs.txt
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=helper_scripts/slurm_submit.sh
source "$repository/helper_scripts/slurm_submit.sh"

read_options "$@"
set -- "${rest[@]}"
[[ $# == 1 ]] || misused "one LIST follows the options of sbatch"
list=$1
[[ -f $list && -r $list ]] || fail "list $list cannot be read (sbatch's options take the form --name=value)" 2

groups=() # for slurm_job.sh
first_word=() # in groups, of each job; then where the next would begin
read_items list "$list"
for ((i = 0; i < ${#items[@]}; i += 2 + items[i + 1])); do
  where="$list, line ${items[i]}: "
  words=("${items[@]:i + 2:items[i + 1]}")
  config=$(check_config "${words[0]}" "$where")
  check_job_id "${words[1]}" "$where"
  first_word+=("${#groups[@]}")
  groups+=("$((${#words[@]} + 1))" train.sh "$config" "${words[@]:1}")
done
jobs=${#first_word[@]}
first_word+=("${#groups[@]}")
[[ $jobs -gt 0 ]] || fail "$list has no jobs; a job is a line 'CONFIG JOB_ID [options of train.sh]'" 2

# Task N is the list's Nth job. SLURM would take a task that the list does not have, and the task would fail.
: "${given[array]:=--array=1-$jobs}"
tasks=${given[array]#*=}
tasks=${tasks%%\%*}
number_of_task='[1-9][0-9]{0,8}'
chosen=() # the words of the chosen tasks; the list's other jobs may have run before
for range in ${tasks//,/ }; do
  [[ $range =~ ^($number_of_task)(-($number_of_task)(:($number_of_task))?)?$ ]] &&
    first=${BASH_REMATCH[1]} last=${BASH_REMATCH[3]:-${BASH_REMATCH[1]}} step=${BASH_REMATCH[5]:-1} &&
    [[ $first -le $last && $last -le $jobs ]] ||
    fail "${given[array]}: $list has the tasks 1 to $jobs" 2
  for ((task = first; task <= last; task += step)); do
    chosen+=("${groups[@]:first_word[task - 1]:first_word[task] - first_word[task - 1]}")
  done
done
[[ ${#chosen[@]} -gt 0 ]] || fail "${given[array]}: this names no task; $list has the tasks 1 to $jobs" 2
check_jobs "${chosen[@]}"
name=$(basename -- "${list%.*}")
submit "$name" "slurm/slurm-%A_%a.out" "${groups[@]}"

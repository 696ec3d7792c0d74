#!/usr/bin/env bash
# Usage: slurm_array.sh [--dry-run] [--resources=FILE] [--SBATCH_OPTION=VALUE]... LIST
# Submits an array, a job as of slurm_train.sh for each line 'CONFIG JOB_ID [options of train.sh]' of LIST.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=helper_scripts/slurm_submit.sh
source "$repository/helper_scripts/slurm_submit.sh"

# split_words LINE: sets $words by the shell's rules of quotes, backslashes and comments; nothing is expanded or run.
split_words() {
  local left=$1 word='' in_word='' text
  local plain='^[^[:blank:]"'\''\]+' single='^'\''([^'\'']*)'\' double='^"(([^"\]|\\.)*)"'
  words=()
  while [[ -n $left ]]; do
    if [[ $left =~ ^[[:blank:]]+ ]]; then
      [[ -z $in_word ]] || words+=("$word")
      word='' in_word=''
    elif [[ -z $in_word && $left == '#'* ]]; then
      break
    else
      in_word=yes
      if [[ $left =~ $plain ]]; then
        word+=${BASH_REMATCH[0]}
      elif [[ $left =~ $single ]]; then
        word+=${BASH_REMATCH[1]}
      elif [[ $left =~ $double ]]; then
        text=${BASH_REMATCH[1]}
        while [[ $text =~ ^([^\\]*)\\(.)(.*)$ ]]; do
          word+=${BASH_REMATCH[1]}
          [[ ${BASH_REMATCH[2]} == [\"\\\$\`] ]] || word+=\\
          word+=${BASH_REMATCH[2]}
          text=${BASH_REMATCH[3]}
        done
        word+=$text
        [[ $left =~ $double ]]
      elif [[ $left =~ ^\\(.) ]]; then
        word+=${BASH_REMATCH[1]}
      else
        return 1
      fi
    fi
    left=${left:${#BASH_REMATCH[0]}}
  done
  [[ -z $in_word ]] || words+=("$word")
}

read_options "$@"
set -- "${rest[@]}"
[[ $# == 1 ]] || usage 2 >&2
list=$1
[[ -f $list && -r $list ]] || fail "list $list cannot be read (options of sbatch are given as --name=value)" 2

groups=() # for slurm_job.sh
first_word=() # in groups, of each job; then where the next would begin
declare -A line_of=()
number=0
while IFS= read -r line || [[ -n $line ]]; do
  number=$((number + 1))
  where="$list, line $number: "
  clean_line
  split_words "$line" || fail "${where}a quote is not closed" 2
  [[ ${#words[@]} -gt 0 ]] || continue
  [[ ${#words[@]} -ge 2 ]] || fail "${where}a line is CONFIG JOB_ID [options of train.sh]" 2
  config=$(check_config "${words[0]}" "$where")
  job_id=${words[1]}
  check_job_id "$job_id" "$where"
  [[ -z ${line_of[$job_id]:-} ]] || fail "${where}job id $job_id stands in line ${line_of[$job_id]} already" 2
  line_of[$job_id]=$number
  first_word+=("${#groups[@]}")
  groups+=("$((${#words[@]} + 1))" train.sh "$config" "${words[@]:1}")
done <"$list"
first_word+=("${#groups[@]}")
[[ ${#line_of[@]} -gt 0 ]] || fail "$list has no jobs" 2

# Tasks are counted as the jobs in the list are. A task that is not there would fail only in SLURM.
: "${given[array]:=--array=1-${#line_of[@]}}"
tasks=${given[array]#*=}
tasks=${tasks%%\%*}
number_of_task='[1-9][0-9]{0,8}'
chosen=() # their words: others of the list may have run before
for range in ${tasks//,/ }; do
  [[ $range =~ ^($number_of_task)(-($number_of_task)(:($number_of_task))?)?$ ]] &&
    first=${BASH_REMATCH[1]} last=${BASH_REMATCH[3]:-${BASH_REMATCH[1]}} step=${BASH_REMATCH[5]:-1} &&
    [[ $first -le $last && $last -le ${#line_of[@]} ]] ||
    fail "${given[array]}: $list has the tasks 1 to ${#line_of[@]}" 2
  for ((task = first; task <= last; task += step)); do
    chosen+=("${groups[@]:first_word[task - 1]:first_word[task] - first_word[task - 1]}")
  done
done
[[ ${#chosen[@]} -gt 0 ]] || fail "${given[array]}: no task" 2
check_jobs "${chosen[@]}"
name=$(basename -- "${list%.*}")
submit "$name" "slurm/slurm-%A_%a.out" "${groups[@]}"

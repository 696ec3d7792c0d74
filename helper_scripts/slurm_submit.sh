# shellcheck shell=bash
# Sourced by slurm_train.sh, slurm_prepare.sh and slurm_array.sh, which set $repository: sbatch's options, checks, submitting.

# shellcheck source=helper_scripts/launch.sh
source "${repository:?}/helper_scripts/launch.sh"
answer_help "" "$@"

for variable in PROJECT_STORAGE_DIR SCRATCH_STORAGE_DIR SINGULARITY_CONTAINER; do
  # --chdir may start the job in another folder, so paths must be absolute.
  [[ -z ${!variable} || ${!variable} == /* ]] || printf -v "$variable" '%s/%s' "$PWD" "${!variable}"
  export "${variable?}"
done

resources_file=$repository/helper_scripts/slurm_resources.yaml
dry_run=
declare -A given=() # option name -> the whole option of the command line
declare -A resources=()  # option name -> value, from the YAML

# Options of sbatch that would cost a job its checkpoint, its log or its place in the queue, and why.
declare -A refusals=(
  [output]="the log's place is known to the scripts" [error]="errors belong in the log"
  [open-mode]="a later start must go on in the log of the first"
  [export]="the job needs this shell's variables" [export-file]="the job needs this shell's variables"
  [get-user-env]="the job needs this shell's variables"
  [requeue]="jobs always go back to the queue" [no-requeue]="a preempted job must go back to the queue"
  [no-kill]="SLURM must queue a job again if a node fails"
  [kill-on-bad-exit]="it is an option of srun, which the batch script starts itself"
  [parsable]="the scripts read sbatch's answer" [wait]="the script would wait for the job's end"
  [test-only]="it submits nothing; use --dry-run" [usage]="it submits nothing; use --help"
  [version]="it submits nothing; use --help"
  [wrap]="the batch script is slurm_job.sh" [input]="jobs read nothing from it"
  [container]="SINGULARITY_CONTAINER names the image" [container-id]="SINGULARITY_CONTAINER names the image"
  [resources]="it is no option of sbatch; --resources=FILE goes on the command line"
)
[[ $0 == *slurm_array.sh ]] || refusals[array]="slurm_array.sh submits several jobs"

# read_options ARGUMENT...: takes the options before CONFIG; what is left is in $rest.
read_options() {
  local name
  while [[ ${1:-} == -* ]]; do
    name=${1#--}
    name=${name%%=*}
    case $1 in
      --dry-run) dry_run=yes ;;
      --resources=*) resources_file=${1#*=} ;;
      --?*) _check_option "$name" "${1#*=}" "$1" && given[$name]=$1 ;;
      *) fail "$1: give sbatch's options by their long names, as --name=value" 2 ;;
    esac
    shift
  done
  rest=("$@")
  _read_resources
  _check_time
  _check_variables
}

# _check_option NAME VALUE WHERE: refuses what would break the job. sbatch accepts abbreviated names.
_check_option() {
  local refused
  [[ -z ${1:+${refusals[$1]:-}} ]] || fail "$3: this option cannot be set: ${refusals[$1]}" 2
  for refused in "${!refusals[@]}" signal; do
    [[ $refused != "$1"?* ]] || fail "$3: sbatch may take it for an abbreviation of --$refused; write the full name" 2
  done
  [[ $1 != signal ]] || _check_signal "$2" "$3"
}

# The signal before the time limit must be one that slurm_job.sh passes on, sent to the batch script (B:) and not to srun's steps.
_check_signal() {
  local heard='^(B:(SIG)?(USR1|TERM|HUP|10|15|1)(@[1-9][0-9]*)?)?$'
  [[ ${1^^} =~ $heard ]] ||
    fail "$2: the batch script would not receive this signal, so no checkpoint would be saved; use --signal=B:USR1@SECONDS" 2
}

# If a time limit is no longer than the signal's lead, a job would be stopped as it begins, queued again, and so on. SLURM may
# lower --time to --time-min.
_check_time() {
  local name limit told signal=${given[signal]:-${resources[signal]:-}} seconds lead=90
  [[ -z ${signal#--signal=} ]] || lead=60 # sbatch's default
  [[ $signal != *@* ]] || lead=${signal##*@}
  for name in time time-min; do
    limit=${given[$name]:-${resources[$name]:-}}
    limit=${limit#--"$name"=}
    told=$name
    [[ $name != time || -n $limit || -z ${SBATCH_TIMELIMIT:-} ]] || limit=$SBATCH_TIMELIMIT told=SBATCH_TIMELIMIT
    case ${limit,,} in "" | --"$name" | -1 | infinite | unlimited) continue ;; esac # without =, CONFIG's check tells
    seconds=$(_seconds "$limit")
    [[ -n $seconds ]] ||
      fail "$told = $limit: this is no time limit; give minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S or UNLIMITED, such as 12:00:00" 2
    [[ $seconds -eq 0 || $seconds -gt $lead ]] || # 0 is no limit
      fail "the time limit $limit is $seconds s, and jobs get their stop signal $lead s before it; give a longer --$name" 2
  done
}

# _seconds TIME: prints what sbatch takes it for (M, M:S, H:M:S, D-H, D-H:M, D-H:M:S); nothing for anything else.
_seconds() {
  local form='^(([0-9]{1,9})-)?([0-9]{1,9})(:([0-9]{1,9}))?(:([0-9]{1,9}))?$'
  [[ $1 =~ $form ]] || return 0
  local days=${BASH_REMATCH[2]:-} parts=("10#${BASH_REMATCH[3]}" "10#${BASH_REMATCH[5]:-0}" "10#${BASH_REMATCH[7]:-0}")
  [[ -n $days || $1 == *:*:* ]] || parts=(0 "${parts[@]}")
  printf '%d' "$((10#${days:-0} * 86400 + parts[0] * 3600 + parts[1] * 60 + parts[2]))"
}

# sbatch also reads options from variables. Those for which submit() gives an option of its own have no effect.
_check_variables() {
  local variable name
  for variable in "${!SBATCH_@}"; do
    name=${variable#SBATCH_}
    name=${name,,}
    name=${name//_/-}
    [[ $name != array-inx ]] || name=array
    case $name in output | open-mode | export | requeue | no-requeue | signal) continue ;; esac
    [[ -z ${refusals[$name]:-} ]] || fail "$variable is set: ${refusals[$name]}; unset it" 2
  done
}

# read_items KIND FILE: sets $items to what slurm_files.py prints.
read_items() {
  command -v python3 >/dev/null || fail "python3 is not on PATH: version 3.6 or newer reads $2" 2
  mapfile -d '' -t items < <(python3 "$repository/helper_scripts/slurm_files.py" "$1" "$2")
  wait "$!" || exit 2
}

# Reads $resources_file: a flat YAML of sbatch's long option names; values are text, empty ones are skipped.
_read_resources() {
  local i items
  [[ -f $resources_file && -r $resources_file ]] || fail "$resources_file: cannot be read; --resources=FILE names a YAML file of sbatch's options" 2
  read_items resources "$resources_file"
  for ((i = 0; i < ${#items[@]}; i += 4)); do
    local name=${items[i + 2]} value=${items[i + 3]}
    _check_option "$name" "$value" "$resources_file, line ${items[i]}: $name"
    resources[$name]=$value
  done
}

# check_job_id ID WHERE: what main.py allows; a folder is named after it.
check_job_id() {
  local LC_ALL=C
  [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$ ]] ||
    fail "$2job id '$1' is not allowed: use 1 to 128 letters, digits, '.', '_' and '-', beginning with a letter or a digit" 2
}

# check_config CONFIG WHERE: prints its absolute path.
check_config() {
  local path
  path=$(absolute_config "$1")
  [[ ! -p $path && ! -c $path ]] || fail "$2config $1: the job reads it later, so it must be a file" 2
  [[ -f $path ]] || fail "$2config $1 does not exist (sbatch's options take the form --name=value)" 2
  printf '%s' "$path"
}

# check_jobs WORD...: finds mistakes in what slurm_job.sh is to run, so that a job does not wait in the queue only to fail.
# Needs a Python that has the packages.
check_jobs() {
  local python
  if find_environment 2>/dev/null; then
    PYTHONSAFEPATH=1 PYTHONPATH=$repository${PYTHONPATH:+:$PYTHONPATH} "$python" -m helper_scripts.check_jobs "$@" || exit
  else
    note "$(basename -- "$0"): overrides, options and job ids are not checked: no Python here has the packages"
  fi
}

# submit NAME LOG WORD...: submits a job that runs slurm_job.sh with these words. LOG is relative to project storage;
# sbatch fills in %j.
submit() {
  local name=$1 log=$2 option id
  shift 2
  local options=(--parsable --job-name="$name" --output="${PROJECT_STORAGE_DIR//%/%%}/$log")
  options+=(--open-mode=append --requeue --signal=B:USR1@90 --export=ALL)
  for option in "${!resources[@]}"; do
    [[ -n ${given[$option]:-} || -z ${resources[$option]} ]] || options+=("--$option=${resources[$option]}")
  done
  for option in "${given[@]}"; do
    [[ $option == *= ]] || options+=("$option") # an empty value only removes the YAML's
  done
  local command=(sbatch "${options[@]}" "$repository/helper_scripts/slurm_job.sh" "$repository" "$@")
  if [[ -n $dry_run ]]; then
    printf '%s\n' "${command[*]@Q}"
    return
  fi
  command -v sbatch >/dev/null ||
    fail "sbatch is not on PATH: run this where SLURM is, such as a cluster's login node; --dry-run needs no SLURM" 2
  local folder
  folder=$(dirname -- "$PROJECT_STORAGE_DIR/$log")
  mkdir -p -- "$folder" || fail "PROJECT_STORAGE_DIR = $PROJECT_STORAGE_DIR: cannot write to this folder, see above" 2
  if ! id=$("${command[@]}"); then
    rmdir -- "$folder" 2>/dev/null || true # only if it was made just now
    fail "sbatch refused the job, see its message above"
  fi
  id=${id%%;*}
  log=${log//%[jA]/$id}
  printf 'SLURM job %s: %s\nlog: %s\n' "$id" "$name" "$PROJECT_STORAGE_DIR/${log//%a/TASK}"
}

# shellcheck shell=bash
# Sourced by the wrappers, which set $repository: run_python ARGUMENT... replaces the shell by Python with these
# arguments, in the container that SINGULARITY_CONTAINER names, else in the active environment if it has the packages,
# else in .venv, which is made from requirements.lock, and extended from the other lock files if a command needs more.

# A stream that the caller has closed becomes /dev/null. Otherwise the next file to be opened would get its number.
{ : <&0; } 2>/dev/null || exec </dev/null
{ : >&1; } 2>/dev/null || exec >/dev/null
: >&2 || exec 2>/dev/null

# shellcheck source=helper_scripts/user_settings.sh
source "${repository:?}/helper_scripts/user_settings.sh"

# enough_bash MAJOR MINOR: the scripts need arrays that may be empty and ${name@Q}.
enough_bash() {
  [[ $1 -gt 4 || ($1 -eq 4 && $2 -ge 4) ]]
}
if ! enough_bash "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}"; then
  printf '%s: bash 4.4 or newer is needed, this is %s; put a newer one first on PATH (on a Mac: brew install bash)\n' \
    "$(basename -- "$0")" "$BASH_VERSION" >&2
  exit 2
fi

# shellcheck source=helper_scripts/project_variables.sh
source "$repository/helper_scripts/project_variables.sh" || exit
# shellcheck source=helper_scripts/container.sh
source "$repository/helper_scripts/container.sh"
# shellcheck source=helper_scripts/image_on_scratch.sh
source "$repository/helper_scripts/image_on_scratch.sh"

extras=() # the extras in pyproject.toml that the environment must have
locks=(requirements.lock) # what .venv must hold; each file begins with `-r` and the one before it
config="" # the command's, if it has one: its absolute path
unset DIFFLOGIC_TYPED # a wrapper that started this one has set it for itself
names_files="" # set if the command's arguments name files that it reads or writes

# note TEXT: a line on stderr; a full disk or a reader that is gone does not end the script.
note() {
  (
    trap '' PIPE
    printf '%s\n' "$1" >&2
  ) || true
}

fail() {
  note "$(basename -- "$0"): $1"
  exit "${2:-1}"
}

# usage: prints the comment that the wrapper begins with.
usage() {
  sed -n '2,${/^#/!q; s/^# \{0,1\}//p}' "$0"
}

# misused TEXT: ends with a line that says what is wrong with the arguments.
misused() {
  fail "$1 (see $(basename -- "$0") --help)" 2
}

# answer_help PROGRAM ARGUMENT...: prints the help of a wrapper's PROGRAM, or its own if that is empty, if -h or --help is
# among its arguments, and ends.
answer_help() {
  local word
  for word in "${@:2}"; do
    case $word in
      -h | --help)
        if [[ -z $1 ]] || ! explain "$1"; then usage; fi
        exit
        ;;
    esac
  done
}

# explain PROGRAM ARGUMENT...: prints the help of a command of Python. That takes a Python, but none of its packages, so nothing is
# set up for it. Returns 1 without a Python.
explain() {
  local python
  python=$(_python_311) || return 1
  "$python" "$repository/$1" "${@:2}" --help
}

for name in OMP_NUM_THREADS NUMBA_NUM_THREADS; do
  [[ ${!name:-1} =~ ^[1-9][0-9]{0,3}(,[1-9][0-9]*)*$ ]] || fail "$name = ${!name}: give a whole number from 1 to 9999, or unset it" 2
  [[ -n ${!name:-} ]] || unset "$name"
done

# absolute_config FILE: the config's absolute path; a file that is not in the current folder may be in the repository's.
absolute_config() {
  local path=$1 folder
  if [[ -p $path || -c $path ]]; then # a pipe, such as <(COMMAND), exists in this process only
    printf '%s' "$path"
    return
  fi
  [[ -e $path || ! -e $repository/$path ]] || path=$repository/$path
  # Without links and '..' in the folder's name, the path means the same in a container.
  folder=$(CDPATH="" cd -P -- "$(dirname -- "$path")" 2>/dev/null && pwd) || folder=$(dirname -- "$path")
  printf '%s/%s' "$folder" "$(basename -- "$path")"
}

run_python() {
  # Inside a running container its runtime sets SINGULARITY_CONTAINER itself: so its Python is the one to use.
  if [[ -n $SINGULARITY_CONTAINER && -z ${SINGULARITY_NAME:-}${APPTAINER_NAME:-} ]]; then
    exec_in_container "$@"
  fi
  local python
  find_environment || _make_venv
  [[ $python == python3 ]] || unset PYTHONPATH # it belongs to another environment
  exec "$python" "$@"
}

# Sets $python to one that has the packages; false if it must be set up first.
find_environment() {
  if python3 "$repository/helper_scripts/check_environment.py" "${extras[@]}" 2>/dev/null; then
    python=python3
    return
  fi
  python=$repository/.venv/bin/python
  _venv_is_whole
}

_venv_is_whole() {
  _venv_holds "${locks[@]}" && "$python" "$repository/helper_scripts/check_environment.py" "${extras[@]}" 2>/dev/null
}

# _venv_holds LOCK...: a copy of the lock file in .venv says that its packages are installed and checked.
_venv_holds() {
  local lock
  for lock in "$@"; do
    cmp -s "$repository/$lock" "$repository/.venv/$lock" || return
  done
}

_make_venv() {
  local base lock
  [[ -z $config || -e $config ]] || fail "$config: there is no such config" 2
  base=$(_python_311) || fail "Python 3.11 or newer is needed; found none on PATH" 2
  [[ -w $repository ]] ||
    fail "cannot write to $repository to make .venv; activate an environment that has the packages of ${locks[-1]}" 2
  exec {lock}>"$repository/.venv.lock"
  if command -v flock >/dev/null && ! flock --nonblock "$lock"; then # two first jobs at once: one installs
    note "Waiting for another command that sets up $repository/.venv"
    flock "$lock"
  fi
  _venv_is_whole || _set_up_venv "$base"
  exec {lock}>&- # the lock must not live on in Python
}

# _set_up_venv PYTHON: makes a new .venv, or completes one that has the packages of requirements.lock. A set-up that fails
# or is killed leaves no mark of what it was to install, so the next command begins again. A .venv with all marks may still
# have lost its Python.
_set_up_venv() {
  local needs free more=("${locks[@]:1}") quiet=(--quiet) stopped="set-up was stopped; the same command begins it again"
  # shellcheck disable=SC2064 # the text is that of now
  trap "note '$stopped'; exit 130" INT
  # shellcheck disable=SC2064
  trap "note '$stopped'; exit 143" TERM HUP
  [[ ! -t 2 ]] || quiet=() # pip shows its progress
  free=$(df -Pk -- "$repository" | awk 'NR == 2 { print int($4 * 1024 / 1e9) }')
  if _venv_holds requirements.lock && "$python" "$repository/helper_scripts/check_environment.py" 2>/dev/null; then
    [[ ${free:-9} -ge 2 ]] || fail "$repository has $free GB free, and completing .venv takes 1 GB" 2
    note "Completing $repository/.venv from ${locks[-1]}, once: 1 GB on disk ($free GB are free)."
    rm -f -- "${more[@]/#/"$repository/.venv/"}"
  else
    needs="2 GB on disk, with CUDA about 8 GB"
    [[ ${#locks[@]} -eq 1 ]] || needs="3 GB on disk, with CUDA about 8 GB"
    [[ ${free:-9} -ge ${needs%% *} ]] || fail "$repository has $free GB free, and .venv takes $needs" 2
    note "Setting up $repository/.venv from ${locks[-1]}, once: $needs ($free GB are free)."
    note "PyTorch alone is a download of 0.2 GB, with CUDA about 3 GB; expect 2 to 15 minutes."
    "$1" -m venv --clear "$repository/.venv" >&2 ||
      fail "cannot make .venv, see above; on Debian and Ubuntu, install the package python3-venv"
  fi
  env -u PYTHONPATH "$python" -m pip install "${quiet[@]}" --disable-pip-version-check -r "$repository/${locks[-1]}" >&2 ||
    fail "installing ${locks[-1]} into .venv failed, see pip's message above; the same command begins again"
  env -u PYTHONPATH "$python" "$repository/helper_scripts/check_environment.py" "${extras[@]}" --import ||
    fail "the packages in .venv cannot be used, see above; the same command installs them again"
  cp -- "${locks[@]/#/"$repository/"}" "$repository/.venv/" ||
    fail "cannot write to .venv, see above; the same command begins again"
  trap - INT TERM HUP
}

_python_311() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

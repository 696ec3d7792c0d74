# shellcheck shell=bash
# Sourced by the wrappers, which set $repository: run_python ARGUMENT... replaces the shell by Python with these
# arguments, in the container that SINGULARITY_CONTAINER names, else in the active environment if it has the packages,
# else in .venv, which is made from requirements.lock.

# A stream that the caller has closed becomes /dev/null: the next file to be opened would get its number.
{ : <&0; } 2>/dev/null || exec </dev/null
{ : >&1; } 2>/dev/null || exec >/dev/null
: >&2 || exec 2>/dev/null

# shellcheck source=helper_scripts/project_variables.sh
source "${repository:?}/helper_scripts/project_variables.sh"
# shellcheck source=helper_scripts/container.sh
source "$repository/helper_scripts/container.sh"
# shellcheck source=helper_scripts/image_on_scratch.sh
source "$repository/helper_scripts/image_on_scratch.sh"

extras=() # of pyproject.toml, that the active environment must have
config="" # the command's, if it has one: its absolute path

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

# usage STATUS: the wrapper's own first lines say it.
usage() {
  sed -n '2,3s/^# //p' "$0"
  exit "$1"
}

# absolute_config FILE: the config's absolute path; a file that is not in the current folder may be in the repository's.
absolute_config() {
  local path=$1 folder
  if [[ -p $path || -c $path ]]; then # a pipe, such as <(COMMAND), has its name in this process only
    printf '%s' "$path"
    return
  fi
  [[ -e $path || ! -e $repository/$path ]] || path=$repository/$path
  # Without links and '..' in the folder's name, the path means the same in a container.
  folder=$(CDPATH="" cd -P -- "$(dirname -- "$path")" 2>/dev/null && pwd) || folder=$(dirname -- "$path")
  printf '%s/%s' "$folder" "$(basename -- "$path")"
}

run_python() {
  # Inside a running container its runtime sets SINGULARITY_CONTAINER itself: there, Python is at hand.
  if [[ -n $SINGULARITY_CONTAINER && -z ${SINGULARITY_NAME:-}${APPTAINER_NAME:-} ]]; then
    exec_in_container "$@"
  fi
  local python
  find_environment || _make_venv
  exec "$python" "$@"
}

# Sets $python to one that has the packages; false if it must be set up first.
find_environment() {
  local check=$repository/helper_scripts/check_environment.py
  if python3 "$check" "${extras[@]}" 2>/dev/null; then
    python=python3
    return
  fi
  python=$repository/.venv/bin/python
  cmp -s "$repository/requirements.lock" "$repository/.venv/requirements.lock"
}

_make_venv() {
  local base lock
  base=$(_python_311) || fail "Python 3.11 or newer is needed; found none on PATH" 2
  [[ -w $repository ]] ||
    fail "cannot write to $repository to make .venv; activate an environment that has the packages of requirements.lock" 2
  exec {lock}>"$repository/.venv.lock"
  if command -v flock >/dev/null && ! flock --nonblock "$lock"; then # two first jobs at once: one installs
    note "Waiting for another command that sets up $repository/.venv"
    flock "$lock"
  fi
  if ! cmp -s "$repository/requirements.lock" "$repository/.venv/requirements.lock"; then
    note "Setting up $repository/.venv from requirements.lock (once; it takes a few minutes)"
    "$base" -m venv --clear "$repository/.venv" ||
      fail "cannot make .venv; on Debian and Ubuntu, install the package python3-venv"
    "$python" -m pip install --quiet --disable-pip-version-check -r "$repository/requirements.lock" ||
      fail "installing requirements.lock into .venv failed; see pip's message above, then run the same command again"
    cp -- "$repository/requirements.lock" "$repository/.venv/requirements.lock" # last: it marks .venv as whole
  fi
  exec {lock}>&- # the lock must not live on in Python
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

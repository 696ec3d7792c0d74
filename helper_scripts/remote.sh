# shellcheck shell=bash
# Sourced by the sync scripts, which set $repository and run on a laptop: the cluster's folders, ssh and rsync.
#
# Names are data everywhere: rsync runs with --protect-args, and what ssh runs gets its arguments quoted.

# shellcheck source=helper_scripts/launch.sh
source "${repository:?}/helper_scripts/launch.sh"
answer_help "" "$@"

dry_run='' # not empty: change nothing

# set_up_remote VARIABLE...: ends with exit code 2 and names the variables that are not set, or the first that is not
# valid. Sets $temporary, a folder that is removed when the script ends. All later commands share one connection.
set_up_remote() {
  local variable lacking=''
  for variable in REMOTE_HOST "$@"; do
    [[ -n ${!variable} ]] || lacking="$lacking $variable"
  done
  [[ -z $lacking ]] || fail "not set:$lacking; export them, see helper_scripts/project_variables.sh" 2
  [[ $REMOTE_HOST =~ ^[A-Za-z0-9_][A-Za-z0-9._@-]*$ ]] ||
    fail "REMOTE_HOST = $REMOTE_HOST: give user@host, or a Host of ~/.ssh/config; ports and keys go into REMOTE_SSH" 2
  command -v rsync >/dev/null || fail "rsync is not on PATH; install it" 2
  temporary=$(mktemp -d /tmp/difflogic.XXXXXX) # a short path, as a socket's must be
  trap _clean_up EXIT
  # One log-in per script, not per command: clusters ask for passwords and codes. REMOTE_SSH's own settings come first.
  REMOTE_SSH="$REMOTE_SSH -o ControlMaster=auto -o ControlPath=$temporary/ssh -o ControlPersist=60"
  read -r -a ssh_command <<<"$REMOTE_SSH"
  for variable in "$@"; do
    [[ $variable != REMOTE_*_DIR ]] || _set_target "$variable"
  done
}

_clean_up() {
  "${ssh_command[@]}" -O exit "$REMOTE_HOST" 2>/dev/null || true
  rm -rf -- "$temporary"
}

# _set_target VARIABLE: sets the variable to the folder's path there. ~ and $NAME in it are those of REMOTE_HOST.
_set_target() {
  local path=${!1} status=0
  [[ $path != \~ && $path != \~/ ]] || fail "$1 = $path: give this project a folder of its own, such as ~/difflogic_tonic" 2
  if [[ $path == \~/* || $path == *\$* ]]; then
    path=$(on_remote "$(declare -f difflogic_expand_path)"'
      difflogic_expand_path "$@"' "$1 on $REMOTE_HOST" "$path") || status=$?
    [[ $status -ne 2 ]] || exit 2
    [[ $status -eq 0 ]] || fail "cannot reach $1 = ${!1} on $REMOTE_HOST, see above"
    printf -v "$1" '%s' "$path"
  fi
  _check_target "$1" "$path"
}

# _check_target VARIABLE PATH: a remote folder's path is absolute, without . and .., and has at least two parts.
_check_target() {
  local rest=$2/ part count=0
  [[ $2 == /* ]] || fail "$1 = $2: give an absolute path" 2
  while [[ -n $rest ]]; do
    part=${rest%%/*}
    rest=${rest#*/}
    case $part in
      '') ;;
      . | ..) fail "$1 = $2: give a path without . and .." 2 ;;
      *) count=$((count + 1)) ;;
    esac
  done
  [[ $count -ge 2 ]] || fail "$1 = $2: give this project a folder of its own, such as ~/difflogic_tonic" 2
}

# on_remote SCRIPT ARGUMENT...: runs a bash script on REMOTE_HOST, whatever the login shell there is.
on_remote() {
  local script=$1
  shift
  "${ssh_command[@]}" "$REMOTE_HOST" bash -s <<END
set -euo pipefail
set -- $(printf '%q ' "$@")
{
$script
exit
} </dev/null
END
}

# make_remote_folder VARIABLE: makes the folder that the variable names; refuses the home folder there and any folder above it.
make_remote_folder() {
  local status=0
  # shellcheck disable=SC2016 # the remote shell expands it
  on_remote '
    folder=$1
    [[ ! -d $1 ]] || folder=$(cd -- "$1" && pwd -P)
    home=$(cd && pwd -P)
    [[ $home/ != "$folder"/* && $HOME/ != "$folder"/* ]] || exit 3
    [[ -n $2 ]] || mkdir -p -- "$1"' "${!1}" "$dry_run" || status=$?
  [[ $status -ne 3 ]] || fail "$1 = ${!1}: this is the home folder on $REMOTE_HOST, or above it; give a folder inside it" 2
  [[ $status -eq 0 ]] || fail "cannot reach $1 = ${!1} on $REMOTE_HOST, see above"
}

# transfer OPTION... SOURCE... TARGET: rsync over ssh; with $dry_run, only says what it would do.
transfer() {
  local status=0 options=(--recursive --times --protect-args --human-readable --info=stats1 --rsh="$REMOTE_SSH")
  [[ -z $dry_run ]] || options+=(--dry-run --itemize-changes)
  [[ ! -t 1 ]] || options+=(--info=progress2)
  rsync "${options[@]}" "$@" || status=$?
  # 24: a file vanished meanwhile, as those of running jobs do.
  [[ $status -eq 0 || $status -eq 24 ]] ||
    fail "the transfer failed, see above; the same command goes on where it stopped"
}

# sha256 OPTION...: sha256sum, also on a Mac.
sha256() {
  if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

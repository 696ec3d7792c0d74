#!/usr/bin/env bash
# Usage: sync_logs_from_remote.sh [--dry-run] [--models]
# Brings logs/ (and the final and best models) of REMOTE_PROJECT_STORAGE_DIR to PROJECT_STORAGE_DIR; deletes nothing.
#
# Options:
#   --dry-run    say what would be brought, change nothing
#   --models     bring the final and best models, too
#
# Examples:
#   helper_scripts/sync_logs_from_remote.sh
#   helper_scripts/sync_logs_from_remote.sh --models --dry-run
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=helper_scripts/remote.sh
source "$repository/helper_scripts/remote.sh"

folders=(logs)
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=yes ;;
    --models) folders=(logs models) ;;
    *) misused "$argument: unknown option" ;;
  esac
done
set_up_remote REMOTE_PROJECT_STORAGE_DIR
[[ $PROJECT_STORAGE_DIR == /* ]] || PROJECT_STORAGE_DIR=$PWD/$PROJECT_STORAGE_DIR

# has_remote FOLDER: whether project storage there has this folder yet; ends if there is no such storage.
has_remote() {
  local status=0
  # shellcheck disable=SC2016 # the remote shell expands it
  on_remote '[[ -d $1 ]] || exit 3; [[ -d $1/$2 ]] || exit 4' "$REMOTE_PROJECT_STORAGE_DIR" "$1" || status=$?
  case $status in
    0) return 0 ;;
    3) fail "REMOTE_PROJECT_STORAGE_DIR = $REMOTE_PROJECT_STORAGE_DIR: there is no such folder on $REMOTE_HOST" 2 ;;
    4) return 1 ;;
    *) fail "cannot reach REMOTE_PROJECT_STORAGE_DIR = $REMOTE_PROJECT_STORAGE_DIR on $REMOTE_HOST, see above" ;;
  esac
}

for folder in "${folders[@]}"; do
  if ! has_remote "$folder"; then
    note "nothing to bring: $REMOTE_HOST has no $REMOTE_PROJECT_STORAGE_DIR/$folder yet, which the first job makes"
    continue
  fi
  [[ -n $dry_run ]] || mkdir -p -- "$PROJECT_STORAGE_DIR/$folder"
  # --update: a file that is newer here stays, such as that of a job of the same name.
  transfer --update --compress --partial-dir=.rsync-partial --exclude='.*.lock' --exclude='.*.tmp' \
    --exclude='/*/checkpoints/' "$REMOTE_HOST:$REMOTE_PROJECT_STORAGE_DIR/$folder/" "$PROJECT_STORAGE_DIR/$folder/"
done

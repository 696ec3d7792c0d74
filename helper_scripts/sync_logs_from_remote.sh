#!/usr/bin/env bash
# Usage: sync_logs_from_remote.sh [--dry-run] [--models]
# Brings logs/ (and the final and best models) of REMOTE_PROJECT_STORAGE_DIR to PROJECT_STORAGE_DIR; deletes nothing.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=helper_scripts/remote.sh
source "$repository/helper_scripts/remote.sh"

folders=(logs)
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=yes ;;
    --models) folders=(logs models) ;;
    *) usage 2 >&2 ;;
  esac
done
set_up_remote REMOTE_PROJECT_STORAGE_DIR
[[ $PROJECT_STORAGE_DIR == /* ]] || PROJECT_STORAGE_DIR=$PWD/$PROJECT_STORAGE_DIR

for folder in "${folders[@]}"; do
  [[ -n $dry_run ]] || mkdir -p -- "$PROJECT_STORAGE_DIR/$folder"
  # --update: a file that is newer here stays, such as that of a job of the same name.
  transfer --update --compress --partial-dir=.rsync-partial --exclude='.*.lock' --exclude='.*.tmp' \
    --exclude='/*/checkpoints/' "$REMOTE_HOST:$REMOTE_PROJECT_STORAGE_DIR/$folder/" "$PROJECT_STORAGE_DIR/$folder/"
done

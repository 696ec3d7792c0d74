#!/usr/bin/env bash
# Usage: sync_code_to_remote.sh [--dry-run] [--delete]
# Sends the code to REMOTE_PROJECT_DIR on REMOTE_HOST.
#
# Options:
#   --dry-run    say what would be sent, change nothing
#   --delete     remove there, inside the code's folders, what is gone here
#
# Examples:
#   helper_scripts/sync_code_to_remote.sh --dry-run
#   helper_scripts/sync_code_to_remote.sh --delete
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=helper_scripts/remote.sh
source "$repository/helper_scripts/remote.sh"

options=(--links --executability --compress --partial-dir=.rsync-partial)
for argument in "$@"; do
  case $argument in
    --dry-run) dry_run=yes ;;
    # What lies beside the code's folders, such as results, storages and environments, is never deleted.
    --delete) options+=(--delete --filter='protect /*') ;;
    *) misused "$argument: unknown option" ;;
  esac
done
set_up_remote REMOTE_PROJECT_DIR
make_remote_folder REMOTE_PROJECT_DIR

# Write only to a folder that is empty or, by this script's mark or its pyproject.toml, holds this project.
status=0
# shellcheck disable=SC2016 # the remote shell expands it
on_remote '
  cd -- "$1" 2>/dev/null || exit 0
  [[ -e .difflogic_tonic || -z $(ls -A) ]] || grep -qsx "name = \"difflogic-tonic\"" pyproject.toml || exit 3
  [[ -n $2 ]] || : >.difflogic_tonic' "$REMOTE_PROJECT_DIR" "$dry_run" || status=$?
[[ $status -ne 3 ]] ||
  fail "REMOTE_PROJECT_DIR = $REMOTE_PROJECT_DIR on $REMOTE_HOST holds something other than this project, so nothing was sent; give another folder" 2
[[ $status -eq 0 ]] || fail "cannot write to $REMOTE_PROJECT_DIR on $REMOTE_HOST, see above"

for storage in "$PROJECT_STORAGE_DIR" "$SCRATCH_STORAGE_DIR"; do
  inside=${storage#"$repository"/}
  [[ $inside == "$storage" ]] || options+=(--exclude="/${inside%/}")
done
transfer "${options[@]}" --exclude-from="$repository/helper_scripts/rsync_exclude.txt" \
  "$repository/" "$REMOTE_HOST:$REMOTE_PROJECT_DIR/"

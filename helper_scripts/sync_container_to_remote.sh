#!/usr/bin/env bash
# Usage: sync_container_to_remote.sh [--dry-run] [IMAGE]
# Sends an image (default: SINGULARITY_CONTAINER) to singularity/ of REMOTE_PROJECT_STORAGE_DIR on REMOTE_HOST, verified.
#
# Options:
#   --dry-run    say what would be sent, change nothing
#
# Examples:
#   helper_scripts/sync_container_to_remote.sh
#   helper_scripts/sync_container_to_remote.sh --dry-run project_storage/singularity/difflogic.sif
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=helper_scripts/remote.sh
source "$repository/helper_scripts/remote.sh"

while [[ ${1:-} == -* ]]; do
  case $1 in
    --dry-run) dry_run=yes ;;
    *) misused "$1: unknown option" ;;
  esac
  shift
done
[[ $# -le 1 ]] || misused "$2: only one IMAGE can be sent"
SINGULARITY_CONTAINER=${1:-$SINGULARITY_CONTAINER}
set_up_remote SINGULARITY_CONTAINER REMOTE_PROJECT_STORAGE_DIR
[[ -f $SINGULARITY_CONTAINER ]] || fail "$SINGULARITY_CONTAINER: there is no such image file" 2

image=$(cd -- "$(dirname -- "$SINGULARITY_CONTAINER")" && pwd)/$(basename -- "$SINGULARITY_CONTAINER")
name=$(basename -- "$image")
folder=$REMOTE_PROJECT_STORAGE_DIR/singularity
checksum=$(sha256 - <"$image")
checksum=${checksum%% *}
make_remote_folder REMOTE_PROJECT_STORAGE_DIR

status=0
# shellcheck disable=SC2016 # the remote shell expands it
on_remote '
  [[ -n $4 ]] || mkdir -p -- "$1"
  [[ -f $1/$2 && $(sha256sum <"$1/$2") == "$3 "* ]] || exit 3' "$folder" "$name" "$checksum" "$dry_run" || status=$?
if [[ $status -eq 0 ]]; then
  echo "$folder/$name is on $REMOTE_HOST already, verified"
  exit
fi
[[ $status -eq 3 ]] || fail "cannot write to $folder on $REMOTE_HOST, see above"
if [[ -n $dry_run ]]; then
  echo "would send $image to $folder/$name on $REMOTE_HOST"
  exit
fi
# The file grows in place under a temporary name, so an interrupted transfer goes on where it stopped.
transfer --append-verify "$image" "$REMOTE_HOST:$folder/.$name.upload"
# shellcheck disable=SC2016
on_remote '
  cd -- "$1"
  if [[ $(sha256sum <".$2.upload") != "$3 "* ]]; then
    rm -f -- ".$2.upload"
    exit 3
  fi
  mv -fT -- ".$2.upload" "$2"' "$folder" "$name" "$checksum" ||
  fail "$name did not arrive whole on $REMOTE_HOST; run the same command again"
echo "sent $folder/$name to $REMOTE_HOST, verified"

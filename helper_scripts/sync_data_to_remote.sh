#!/usr/bin/env bash
# Usage: sync_data_to_remote.sh [--dry-run] [--dataset NAME]
# Sends the frame caches of PROJECT_STORAGE_DIR to REMOTE_PROJECT_STORAGE_DIR on REMOTE_HOST, verified here and there.
#
# Options:
#   --dry-run         say what would be sent, change nothing
#   --dataset NAME    send the caches of this dataset only
#
# Examples:
#   helper_scripts/sync_data_to_remote.sh
#   helper_scripts/sync_data_to_remote.sh --dataset NMNIST --dry-run
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=helper_scripts/remote.sh
source "$repository/helper_scripts/remote.sh"

dataset=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --dry-run) dry_run=yes ;;
    --dataset)
      [[ -n ${2:-} ]] || misused "--dataset: give the name of a dataset"
      dataset=$2
      shift
      ;;
    *) misused "$1: unknown option" ;;
  esac
  shift
done
set_up_remote REMOTE_PROJECT_STORAGE_DIR
[[ $PROJECT_STORAGE_DIR == /* ]] || PROJECT_STORAGE_DIR=$PWD/$PROJECT_STORAGE_DIR

# say TEXT: a line about the cache at hand.
say() {
  printf '%s: %s\n' "$cache" "$1" >&2
}

# checksums MANIFEST: prints what sha256sum --check reads; fails if the file is not a cache's whole manifest.
checksums() {
  python3 "$repository/helper_scripts/manifest_checksums.py" "$1"
}

# verified_on_remote FOLDER CHECKSUMS: whether the files there have these checksums.
verified_on_remote() {
  local status=0
  # shellcheck disable=SC2016 # the remote shell expands it
  on_remote 'cd -- "$1" 2>/dev/null && sha256sum --check - <<<"$2" || exit 3' "$1" "$2" >&2 || status=$?
  [[ $status -eq 0 || $status -eq 3 ]] || fail "the connection to $REMOTE_HOST failed, see above"
  return "$status"
}

# send_cache: sends $cache (data/NAME/IDENTITY); fails with a message if it is not whole on both sides afterwards.
send_cache() {
  local here=$PROJECT_STORAGE_DIR/$cache there=$REMOTE_PROJECT_STORAGE_DIR/$cache ours theirs files
  local upload=${there%/*}/.${there##*/}.upload status=0
  if ! ours=$(checksums "$here/manifest.json") || ! (cd -- "$here" && sha256 --check - <<<"$ours" >&2); then
    say "damaged here, so it is not sent; ./check_and_sync_data.sh tells what is wrong"
    return 1
  fi
  # shellcheck disable=SC2016
  on_remote 'cat -- "$1/manifest.json" 2>/dev/null || [[ ! -e $1/manifest.json ]]' "$there" >"$temporary/manifest.json" ||
    fail "cannot read $there on $REMOTE_HOST, see above"
  if theirs=$(checksums "$temporary/manifest.json" 2>/dev/null) && verified_on_remote "$there" "$theirs"; then
    if cmp -s "$temporary/manifest.json" "$here/manifest.json"; then
      say "there already, verified"
      return
    fi
    say "valid on $REMOTE_HOST too, but different; move the one that you do not want elsewhere"
    return 1
  fi
  if [[ -n $dry_run ]]; then
    say "would be sent"
    return
  fi
  # The files grow in a folder that is no cache yet, so an interrupted transfer goes on where it stopped.
  # shellcheck disable=SC2016
  on_remote 'mkdir -p -- "$1"' "$upload" || fail "cannot write to $upload on $REMOTE_HOST, see above"
  files=()
  while read -r _ file; do files+=("$here/$file"); done <<<"$ours"
  transfer --compress --append-verify "${files[@]}" "$REMOTE_HOST:$upload/"
  verified_on_remote "$upload" "$ours" || {
    # shellcheck disable=SC2016
    on_remote 'rm -rf -- "$1"' "$upload" || true
    say "did not arrive whole and was removed there; run the same command again"
    return 1
  }
  transfer "$here/manifest.json" "$REMOTE_HOST:$upload/"
  # shellcheck disable=SC2016
  on_remote '
    cd -- "$1"
    exec 9>>".$2.lock" # as check_and_sync_data.sh and a preparation lock it
    ! command -v flock >/dev/null || flock -n 9 || exit 3
    if [[ -e $2 ]]; then
      rm -f -- "$2/manifest.json"
      mv -f -- ".$2.upload"/*.safetensors "$2/"
      mv -f -- ".$2.upload/manifest.json" "$2/"
      rmdir -- ".$2.upload"
    else
      mv -T -- ".$2.upload" "$2"
    fi' "${there%/*}" "${there##*/}" || status=$?
  if [[ $status -eq 3 ]]; then
    say "another process is working on it on $REMOTE_HOST; run the same command again when it is done"
    return 1
  fi
  [[ $status -eq 0 ]] || fail "cannot bring $cache into place on $REMOTE_HOST, see above"
  say "sent, verified"
}

caches=()
datasets=''
for folder in "$PROJECT_STORAGE_DIR"/data/*/*/; do
  [[ -e $folder/manifest.json ]] || continue
  cache=${folder#"$PROJECT_STORAGE_DIR/"}
  name=${cache#data/}
  name=${name%%/*}
  [[ ", $datasets," == *", $name,"* ]] || datasets="${datasets:+$datasets, }$name"
  [[ -n $dataset && $name != "$dataset" ]] || caches+=("${cache%/}")
done
[[ ${#caches[@]} -gt 0 ]] ||
  fail "no frame cache${dataset:+ of dataset $dataset} under $PROJECT_STORAGE_DIR/data; there: ${datasets:-none}" 2
make_remote_folder REMOTE_PROJECT_STORAGE_DIR
status=0
for cache in "${caches[@]}"; do
  send_cache || status=1
done
exit "$status"

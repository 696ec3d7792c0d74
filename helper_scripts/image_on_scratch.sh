# shellcheck shell=bash
# Sourced by launch.sh: many jobs that read one image from a slow store wait for it; they share a copy on scratch.

# Sets $image, if it lies on project storage, to its copy on scratch, made by whichever job comes first. Without a copy
# the job runs from the original. DIFFLOGIC_COPY_CONTAINER=0 turns it off.
use_image_on_scratch() {
  [[ $DIFFLOGIC_COPY_CONTAINER != 0 ]] || return 0
  [[ -f $image && $image == "$PROJECT_STORAGE_DIR"/* && $image != "$SCRATCH_STORAGE_DIR"/* ]] || return 0
  local folder=$SCRATCH_STORAGE_DIR/singularity name=${image##*/}
  if ! _is_copied; then
    # A signal must not wait for gigabytes: the copy goes on by itself, and the job is to be started again.
    trap 'exit 75' TERM USR1 HUP
    trap 'exit 130' INT
    _copy_image &
    if ! wait $!; then
      note "warning: $image could not be copied to $folder; running from the original"
      name=
    fi
    trap - TERM USR1 HUP INT
  fi
  [[ -z $name ]] || image=$folder/$name
}

# Whether the copy is there and of this image: equal in size and time of change.
_is_copied() {
  [[ -f $folder/$name && $(_size_and_time "$folder/$name") == "$(_size_and_time "$image")" ]]
}

# In seconds, since not every file system keeps a finer time.
_size_and_time() {
  stat -c '%s %Y' -- "$1"
}

# Runs in a shell of its own, which ends at the first command that fails. The lock is the kernel's and ends with its
# holder. A running job keeps the copy that it began with: renaming replaces the name, not the file.
_copy_image() (
  set -e
  trap - TERM USR1 HUP INT
  mkdir -p -- "$folder"
  exec {lock}>"$folder/.$name.lock"
  flock --nonblock "$lock" || {
    note "waiting for another job that copies $image to scratch"
    flock "$lock"
  }
  ! _is_copied || exit 0
  rm -f -- "$folder/.$name".*.tmp # killed jobs have left them
  before=$(_size_and_time "$image")
  free=$(df --output=avail -B1 -- "$folder" | tail -n 1)
  if ((free < ${before% *})); then
    note "$folder has $free bytes free, the image needs ${before% *}"
    exit 1
  fi
  note "copying $image to $folder (once)"
  temporary=$folder/.$name.$BASHPID.tmp
  trap 'rm -f -- "$temporary"' EXIT
  checksum=$(tee -- "$temporary" <"$image" | sha256sum)
  touch --reference="$image" -- "$temporary"
  sync -- "$temporary"
  [[ $(sha256sum <"$temporary") == "$checksum" && $(_size_and_time "$temporary") == "$before" ]]
  mv -f -- "$temporary" "$folder/$name"
  sync -- "$folder"
)

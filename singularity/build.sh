#!/usr/bin/env bash
# Usage: singularity/build.sh [--fakeroot | --remote]
# Builds the container, tests it, and moves it to $PROJECT_STORAGE_DIR/singularity/difflogic.sif.
#
# Options:
#   --fakeroot    build without root, by apptainer's fake root
#   --remote      build on a remote service, which `apptainer remote login` sets up
#
# Examples:
#   singularity/build.sh
#   singularity/build.sh --fakeroot
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"
answer_help "" "$@"

# The image takes about 5 GB. A build on this machine also unpacks both PyTorch images.
image_gb=8
unpacked_gb=40

# require_space FOLDER GB ADVICE
require_space() {
  local free
  free=$(df --output=avail -B1GB -- "$1" | tail -n 1) || fail "cannot tell the free space of $1"
  ((free >= $2)) || fail "$1 has $((free)) GB free, and the build needs $2 GB; $3" 2
}

case $#:${1:-} in 0: | 1:--fakeroot | 1:--remote) ;; *) misused "$*: give nothing, --fakeroot or --remote" ;; esac

runtime=$(container_runtime) || fail "neither apptainer nor singularity is on PATH; one of them builds the image" 2
make_project_storage
folder=$PROJECT_STORAGE_DIR/singularity
image=$folder/difflogic.sif
mkdir -p -- "$folder" || fail "$folder: this folder cannot be made, see above" 2
require_space "$folder" "$image_gb" "set PROJECT_STORAGE_DIR to a folder with more"
if [[ ${1:-} != --remote ]]; then
  unpack_in=${APPTAINER_TMPDIR:-${SINGULARITY_TMPDIR:-${TMPDIR:-/tmp}}}
  require_space "$unpack_in" "$unpacked_gb" "set APPTAINER_TMPDIR (or SINGULARITY_TMPDIR) to a folder with more, or use --remote"
fi

exec {lock}>"$folder/.difflogic.sif.lock"
flock --nonblock "$lock" || fail "another build into $folder is running" 2
rm -f -- "$folder"/.difflogic.sif.*.tmp # killed builds have left them
temporary=$folder/.difflogic.sif.$$.tmp
trap 'rm -f -- "$temporary"' EXIT

cd -- "$repository" # the definition's %files are relative to it
# The test comes apart, so that it runs in the finished image, and with a remote build too.
"$runtime" build "$@" --notest "$temporary" singularity/difflogic.def ||
  fail "the build failed, see $(basename -- "$runtime")'s messages above; $image is as it was"
[[ -s $temporary ]] || fail "$(basename -- "$runtime") built nothing; $image is as it was"
"$runtime" test "$temporary" ||
  fail "the new image fails its test, see the messages above; $image is as it was"
sync -- "$temporary"
mv -f -- "$temporary" "$image"
sync -- "$folder"
printf 'built and tested; use it with: export SINGULARITY_CONTAINER=%q\n' "$image"

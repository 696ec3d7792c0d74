#!/usr/bin/env bash
# Usage: test.sh [--all] [pytest options]
# Runs the tests; --all adds the long system tests.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"

selection=(-m "not slow")
if [[ ${1:-} == --all ]]; then
  selection=()
  shift
fi
cd -- "$repository"
extras=(test)
# A process a core; a file's tests share what they prepare, so they stay in one.
run_python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile "${selection[@]}" "$@"

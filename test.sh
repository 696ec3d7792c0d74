#!/usr/bin/env bash
# Usage: test.sh [--all] [pytest options]
# Runs the tests; --all adds the long system tests.
#
# Examples:
#   ./test.sh
#   ./test.sh --all --exitfirst
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"
answer_help "" "$@"

selection=(-m "not slow")
if [[ ${1:-} == --all ]]; then
  selection=()
  shift
fi
cd -- "$repository"
extras=(test docs)
locks+=(requirements-extras.lock requirements-test.lock)
# One process more than cores, since many tests wait for signals and for SLURM. Each begins with a share of the tests in
# their order, so that most files stay in one process and prepare what they share once; one that is done takes tests from
# another.
processes=$(($(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) + 1))
run_python -m pytest --numprocesses="$((processes < 4 ? processes : 4))" --dist=worksteal "${selection[@]}" "$@"

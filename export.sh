#!/usr/bin/env bash
# Usage: export.sh JOB_OR_MODEL --to c|verilog|onnx|json [--out FOLDER] [--frames N] [--estimate xilinx|ice40] [--debug]
# Writes a trained model as C, Verilog, ONNX or JSON, with frames that test it.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"

[[ $# -ge 1 && $1 != -* ]] || usage 2 >&2
names_files=yes
run_python "$repository/export.py" "$@"

# shellcheck shell=bash
# Sourced by every script: where things are. A variable that is set already keeps its value.

# Kept: prepared data, models, logs, the container. Default: beside the code.
: "${PROJECT_STORAGE_DIR:=${repository:?}/project_storage}"
# Fast and wiped at any time: prepared data, checkpoints. Default: beside the code.
: "${SCRATCH_STORAGE_DIR:=$repository/scratch}"
# An image that singularity or apptainer runs; empty: a Python environment is used.
: "${SINGULARITY_CONTAINER:=}"
export PROJECT_STORAGE_DIR SCRATCH_STORAGE_DIR

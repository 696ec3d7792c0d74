# shellcheck shell=bash
# Sourced by every script, and by you, in bash or zsh: where things are. A variable that is set already keeps its value.

# Kept: prepared data, models, logs, the container. Default: beside the code (zsh has this file's name in $0).
: "${PROJECT_STORAGE_DIR:=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]:-$0}")/.." && pwd -P)/project_storage}"
# Fast and wiped at any time: prepared data, checkpoints. Default: beside the code.
: "${SCRATCH_STORAGE_DIR:=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]:-$0}")/.." && pwd -P)/scratch}"
# An image that singularity or apptainer runs; empty: a Python environment is used.
: "${SINGULARITY_CONTAINER:=}"
# 1: an image on project storage is copied to scratch once, and run from there; 0: it is run where it is.
: "${DIFFLOGIC_COPY_CONTAINER:=1}"

# Of a laptop's sync_*.sh scripts; those without a default are asked for where they are needed.
: "${REMOTE_HOST:=}"                # user@host, or a Host of ~/.ssh/config
: "${REMOTE_SSH:=ssh}"              # ssh with options, such as 'ssh -p 2222 -i keys/cluster'; split at blanks
: "${REMOTE_PROJECT_DIR:=}"         # the code's folder there, an absolute path
: "${REMOTE_PROJECT_STORAGE_DIR:=}" # its PROJECT_STORAGE_DIR there, an absolute path

export PROJECT_STORAGE_DIR SCRATCH_STORAGE_DIR

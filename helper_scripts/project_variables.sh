# shellcheck shell=bash
# Sourced by every script, and by you, in bash or zsh: where things are. A variable that is set already keeps its value.

# difflogic_expand_path VARIABLE VALUE: prints the value as the Python programs read it: a leading ~ or ~/ is the home
# folder, and $NAME and ${NAME} are replaced from the environment; one that is not set is refused. Runs in old shells too.
difflogic_expand_path() {
  local left=$2 expanded='' name value refusal="$1 = $2:"
  # shellcheck disable=SC2088 # these are patterns
  case $left in
    '~' | '~/'*) expanded=$HOME left=${left#?} ;;
    '~'*)
      printf '%s only ~ and ~/ stand for a home folder, yours; write another one out\n' "$refusal" >&2
      return 2
      ;;
  esac
  while :; do
    case $left in *'$'*) ;; *) break ;; esac
    expanded=$expanded${left%%'$'*}
    left=${left#*'$'}
    case $left in
      '{'[A-Za-z_]*'}'*) name=${left#?} name=${name%%'}'*} value=${left#*'}'} ;;
      [A-Za-z_]*) name=${left%%[!A-Za-z0-9_]*} value=${left#"$name"} ;;
      *) name='' ;;
    esac
    case $name in
      '' | *[!A-Za-z0-9_]*) expanded=$expanded'$' ;; # no name: the sign stands for itself
      *)
        left=$value
        value=$(printenv "$name") || value=''
        if [ -z "$value" ]; then
          printf '%s the environment variable %s is not set; set it, or write the path out\n' "$refusal" "$name" >&2
          return 2
        fi
        expanded=$expanded$value
        ;;
    esac
  done
  printf '%s' "$expanded$left"
}

# Kept: prepared data, models, logs, the container. Default: beside the code (zsh has this file's name in $0).
PROJECT_STORAGE_DIR=$(difflogic_expand_path PROJECT_STORAGE_DIR "${PROJECT_STORAGE_DIR:-}") || return 2
: "${PROJECT_STORAGE_DIR:=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]:-$0}")/.." && pwd -P)/project_storage}"
# Fast and wiped at any time: prepared data, checkpoints. Default: beside the code.
SCRATCH_STORAGE_DIR=$(difflogic_expand_path SCRATCH_STORAGE_DIR "${SCRATCH_STORAGE_DIR:-}") || return 2
: "${SCRATCH_STORAGE_DIR:=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]:-$0}")/.." && pwd -P)/scratch}"
# An image that singularity or apptainer runs; empty: a Python environment is used.
SINGULARITY_CONTAINER=$(difflogic_expand_path SINGULARITY_CONTAINER "${SINGULARITY_CONTAINER:-}") || return 2
# 1: an image on project storage is copied to scratch once, and run from there; 0: it is run where it is.
: "${DIFFLOGIC_COPY_CONTAINER:=1}"

# For a laptop's sync_*.sh scripts; those without a default are asked for where they are needed.
: "${REMOTE_HOST:=}"                # user@host, or a Host of ~/.ssh/config
: "${REMOTE_SSH:=ssh}"              # ssh with options, such as 'ssh -p 2222 -i keys/cluster'; split at blanks
: "${REMOTE_PROJECT_DIR:=}"         # the code's folder there: absolute, or with ~ or variables of that host
: "${REMOTE_PROJECT_STORAGE_DIR:=}" # its PROJECT_STORAGE_DIR there, likewise

export PROJECT_STORAGE_DIR SCRATCH_STORAGE_DIR

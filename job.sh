#!/usr/bin/env bash
# Usage: job.sh COMMAND [ARGUMENT]...
# Looks at jobs, exports them, and runs many at once; job.sh COMMAND --help explains a command.
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh" "" # without the arguments: --help is answered here

cli=$repository/src/cli # a file per command

# Prints the first line of a command's docstring.
summary() {
  sed -n '1s/^"""\([^"]*\).*/\1/p' "$cli/$1.py"
}

# Prints the names of all commands.
commands() {
  local file
  for file in "$cli"/[a-z]*.py; do
    basename -- "$file" .py
  done
}

# overview STATUS: prints the usage and a line per command.
overview() {
  local name
  (usage 0)
  for name in $(commands); do
    printf '  %-9s %s\n' "$name" "$(summary "$name")"
  done
  exit "$1"
}

# explain COMMAND: prints its help. That takes a Python, but none of its packages, so nothing is set up for it.
explain() {
  python3 "$cli" "$1" --help 2>/dev/null || summary "$1"
  exit 0
}

# Prints the command whose name is nearest to another word, if one is near.
nearest() {
  # shellcheck disable=SC2046 # names have no blanks
  python3 -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1], sys.argv[2:], 1))' "$1" $(commands) \
    2>/dev/null || true
}

command=${1:-}
case $command in
  -h | --help) overview 0 ;;
  "" | -*) overview 2 >&2 ;;
esac
if [[ $command == *[!a-z_]* || ! -f $cli/$command.py ]]; then
  near=$(nearest "$command")
  fail "$command: there is no such command${near:+; did you mean $near?} (see job.sh --help)" 2
fi
for word in "$@"; do
  case $word in -h | --help) explain "$command" ;; esac
done
! grep -q '^def needed_paths' "$cli/$command.py" || names_files=yes
run_python "$cli" "$@"

#!/usr/bin/env bash
# Usage: job.sh COMMAND [ARGUMENT]...
# Looks at jobs, exports them, and runs many at once; job.sh COMMAND --help explains a command.
#
# Examples:
#   ./job.sh status
#   ./job.sh compare job_001 job_002
set -euo pipefail
repository=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=helper_scripts/launch.sh
source "$repository/helper_scripts/launch.sh"

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

# Prints the usage with a line per command.
overview() {
  local name
  usage
  printf '\nCommands:\n'
  for name in $(commands); do
    printf '  %-9s %s\n' "$name" "$(summary "$name")"
  done
}

# Prints the command whose name is nearest to another word, if one is near.
nearest() {
  # shellcheck disable=SC2046 # names have no blanks
  python3 -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1], sys.argv[2:], 1))' "$1" $(commands) \
    2>/dev/null || true
}

command=${1:-}
case $command in
  -h | --help)
    overview
    exit
    ;;
  "" | -*)
    names=$(commands)
    misused "${command:+$command: }a command comes first, one of: ${names//$'\n'/, }"
    ;;
esac
if [[ $command == *[!a-z_]* || ! -f $cli/$command.py ]]; then
  near=$(nearest "$command")
  fail "$command: there is no such command${near:+; did you mean $near?} (see job.sh --help)" 2
fi
for word in "$@"; do
  case $word in
    -h | --help)
      explain src/cli "$command" || printf '%s\n%s\n' "$(summary "$command")" "Python 3.11 or newer shows the options."
      exit
      ;;
  esac
done
! grep -q '^def needed_paths' "$cli/$command.py" || names_files=yes
run_python "$cli" "$@"

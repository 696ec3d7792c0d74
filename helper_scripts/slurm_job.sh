#!/usr/bin/env bash
# The batch script of every SLURM job: slurm_job.sh REPOSITORY {COUNT WRAPPER ARGUMENT...}...
# Runs the wrapper (train.sh, prepare_data.sh) with its arguments; an array holds one such group per task, each led by
# the number of its words. SLURM copies this file when a job is submitted, so it sources nothing.
#
# The wrapper is a direct child of this shell, not a step of srun: SLURM signals this shell (--signal=B:), the wrappers
# exec, so one kill reaches Python, or the container's runtime, which passes signals on if there is no terminal.
# srun would stand between them, abort the step at the first SIGTERM, and needs its own copies of sbatch's options. Only
# a training on several nodes needs it, to start a wrapper on each: SIGUSR1 is the signal that it passes on.
set -u
if [[ ${BASH_VERSINFO[0]} -lt 4 || (${BASH_VERSINFO[0]} -eq 4 && ${BASH_VERSINFO[1]} -lt 4) ]]; then
  echo "slurm_job.sh: bash 4.4 or newer is needed, this is $BASH_VERSION; put a newer one first on PATH on the nodes too"
  exit 2
fi
# The shell that submitted the job may have told scontrol how to write times, and srun where output goes.
unset POSIXLY_CORRECT SLURM_TIME_FORMAT SLURM_EXPORT_ENV SLURM_OPEN_MODE SLURM_WAIT
unset SLURM_STDINMODE SLURM_STDOUTMODE SLURM_STDERRMODE

received= # the last signal
child=
to_srun= # the signal that srun gets for every other
# forward SIGNAL: a second signal changes nothing in Python, which ends the batch and saves a checkpoint.
# shellcheck disable=SC2329 # the traps call it
forward() {
  received=$1
  [[ -z $child ]] || kill -s "${to_srun:-$1}" "$child" 2>/dev/null
}
trap 'forward USR1' USR1 # before the time limit, and at `scancel --batch --signal=USR1`
trap 'forward TERM' TERM # at the end of a preemption's grace time, and at scancel
trap 'forward HUP' HUP   # a terminal that closes, where SLURM's tools have one

say() { printf 'slurm_job.sh: %s\n' "$1"; }

id=$SLURM_JOB_ID # the bare id of an array would mean all its tasks
[[ -z ${SLURM_ARRAY_JOB_ID:-} ]] || id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
restarts=${SLURM_RESTART_COUNT:-0}
repository=$1
shift
for ((task = ${SLURM_ARRAY_TASK_ID:-1}; task > 1; task--)); do shift "$(($1 + 1))"; done
words=("${@:2:$1}")

if [[ ${words[0]} == train.sh && -n ${SLURM_ARRAY_JOB_ID:-} ]]; then
  # SLURM names all tasks and logs of an array alike; give each its job's name, and its log a place in the job's folder.
  scontrol update JobId="$id" JobName="${words[2]}"
  logs=$PROJECT_STORAGE_DIR/logs/${words[2]}
  mkdir -p -- "$logs"
  ln -f -- "$PROJECT_STORAGE_DIR/slurm/slurm-$id.out" "$logs/"
fi
# Only a training goes on from a checkpoint and runs on several nodes; an evaluation or a preparation begins again.
training=
again="submit it again"
if [[ ${words[0]} == train.sh ]]; then
  training=yes
  for word in "${words[@]:3}"; do
    [[ $word != --evaluate ]] || training=
  done
fi
[[ -z $training ]] || again="submit it with --resume"
# While this file is there, Python has not noted the job's --restart: a start that ended before that is made once more.
export DIFFLOGIC_UNNOTED_RESTART=$PROJECT_STORAGE_DIR/logs/${words[2]:-}/.restart-$id
if [[ -n $training && $restarts == 0 ]]; then
  for word in "${words[@]:3}"; do
    [[ $word != --restart ]] || { mkdir -p -- "${DIFFLOGIC_UNNOTED_RESTART%/*}" && : >"$DIFFLOGIC_UNNOTED_RESTART"; }
  done
fi
if [[ -n $training && $restarts -gt 0 && ! -e $DIFFLOGIC_UNNOTED_RESTART ]]; then
  for i in "${!words[@]}"; do
    [[ ${words[i]} != --restart ]] || unset "words[i]" # for the first start alone
  done
  words+=(--resume)
fi

say "job $id, $restarts restarts, on $(uname -n): ${words[*]@Q}"
command=("$repository/${words[0]}" "${words[@]:1}")
nodes=${SLURM_JOB_NUM_NODES:-1}
if [[ -n $training && $nodes -gt 1 ]]; then
  to_srun=USR1
  # Jobs that share the first node differ in their numbers, and so in their ports, which are below those that are lent.
  command+=("--nodes=$nodes" "--endpoint=$SLURMD_NODENAME:$((16000 + SLURM_JOB_ID % 16000))")
  # shellcheck disable=SC2016 # each task's shell expands its own
  command=(srun --nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}"
    --kill-on-bad-exit=0 bash -c 'exec "$0" "$@" "--node_rank=$SLURM_NODEID"' "${command[@]}")
fi
"${command[@]}" &
child=$!
[[ -z $received ]] || kill -s "${to_srun:-$received}" "$child" # it came before there was a child
# If a signal arrives just as the child ends, `wait "$child"` can lose the exit code (bash 5.2). So signals interrupt only
# the wait for tail, which ends soon after the child; then the traps are off, and nothing interrupts the wait for the code.
while kill -0 "$child" 2>/dev/null; do
  tail --pid="$child" --sleep-interval=0.1 -f /dev/null &>/dev/null &
  wait "$!"
done
trap '' USR1 TERM HUP
wait "$child"
code=$?

# Death by the signal itself: it came before Python was there to note it.
if [[ -n $received && $code -gt 128 && $code == $((128 + $(kill -l "${to_srun:-$received}"))) ]]; then
  say "$received came before the program had begun"
  code=75
fi
if [[ $code != 75 ]]; then
  rm -f -- "$DIFFLOGIC_UNNOTED_RESTART"
  say "ended with exit code $code"
  exit "$code"
fi

# A job that its user cancels must not be queued again. SLURM ends a job in the same way at its time limit and for a
# preemption, but records which it was. If SLURM has already queued the job again, it refuses to do so twice.
job=$(scontrol show job "$id")
if [[ $job =~ JobState=(COMPLETING|CANCELLED) && ! $job =~ Reason=TimeLimit|PreemptTime=[0-9] ]]; then
  say "cancelled; $again to go on"
elif answer=$(scontrol requeue "$id" 2>&1) || [[ $answer == *"pending execution"* ]]; then
  say "stopped cleanly: queued again"
else
  say "stopped cleanly, but it cannot be queued again: $answer; $again"
fi
exit 75

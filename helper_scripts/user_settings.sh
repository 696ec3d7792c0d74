# shellcheck shell=bash
# Sourced by launch.sh: unsets the user's own settings of bash, Python, numba, pip, git and rsync, so that a command does the
# same for everybody, in wrappers, SLURM jobs and containers. It must run in any version of bash.
#
# It keeps what says where to run (PATH, CUDA_VISIBLE_DEVICES, LD_LIBRARY_PATH, PYTHONPATH of an active environment), how
# much to use (OMP_*, NUMBA_NUM_THREADS, PYTORCH_ALLOC_CONF), where files go (TMPDIR, NUMBA_CACHE_DIR, XDG_*, umask), where
# pip looks for packages, how a terminal looks, and the configuration of ssh.

# Functions that the user's shell exports would stand in for commands.
# shellcheck disable=SC2046 # names have no blanks
unset -f $(compgen -A function)
set +o posix +o noclobber +o noglob +o allexport
unset BASH_ENV ENV BASH_COMPAT CDPATH GLOBIGNORE GREP_OPTIONS POSIXLY_CORRECT

_set_aside() {
  local name plain
  for name in $(compgen -e); do
    plain=${name#APPTAINERENV_} # what apptainer or singularity would set in a container
    plain=${plain#SINGULARITYENV_}
    case $plain in
      PYTHONPATH | PYTHONUNBUFFERED | PYTHONDONTWRITEBYTECODE | PYTHONPYCACHEPREFIX | PYTHONFAULTHANDLER) ;;
      PYTHONUSERBASE | PYTHONNOUSERSITE) ;;
      NUMBA_NUM_THREADS | NUMBA_CACHE_DIR | NUMBA_THREADING_LAYER* | NUMBA_CPU_* | NUMBA_DEBUG_CACHE) ;;
      PIP_*INDEX* | PIP_FIND_LINKS | PIP_*CACHE_DIR | PIP_*CERT | PIP_PROXY | PIP_TRUSTED_HOST | PIP_CONFIG_FILE) ;;
      PIP_*TIMEOUT | PIP_RETRIES | PIP_KEYRING_PROVIDER | PIP_CONSTRAINT) ;;
      TQDM_DISABLE | MPLCONFIGDIR) ;;
      PYTHON* | NUMBA_* | PIP_* | TQDM_* | MPL* | MATPLOTLIB* | GIT_* | RSYNC_*) unset "$name" ;;
      # These change the results of a computation or write to the terminal.
      TORCH_ALLOW_TF32_CUBLAS_OVERRIDE | NVIDIA_TF32_OVERRIDE | TORCH_LOGS | TORCH_COMPILE_DEBUG) unset "$name" ;;
      TORCHDYNAMO_* | TORCHINDUCTOR_* | PYTORCH_JIT* | OMP_DISPLAY_ENV | KMP_SETTINGS) unset "$name" ;;
    esac
  done
  # UTF-8 in the C locale too. In a file of pip's, these would have packages installed elsewhere than in .venv.
  export PYTHONUTF8=1 PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0
}
_set_aside

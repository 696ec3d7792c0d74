# shellcheck shell=bash
# Sourced by launch.sh: runs Python in the container that SINGULARITY_CONTAINER names. Only what the command needs is
# bound: the code, read-only, both storages, and what its config and its arguments name.

# Prints the container runtime's path.
container_runtime() {
  command -v apptainer || command -v singularity
}

# make_storage VARIABLE: makes a storage root, and its variable its physical path: links that lead there may not be in
# the container. Returns 1 if the folder cannot be made.
make_storage() {
  local folder=${!1}
  mkdir -p -- "$folder" 2>/dev/null || return 1
  printf -v "$1" '%s' "$(readlink -f -- "$folder")"
}

# Makes project storage, without which no command can work.
make_project_storage() {
  make_storage PROJECT_STORAGE_DIR ||
    fail "PROJECT_STORAGE_DIR = $PROJECT_STORAGE_DIR: this folder cannot be made; name one that you may write to" 2
}

exec_in_container() {
  local runtime image cache
  runtime=$(container_runtime) ||
    fail "SINGULARITY_CONTAINER is set, but neither apptainer nor singularity is on PATH; unset it to use Python" 2
  [[ -e $SINGULARITY_CONTAINER ]] || fail "SINGULARITY_CONTAINER = $SINGULARITY_CONTAINER does not exist" 2
  image=$(readlink -f -- "$SINGULARITY_CONTAINER")
  make_project_storage

  local -A sources=() modes=() # by path in the container
  _bind "${repository:?}" ro
  _bind_folder "$PROJECT_STORAGE_DIR"
  # Training goes on without scratch, from project storage; what cannot, says so itself.
  if make_storage SCRATCH_STORAGE_DIR; then
    _bind_folder "$SCRATCH_STORAGE_DIR"
  fi

  # The user's own packages (~/.local, PYTHONPATH) must not hide the image's, and libraries and temporary folders of the
  # host are not there. What is compiled at run time is kept on scratch, since the code is read-only.
  unset LD_PRELOAD TMPDIR TEMP TMP
  cache=$SCRATCH_STORAGE_DIR/cache
  local python=(
    env -u PYTHONPATH -u PYTHONHOME PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1
    NUMBA_CACHE_DIR="$cache/numba" TRITON_CACHE_DIR="$cache/triton" DIFFLOGIC_FOLDER="$PWD"
    PROJECT_STORAGE_DIR="$PROJECT_STORAGE_DIR" SCRATCH_STORAGE_DIR="$SCRATCH_STORAGE_DIR" python3
  )
  local words=("$@")
  if [[ -n $config$names_files ]]; then
    use_image_on_scratch
    _keep_pipes
    [[ ! -e $config ]] || _bind "$config" ro
    _bind_what_is_named
  fi
  local options
  _runtime_options
  exec "$runtime" exec "${options[@]}" "$image" "${python[@]}" "${words[@]}"
}

# A pipe can be read once, and has its name in this process only: arguments that are pipes become files. They are kept on
# scratch, or on project storage if scratch cannot take them.
_keep_pipes() {
  local i file
  for i in "${!words[@]}"; do
    [[ -p ${words[i]} || -c ${words[i]} ]] || continue
    file=$(_kept "${words[i]}") ||
      fail "cannot keep the config from the pipe ${words[i]} under $SCRATCH_STORAGE_DIR or $PROJECT_STORAGE_DIR"
    [[ ${words[i]} != "$config" ]] || config=$file
    words[i]=$file
  done
}

# _kept PIPE: keeps what a pipe gives in a file, and prints its path.
_kept() {
  local text name root file
  text=$(cat -- "$1")
  name=$(sha256sum <<<"$text" | cut -c 1-16).yaml
  for root in "$SCRATCH_STORAGE_DIR" "$PROJECT_STORAGE_DIR"; do
    file=$root/cache/configs/$name
    if {
      mkdir -p -- "${file%/*}" && printf '%s\n' "$text" >"$file.$BASHPID.tmp" && mv -f -- "$file.$BASHPID.tmp" "$file"
    } 2>/dev/null; then
      printf '%s' "$file"
      return
    fi
  done
  return 1
}

# _bind PATH MODE: makes PATH visible in the container, read-only (ro) or not (rw). A link is bound by its own name and
# by its target's; only by its target's if a bound folder holds the link.
_bind() {
  local target name
  target=$(readlink -f -- "$1")
  for name in "$target" "$1"; do
    ! _is_visible "$name" || [[ $2 == rw && $name == "$target" ]] || continue
    [[ $name != *[:,\\]* && $name != *$'\n'* ]] ||
      fail "$name: a container cannot bind a path with ':', ',', '\\' or a line break; move or rename it" 2
    [[ $name != / ]] || fail "$1: the whole file system cannot be bound into a container" 2
    sources[$name]=$target
    [[ ${modes[$name]:-} == rw ]] || modes[$name]=$2
  done
}

# Whether a path lies in a bound folder.
_is_visible() {
  local folder
  for folder in "${!sources[@]}"; do
    [[ $1 != "$folder"/* ]] || return 0
  done
  return 1
}

# _bind_folder FOLDER: binds a folder, writable, and what the links in it and in its subfolders lead to. A dataset's folder
# may be a link to where the recordings lie.
_bind_folder() {
  local link target
  _bind "$1" rw
  for link in "$1"/* "$1"/*/*; do
    [[ -L $link && -e $link ]] || continue
    target=$(readlink -f -- "$link")
    [[ $target/ != "$repository"/* ]] || continue # it is there, and code stays read-only
    [[ $target == / || $target == *[:,\\]* || $target == *$'\n'* ]] || _bind "$target" rw # else it stays outside
  done
}

# Asks config_paths.py, in the container, where PyYAML is; a mistake in the config or the arguments ends here.
_bind_what_is_named() {
  local options paths line mode path
  for _ in 1 2 3; do
    _runtime_options
    paths=$("$runtime" exec "${options[@]}" "$image" "${python[@]}" -m helper_scripts.config_paths "${words[@]}") ||
      exit
    while IFS= read -r line; do
      mode=${line%% *} path=${line#* }
      [[ $mode != make ]] || mkdir -p -- "$path" 2>/dev/null || true # if not, Python says it
      case $mode in
        ro) [[ ! -e $path ]] || _bind "$path" ro ;;
        rw | make) [[ ! -e $path ]] || _bind_folder "$path" ;;
      esac
    done <<<"$paths"
    [[ $paths == *"again ."* ]] || break
  done
}

# Sets $options. The outer of two binds comes first, else it would hide the inner one. All paths that reach Python are
# absolute or, in configs, relative to the repository, so the command can start there.
_runtime_options() {
  local name
  options=(--pwd "$repository")
  [[ ! -e /dev/nvidiactl ]] || options+=(--nv)
  while IFS= read -r name; do
    options+=(--bind "${sources[$name]}:$name$([[ ${modes[$name]} == rw ]] || echo :ro)")
  done < <(printf '%s\n' "${!sources[@]}" | LC_ALL=C sort)
}

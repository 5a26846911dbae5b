# Sourced by jobs/quickstart.sh and tests/run.sh: installs what is missing, then configures and builds in build/.
#
#   reap_setup PACKAGE...   makes sure the packages to build reap, and those named, are there; builds
#
# On Debian and Ubuntu, apt installs missing packages (as root, or by sudo without a password). If it may not,
# the script names the packages and stops. On other systems it names them and goes on. A build folder
# that is up to date costs about a second.

reap_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
reap_build=$reap_root/build

reap_packages=(build-essential cmake pkg-config libopenmpi-dev openmpi-bin libscalapack-openmpi-dev libopenblas-dev
  libhdf5-openmpi-dev libprotobuf-c-dev protobuf-c-compiler libonnx-dev libcjson-dev libssl-dev libdnnl-dev)

# For tests/run.sh --fuzz. Debian has the fuzzer's runtime in a package of its own, named after the version of clang.
reap_fuzz_packages=(clang libclang-rt-14-dev)

reap_say() { printf '%s\n' "$*" >&2; }

# Prints those of the named packages that are not installed.
reap_missing() {
  local p
  for p in "$@"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || printf '%s\n' "$p"
  done
}

reap_install() {
  if ! command -v dpkg-query >/dev/null; then
    # Another system: modules or its own packages may serve. CMake reports what it cannot find.
    reap_say "Not a Debian system: please install the equivalents of: $*"
    return 0
  fi
  local missing
  mapfile -t missing < <(reap_missing "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  local as=()
  if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
      as=(sudo)
    else
      reap_say "These packages are missing, and installing them needs root:"
      reap_say "  sudo apt-get install ${missing[*]}"
      return 1
    fi
  fi
  reap_say "Installing: ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { "${as[@]}" apt-get update && "${as[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    reap_say "apt-get failed; the whole log is in $log"
    return 1
  fi
  rm -f "$log"
}

# Cores that this process may use; nproc alone prints OMP_NUM_THREADS where that is set.
reap_cores() {
  env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc
}

# reap_configure_and_build [cmake options]: quiet unless something fails.
reap_configure_and_build() {
  mkdir -p "$reap_build"
  local log=$reap_build/setup.log
  if ! { cmake -S "$reap_root" -B "$reap_build" -DCMAKE_BUILD_TYPE=Release "$@" &&
      cmake --build "$reap_build" -j "$(reap_cores)"; } >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    reap_say "The build failed; the whole log is in $log"
    return 1
  fi
}

# One thread per rank, more ranks than cores allowed, root allowed (containers): what a laptop or CI needs.
reap_mpi_environment() {
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  export OMPI_MCA_rmaps_base_oversubscribe=${OMPI_MCA_rmaps_base_oversubscribe:-1}
  if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
}

reap_setup() {
  reap_install "${reap_packages[@]}" "$@" || return 1
  reap_say "Building in build/ ..."
  reap_configure_and_build || return 1
  reap_mpi_environment
}

# Shared by the scripts here: paths, the user that servers run as, throw-away clusters.
# To be sourced; leaves the working directory at the repository's root.

set -euo pipefail
export LC_ALL=C.UTF-8

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
umask 022

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Runs the caller's function `run` for each argument, as many at a time as there are processors.
run_in_parallel()
{
  local argument

  for argument in "$@"; do
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
      wait -n || true
    done
    run "$argument" &
  done
  wait
}

# Runs a command as root: directly, or through sudo.
as_root()
{
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this step needs root, and there is no sudo: $*"
  fi
}

# PostgreSQL refuses to run as root.  Root hands its servers to DSVL2_USER, else to
# the user that called sudo, else to the package's own user.
server_user()
{
  local user

  if [ "$(id -u)" -ne 0 ]; then
    id -un
    return
  fi
  for user in "${DSVL2_USER:-}" "${SUDO_USER:-}" postgres nobody; do
    if [ -n "$user" ] && id -u "$user" >/dev/null 2>&1 && [ "$(id -u "$user")" -ne 0 ]; then
      printf '%s\n' "$user"
      return
    fi
  done
  die "no ordinary user to run a server as: set DSVL2_USER"
}

# Runs a command as the server user, with this environment; not in this folder, which
# that user may be unable to enter.
as_server()
{
  if [ "$(id -un)" = "$SERVER_USER" ]; then
    "$@"
  else
    runuser -u "$SERVER_USER" -- env -C / "$@"
  fi
}

# Sets PG_CONFIG, BINDIR, PGXS_DIR and SERVER_USER; to be called after install-deps.
find_postgres()
{
  PG_CONFIG=${PG_CONFIG:-pg_config}
  # an absolute path, since sudo may look elsewhere
  PG_CONFIG=$(command -v "$PG_CONFIG") || die "cannot find pg_config: run scripts/install-deps"
  BINDIR=$("$PG_CONFIG" --bindir)
  PGXS_DIR=$(dirname "$(dirname "$("$PG_CONFIG" --pgxs)")")
  [ -x "$BINDIR/initdb" ] || die "no server in $BINDIR: run scripts/install-deps"
  SERVER_USER=$(server_user)
  export PG_CONFIG
}

# Builds and installs; make's own arguments may follow.
build_and_install()
{
  make -s -j"$(nproc)" PG_CONFIG="$PG_CONFIG" "$@" all
  install_built "$@"
}

install_built()
{
  if [ -w "$("$PG_CONFIG" --pkglibdir)" ] && [ -w "$("$PG_CONFIG" --sharedir)/extension" ]; then
    make -s PG_CONFIG="$PG_CONFIG" "$@" install >/dev/null
  else
    as_root make -s PG_CONFIG="$PG_CONFIG" "$@" install >/dev/null
  fi
}

# on_exit COMMAND: runs it at the end, whatever the end is; keeps the exit status.
on_exit()
{
  trap 'exit 130' HUP INT TERM PIPE
  trap "$1" EXIT
}

# A new folder under /tmp that belongs to the server user and to nobody else.  /tmp
# and not TMPDIR: the path of a Unix socket has to fit into 107 bytes.
new_work_dir()
{
  as_server mktemp -d "/tmp/dsvl2-$1.XXXXXX"
}

# Copies what servers and their tests read into $1: an ordinary user need not be able
# to read the checkout.
copy_tree()
{
  local dir=$1

  as_server mkdir -p "$dir/build/regress"
  tar -C "$ROOT" -cf - --exclude='*.o' --exclude='*.d' --exclude='*.so' \
    Makefile dsvl2.control README.md sql expected models fonts scripts test \
    | as_server tar -C "$dir" -xf - --no-same-owner
}

# start_cluster DIR USER [LINE...]: a cluster in DIR/data, reachable through a socket
# in DIR alone, with the given lines in its postgresql.conf.  It computes in fp32, of which the
# answers that we know are.  Whoever can enter DIR (its
# owner and root) may connect without a password; nobody else can.
start_cluster()
{
  local dir=$1 user=$2
  shift 2

  as_server "$BINDIR/initdb" -D "$dir/data" -U "$user" -A trust -E UTF8 --locale=C.UTF-8 \
    --no-sync >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; die "initdb failed"; }
  printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$dir'" \
    "unix_socket_permissions = 0700" 'fsync = off' 'max_connections = 40' \
    'dsvl2.precision = fp32' "$@" \
    | as_server tee -a "$dir/data/postgresql.conf" >/dev/null
  if ! as_server "$BINDIR/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -s start; then
    as_server tail -20 "$dir/server.log" >&2
    die "the server does not start: see $dir/server.log"
  fi
}

# Stops the servers of all clusters below a folder.
stop_clusters()
{
  local file

  as_server find "$1" -maxdepth 4 -name postmaster.pid | while read -r file; do
    as_server "$BINDIR/pg_ctl" -D "${file%/*}" -w -s -m immediate stop >/dev/null 2>&1 || true
  done
}

# Stops them and removes the folder.
remove_work_dir()
{
  stop_clusters "$1"
  as_server rm -rf "$1"
}

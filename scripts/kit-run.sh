#!/bin/sh
# warptile's GPU kit: runs the tests, checks and benchmarks on an x86-64 Linux host that has neither Node nor network.
#
#   run test [jest arguments]    the GPU suite; WARPTILE_OPERATION, WARPTILE_FILTER, WARPTILE_REDUCED=1, WARPTILE_REPORT=FILE
#   run check|bench|doctor ...   the warptile command
#   run node [FILE] ...          Node, with the package importable from the unpacked folder
#   run path                     unpacks, and prints where
#
# The parts beside this file are unpacked once into $WARPTILE_KIT_DIR, or $TMPDIR (/tmp), or beside this file. Needs sh, tar,
# and xz or python3.
set -eu
kit_id='@KIT_ID@'
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

usage() {
  sed -n '4,8s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

decompress() {
  if command -v xz >/dev/null 2>&1; then
    xz -dc "$1"
  elif command -v python3 >/dev/null 2>&1; then
    python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer, 1 << 20)' "$1"
  else
    echo "kit: neither xz nor python3 to decompress $1" >&2
    return 1
  fi
}

# The folder that is being unpacked into. A signal exits, once tar has ended, and what exits removes the folder.
staging=''
discard() {
  [ -z "$staging" ] || rm -rf "$staging"
  staging=''
}
trap discard EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Into a fresh folder, moved into place when whole, so that a broken or concurrent run leaves nothing half done.
unpack_into() {
  parent=$1
  home="$parent/warptile-kit-$kit_id"
  [ -x "$home/bin/node" ] && return 0
  mkdir -p "$parent" || return 1
  # Named before it is made: what a signal interrupts is removed all the same.
  staging="$home.$$"
  mkdir -m 700 "$staging" || {
    staging=''
    return 1
  }
  for part in runtime package; do
    # The marker tells a failed decompression from an empty archive: sh has no pipefail.
    { decompress "$here/$part.tar.xz" && : >"$staging/.$part"; } | tar -xf - -C "$staging" && [ -e "$staging/.$part" ] || {
      discard
      return 1
    }
  done
  if ! "$staging/bin/node" --version >/dev/null; then
    echo "kit: Node does not start from $parent" >&2
    discard
    return 1
  fi
  mv -T "$staging" "$home" 2>/dev/null || :
  discard
  [ -x "$home/bin/node" ]
}

[ $# -gt 0 ] || usage
command=$1
shift
home=''
for parent in ${WARPTILE_KIT_DIR:+"$WARPTILE_KIT_DIR"} "${TMPDIR:-/tmp}" "$here"; do
  if unpack_into "$parent"; then break; fi
  home=''
done
[ -n "$home" ] || {
  echo 'kit: could not be unpacked; set WARPTILE_KIT_DIR to a folder with 250 MB of room that may hold programs' >&2
  exit 1
}
PATH="$home/bin:$PATH"
export PATH

case $command in
  test) exec "$home/bin/node" "$home/node_modules/jest/bin/jest.js" --config "$home/jest.kit.json" "$@" ;;
  node) exec "$home/bin/node" "$@" ;;
  path) printf '%s\n' "$home" ;;
  check | bench | doctor) exec "$home/bin/node" "$home/dist/esm/lib/cli/main.js" "$command" "$@" ;;
  *) usage ;;
esac

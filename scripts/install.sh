#!/usr/bin/env bash
# Installs gpucompat below a prefix, and removes exactly what it installed. See --help.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

usage() {
    cat <<END
usage: scripts/install.sh [--prefix DIR] [--destdir DIR] [--from DIR]
       scripts/install.sh --uninstall [--prefix DIR] [--destdir DIR]

Installs into the prefix
  bin/gpucompat
  lib/gpucompat/libgpucompat.so, libgpucompat_audit.so, manifest
  share/man/man1/gpucompat.1
  share/doc/gpucompat/

  --prefix DIR     where (default /usr/local)
  --destdir DIR    a folder that stands for / while a package is made
  --from DIR       a folder with gpucompat, libgpucompat.so and libgpucompat_audit.so; without it they are built, by
                   cargo, and as root what that needs of Debian's packages is installed. To build as yourself:
                   cargo build --release -p gpucompat -p gpucompat-audit -p gpucompat-launcher
                   sudo scripts/install.sh --from target/release
  --uninstall      removes the files of the manifest, and the folders that were made for them and are empty

A file that is in the way and was not installed by this script is left as it is, and nothing is installed.
END
}

# list_documents: the files of share/doc/gpucompat, relative to the source folder.
list_documents() {
    (cd "$ROOT" && find README.md ARCHITECTURE.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT docs -type f | sort)
}

# list_targets: everything that is installed, relative to the prefix; the manifest first.
list_targets() {
    printf '%s\n' "$MANIFEST" bin/gpucompat lib/gpucompat/libgpucompat.so lib/gpucompat/libgpucompat_audit.so \
        share/man/man1/gpucompat.1
    list_documents | sed 's|^|share/doc/gpucompat/|'
}

# listed KIND: the manifest's rows of a kind, file or folder.
listed() {
    if [ -f "$BASE/$MANIFEST" ]; then sed -n "s/^$1 //p" "$BASE/$MANIFEST"; fi
}

# make_folder RELATIVE: makes it and its parents below the prefix; prints those that were not there. Folders above the
# prefix, and the prefix itself, are nobody's to remove.
make_folder() {
    if [ -d "$BASE/$1" ]; then return; fi
    case $1 in */*) make_folder "${1%/*}" ;; esac
    mkdir -p "$BASE/$1"
    printf '%s\n' "$1"
}

# remove_all: what the manifest lists, then its folders that are empty, innermost first.
remove_all() {
    local files folders row
    # The manifest goes last: until then, whatever was stopped half-way can be gone through again.
    files=$(listed file | grep -vxF "$MANIFEST"; printf '%s\n' "$MANIFEST")
    folders=$(listed folder | sort -r)
    while IFS= read -r row; do [ -z "$row" ] || rm -f "$BASE/$row"; done <<<"$files"
    while IFS= read -r row; do [ -z "$row" ] || rmdir "$BASE/$row" 2>/dev/null || true; done <<<"$folders"
}

# remove_obsolete TARGETS KNOWN: files of an older version that this one does not have.
remove_obsolete() {
    local row
    while IFS= read -r row; do
        if [ -n "$row" ] && ! grep -qxF -e "$row" <<<"$1"; then rm -f "$BASE/$row"; fi
    done <<<"$2"
}

install_all() {
    local from=$1 row targets known folders manual
    umask 022 # for other users as well
    if [ -z "$from" ]; then
        need_build_tools
        say "building gpucompat"
        (cd "$ROOT" && cargo build --release --locked -p gpucompat -p gpucompat-audit -p gpucompat-launcher)
        from=$(cd "$ROOT" && realpath "${CARGO_TARGET_DIR:-target}")/release
    fi
    for row in gpucompat libgpucompat.so libgpucompat_audit.so; do
        [ -f "$from/$row" ] || die "$from/$row is not there"
    done
    manual=$("$from/gpucompat" man) || die "$from/gpucompat man failed"

    targets=$(list_targets)
    known=$(listed file)
    while IFS= read -r row; do
        { [ -e "$BASE/$row" ] || [ -L "$BASE/$row" ]; } || continue
        grep -qxF -e "$row" <<<"$known" ||
            die "$BASE/$row is there and was not installed by this script; nothing was changed"
    done <<<"$targets"

    # The manifest is written first, so that --uninstall undoes whatever was stopped half-way.
    remove_obsolete "$targets" "$known"
    folders=$(listed folder; while IFS= read -r row; do make_folder "${row%/*}"; done <<<"$targets")
    { sed '/^$/d; s/^/folder /' <<<"$folders"; list_targets | sed 's/^/file /'; } >"$BASE/$MANIFEST"

    install -m 755 "$from/gpucompat" "$BASE/bin/gpucompat"
    install -m 755 "$from/libgpucompat.so" "$from/libgpucompat_audit.so" "$BASE/lib/gpucompat/"
    install -m 644 /dev/stdin "$BASE/share/man/man1/gpucompat.1" <<<"$manual"
    list_documents | while IFS= read -r row; do
        install -m 644 "$ROOT/$row" "$BASE/share/doc/gpucompat/$row"
    done
    say "installed below $PREFIX; remove it with scripts/install.sh --uninstall --prefix '$PREFIX'"
}

PREFIX=/usr/local
DESTDIR=
MANIFEST=lib/gpucompat/manifest
from='' uninstall=''
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit ;;
    --uninstall) uninstall=yes ;;
    --prefix | --destdir | --from)
        [ -n "${2:-}" ] || die "$1 wants a folder"
        case $1 in
        --prefix) PREFIX=$2 ;;
        --destdir) DESTDIR=$2 ;;
        --from) from=$2 ;;
        esac
        shift
        ;;
    *) usage >&2; die "unknown option: $1" ;;
    esac
    shift
done
case $PREFIX in /*) ;; *) die "--prefix wants an absolute path, not $PREFIX" ;; esac
case $PREFIX in *[[:space:]:]*) die "the dynamic linker cannot preload from a path with blanks or colons: $PREFIX" ;; esac
BASE=${DESTDIR%/}${PREFIX%/}

if [ -n "$uninstall" ]; then
    [ -f "$BASE/$MANIFEST" ] || die "nothing to remove: $BASE/$MANIFEST is not there"
    remove_all
    say "removed from $BASE"
else
    install_all "$from"
fi

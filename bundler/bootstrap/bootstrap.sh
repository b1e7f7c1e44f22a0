#!/bin/sh
# From a host without airgap to one that has it, out of the papers that lie beside this script.
#
#   sh bootstrap.sh --key officer.pub [--key second.pub ...] --to FOLDER
#
# Every key given must have signed. Nothing of bootstrap/ is run, unpacked or installed before its
# bytes matched what was signed. BOOTSTRAP.md says how to check this very script first.
# Needs coreutils, openssl 1.1.1 or newer, and a Python that the bundle is for; or tar and gzip, where
# the bundle brings its Python. No root, no network, no compiler. Nothing outside FOLDER is written.
set -euf
umask 022
unset CDPATH
export LC_ALL=C

say() { printf '%s\n' "$*"; }
end() { # exit code, what is wrong, what to do
    printf '%s: %s\nnext: %s\n' "$([ "$1" = 3 ] && echo refused || echo stopped)" "$2" "$3" >&2
    exit "$1"
}
usage() { end 2 "$1" 'sh bootstrap.sh --key officer.pub [--key second.pub ...] --to FOLDER'; }

# --- the command line: what stays in "$@" are the keys -------------------------------------------

beside=$(dirname -- "$0")
to=
left=$#
[ "$((left % 2))" = 0 ] || usage "'$*' are no pairs of an option and its value"
while [ "$left" -gt 0 ]; do
    case $1 in
        --key) set -- "$@" "$2" ;;
        --to) to=$2 ;;
        *) usage "'$1' is no option" ;;
    esac
    shift 2
    left=$((left - 2))
done
[ -n "$to" ] || usage 'no folder is given'
[ $# -gt 0 ] || usage 'no key is given'

# --- what the host must have -----------------------------------------------------------------------

[ "$(uname -s)" = Linux ] || end 1 "this is $(uname -s), and the bundle is for Linux" 'use a Linux host'
for tool in cat chmod cp cut df du head mkdir openssl rm sha256sum sha384sum wc; do
    command -v "$tool" >/dev/null || end 1 "'$tool' is not installed" 'install coreutils and openssl'
done
case $(openssl version) in
    'OpenSSL 1.1.1'* | 'OpenSSL '[3-9]*) ;;
    *) end 1 "expected OpenSSL 1.1.1 or newer, found $(openssl version)" 'install a newer openssl' ;;
esac
[ ! -e "$to" ] || end 1 "'$to' is there already" "give another folder: --to $to.new"
mkdir -p -- "$to" || end 1 "'$to' cannot be made" 'give a folder that you may write with --to'
trap 'rm -rf -- "$to"' EXIT
trap 'exit 130' HUP INT TERM
to=$(cd -- "$to" && pwd)
papers=$to/papers
mkdir -- "$papers"
printf '#!/bin/sh\n' >"$to/runs" && chmod 700 "$to/runs"
"$to/runs" 2>/dev/null ||
    end 1 "programs may not run in '$to' (noexec, or a policy of this host)" 'give another folder with --to'
need=$(du -sk -- "$beside/bootstrap" | cut -f 1)
free=$(df -Pk -- "$to" | { read -r _; read -r _ _ _ free _; echo "$free"; })
[ "$free" -gt "$((5 * need))" ] ||
    end 1 "'$to' has $free KiB free, expected $((5 * need))" 'free some space, or give another folder with --to'

# --- who signed: every key given, over the statement -------------------------------------------------

take() { # a file of at most so many bytes, copied once: the medium may answer otherwise a second time
    [ -f "$beside/$1" ] && [ ! -L "$beside/$1" ] || end 3 "'$1' is not there, or is no plain file" "$3"
    head -c "$(($2 + 1))" -- "$beside/$1" >"$papers/${1##*/}"
    [ "$(wc -c <"$papers/${1##*/}")" -le "$2" ] || end 3 "'$1' is larger than $2 bytes" "$3"
}
again='copy it again; if that does not help, ask who built the bundle'

take statement.json 65536 "$again"
statement=$(cat "$papers/statement.json")
{
    printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(wc -c <"$papers/statement.json")"
    cat "$papers/statement.json"
} >"$papers/pae"

seen=
for key in "$@"; do
    cp -- "$key" "$papers/key" || end 2 "the key '$key' cannot be read" 'give the file of a public key'
    case $(cat "$papers/key") in
        *-BEGIN*-BEGIN*) end 2 "'$key' holds several keys" 'give each key in a file of its own' ;;
    esac
    kind=$(openssl pkey -pubin -in "$papers/key" -noout -text 2>/dev/null | head -n 1)
    id=$(openssl pkey -pubin -in "$papers/key" -outform DER 2>/dev/null | sha256sum | cut -c 1-8)
    [ -n "$kind" ] || end 2 "'$key' is no public key that this openssl reads" 'give the file NAME.ecdsa-p384.pub'
    case $seen in *"$id"*) end 2 "'$key' was given already" 'give each key once' ;; esac
    seen="$seen $id"
    signature=statement.json.$id.sig
    take "$signature" 65536 "ask the owner of '$key' to sign; or do not give a key that need not sign"
    signature=$papers/$signature
    case "$kind, $(openssl version)" in
        *'384 bit'*) ;;
        *', OpenSSL 1'*) end 1 "this openssl cannot check the key '$key'" "give that owner's NAME.ecdsa-p384.pub" ;;
    esac
    case $kind in
        *'384 bit'*) openssl dgst -sha384 -verify "$papers/key" -signature "$signature" "$papers/pae" ;;
        *) openssl pkeyutl -verify -pubin -inkey "$papers/key" -rawin -in "$papers/pae" -sigfile "$signature" ;;
    esac >/dev/null 2>&1 || end 3 "the signature by '$key' is bad: somebody changed the statement" "$again"
    say "signed by $key"
done

# --- what was signed: this script, and the list of bootstrap/ --------------------------------------------

case $statement in
    *'"predicateType":"urn:airgap-bundler:bundle:v1"'*) ;;
    *) end 3 'what was signed is no bundle' "$again" ;;
esac
case $statement in *'"hash":"sha384"'*) sum=sha384sum ;; *) sum=sha256sum ;; esac
must_be_signed() { # name, file
    case $statement in
        *"\"$($sum <"$2" | cut -d ' ' -f 1)\"},\"name\":\"$1\"}"*) ;;
        *) end 3 "'$1' is not what was signed" "$again" ;;
    esac
}
must_be_signed bootstrap.sh "$0"
take bootstrap/SHA256SUMS 1048576 "$again"
must_be_signed bootstrap/SHA256SUMS "$papers/SHA256SUMS"

# --- what the signed list wants of this host: asked before the large files are copied --------------------

fits() { # a Python, a target as cp311-manylinux_2_28_x86_64: exit code 0, or what is there instead
    "$1" -I - "$2" <<'END'
import platform, sys
try:
    import venv
except ImportError as error:
    sys.exit(f"{sys.executable} lacks its module {error.name}")
cpython, _, rest = sys.argv[1].partition("-manylinux_")
major, minor, machine = rest.split("_", 2)
libc, version = platform.libc_ver()
here = "cp%d%d" % sys.version_info[:2]
if here != cpython or sys.implementation.name != "cpython":
    sys.exit(f"{sys.executable} is {here}")
if libc != "glibc" or tuple(map(int, version.split(".")[:2])) < (int(major), int(minor)):
    sys.exit(f"the C library is {libc or 'not glibc'} {version}")
if platform.machine() != machine:
    sys.exit(f"the processor is {platform.machine()}")
END
}

find_python() { # sets target and python: `carried` while the bundle's own is named and not copied yet
    python= found= targets=
    while read -r _ list; do
        case $list in requirements-*.txt) ;; *) continue ;; esac
        target=${list#requirements-} target=${target%.txt} version=${target%%-*}
        targets="$targets $target"
        case $target in *"_$(uname -m)") ;; *) continue ;; esac
        case $sums in
            *"  python-$target.tar.gz"*)
                for tool in tar gzip; do
                    command -v "$tool" >/dev/null || end 1 "'$tool' is not installed" 'install tar and gzip'
                done
                if [ ! -f "$papers/python-$target.tar.gz" ]; then python=carried && return; fi
                tar -xzf "$papers/python-$target.tar.gz" -C "$to" --no-same-owner
                set -- "$to/python/bin/python3"
                ;;
            *) set -- "python3.${version#cp3}" python3 ;;
        esac
        for one in "$@"; do
            command -v "$one" >/dev/null || continue
            if why=$(fits "$one" "$target" 2>&1); then python=$one && return; fi
            found="$found; $why"
        done
    done <"$papers/SHA256SUMS"
    end 1 "the bundle is for$targets; found $(uname -m)${found:-, and no python3}" \
        'install such a Python with its module venv; or ask for a bundle that carries one (docs/bootstrap.md)'
}
sums=$(cat "$papers/SHA256SUMS")
find_python

# --- what was signed: every file of bootstrap/ -----------------------------------------------------------
while read -r _ name; do
    take "bootstrap/$name" 1073741824 "$again"
done <"$papers/SHA256SUMS"
(cd -- "$papers" && sha256sum -c --quiet --strict SHA256SUMS) >&2 ||
    end 3 'a file of bootstrap/ is not what was signed' "$again"
say 'every file of bootstrap/ is what was signed'
[ "$python" != carried ] || find_python

# --- the environment: pip runs out of its own wheel, and takes nothing but what was checked ------------

pip() { PIP_CONFIG_FILE=/dev/null "$to/bin/python" -I "$pip_wheel/pip" --isolated --disable-pip-version-check "$@"; }

"$python" -I -m venv --without-pip "$to" || end 1 "$python makes no environment" 'see what it says above'
while read -r _ name; do
    case $name in pip-*.whl) pip_wheel=$papers/$name ;; esac
done <"$papers/SHA256SUMS"
pip install --quiet --no-cache-dir --no-index --find-links "$papers" --only-binary :all: \
    --require-hashes -r "$papers/requirements-$target.txt" ||
    end 1 'pip did not install what was checked' 'see what it says above'
rm -rf -- "$papers" "$to/runs"
trap - EXIT
say "installed: $to/bin/airgap ($("$to/bin/airgap" --version))"
say 'next: trust the keys by their numbers on paper, verify, mount: BOOTSTRAP.md goes on'

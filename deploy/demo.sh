#!/bin/sh
# The whole path on one machine: `make demo`, or deploy/demo.sh FOLDER with `airgap` on the PATH.
# Every command is printed as it runs; the first that fails ends the demo with its exit code.
set -eu
umask 077

mkdir -p "${1:?usage: deploy/demo.sh FOLDER}"
cd "$1"
rm -rf builder host
mkdir builder

step() {
    printf '\n$ %s\n' "$1"
    eval "$1"
}

echo "in $PWD"
export AIRGAP_KEYS="$PWD/builder/keys" AIRGAP_ROOT="$PWD/host"
od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >builder/passphrase

printf '\n# The connected side: a signer, and a signed bundle of a real Whisper model.\n'
step "airgap keygen demo-officer --passphrase-file builder/passphrase >builder/paper.txt"
step "cat builder/paper.txt"
step "airgap build demo --key demo-officer --passphrase-file builder/passphrase --out builder"
bundle=$(echo builder/demo-*/demo-*.tar.zst)
fingerprint=$(sed -n '/for paper/{n;s/^ *//;p;}' builder/paper.txt)

printf '\n# The isolated host, here another folder: it trusts the fingerprint, typed from paper.\n'
step "airgap trust init"
step "airgap trust add builder/keys/demo-officer.*.pub --signer demo-officer \\
    --fingerprint '$fingerprint'"
step "airgap verify $bundle"
step "airgap mount $bundle"
step "airgap transcribe host/mounts/demo/current/samples/jfk/jfk.wav"

cat <<END

That text was made by a process that had left the network. Where everything lies, in $PWD:
  builder/keys/          the signer's keys; builder/passphrase opens them
  builder/paper.txt      their fingerprint
  $bundle
                         the bundle; beside it the papers that prove it without airgap
  host/                  the isolated host: trust store, models by digest, mounts
  host/mounts/demo/current/hf
                         HF_HOME for any other program
END

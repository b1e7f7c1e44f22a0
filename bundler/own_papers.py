"""The papers inside a bundle's tree: README.txt and SHA256SUMS, for whoever unpacks it by hand."""

from __future__ import annotations

from collections.abc import Mapping

README = "README.txt"
SUMS = "SHA256SUMS"
SCAN = "scan.json"


def readme(name: str, version: str) -> bytes:
    """What this is and how to use it without airgap."""
    return f"""\
{name} {version}: an airgap bundle, unpacked by hand.

Unpacking proves nothing. `airgap verify` checks the .tar.zst against the keys that your site
trusts; SIGNERS.txt beside it says how to do that with openssl and sha256sum.

The files match their digests if this prints nothing but OK (it does not see files that were
added):

  sha256sum -c --strict SHA256SUMS

faster-whisper and huggingface_hub load from here, with no network:

  export HF_HOME="$PWD/hf" HF_HUB_OFFLINE=1

manifest.json lists what is inside, from where, and under which licence; scan.json what the files
were judged to be before they were signed.
""".encode()


def sums(digests: Mapping[str, str]) -> bytes:
    """SHA256SUMS over these files, as coreutils reads it, sorted by path."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items())).encode()

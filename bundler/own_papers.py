"""README.txt of a bundle's tree, for whoever unpacks it by hand; and what its papers are called."""

from __future__ import annotations

README = "README.txt"
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

REVIEW.html shows what is inside, from where, under which licence, and what was judged before it
was signed; manifest.json, sbom.cdx.json (CycloneDX 1.6) and scan.json say the same for programs.
""".encode()

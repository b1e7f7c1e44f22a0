"""The bundle itself: its format, its trust and its command; knows neither of its two sides.

errors, limits, digest, files, places    what everything stands on
manifest, statement, envelope            what is inside, what is signed, the signatures
keys, signing                            public keys; private keys
archive, tar                             head, table, frames; the tar dialect inside them
volume_names, volumes, damage            the files that a bundle lies in; what is wrong with them
recovery, repair, confined               PAR2 beside a bundle, used by a program that is held fast
attestation, provenance, response, jcs   what a host says of a transcript that it made
trust, verify                            the host's policy; bytes + policy -> VerifiedBundle
papers, signers_text, checksums          what lies beside a bundle for people
minisign, model_signature,               and for other tools: their formats, their files,
signature_files, signed_papers           and the keys that make them
transfer, sink, http_answer              one file from a server, through whatever happens
authorities, object_store                whose certificates are trusted; which S3 is meant
caches                                   what the caches of a machine hold; each side fills it in
console, cli                             the output sink; the `airgap` command
"""

from typing import Final

__all__ = ["__version__"]

__version__: Final = "0.1.0"
"""Of the distribution. Here, because reading it from the installed metadata takes 20 ms."""

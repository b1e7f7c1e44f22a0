"""What `airgap` alone says where nothing is mounted: what it is, and how each side begins."""

from __future__ import annotations

from typing import Final

_CONNECTED: Final = """\
On a connected machine:
  airgap keygen NAME                your keys, and the fingerprint to carry on paper
  airgap build demo --key NAME      a profile -> one signed file, with its papers
  airgap carry demo-1.0.0 /media/stick
                                    onto the medium, read back and compared
"""

_ABSENT: Final = "  (not installed here: pip install 'airgap-bundler[bundler]')\n"

_ISOLATED: Final = """\
On the isolated host:
  airgap trust init && airgap trust add NAME.*.pub --signer NAME --fingerprint '…'
                                    whom to believe, from paper
  airgap mount /media/stick/demo-1.0.0
                                    verified first, then laid out
  airgap serve                      transcription in a browser, and by OpenAI's API
"""


def text(*, connected: bool) -> str:
    """The introduction; `connected` says whether that side is installed here."""
    return (
        "airgap carries speech models across an air gap, so that what crossed can be proven.\n\n"
        f"{_CONNECTED}{'' if connected else _ABSENT}\n{_ISOLATED}\n"
        "All verbs: airgap --help. One of them, with examples: airgap VERB --help."
    )

"""Papers beside a bundle, made from its head alone: statement, raw signatures, SIGNERS.txt.

With these, openssl and sha256sum check the bundle without a line of ours. They are copies for
people and other tools: nothing of ours reads them back as evidence.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from airgap import limits, volume_names, volumes
from airgap.archive import SKIPPABLE_HEADER, read_head
from airgap.envelope import PAYLOAD_TYPE, Envelope, Signature
from airgap.files import write_whole
from airgap.statement import Statement, approval_code

STATEMENT = "statement.json"
SIGNERS = "SIGNERS.txt"

_SIGNED = re.compile(r"^  ([a-z0-9][a-z0-9._-]*) +(\S+) +([0-9a-f]{64})$", re.MULTILINE)

_UNNAMED = "-"


def signature_file(signature: Signature) -> str:
    """`statement.json.KEYID8.sig`: the raw signature over the statement's PAE."""
    return f"{STATEMENT}.{signature.key_id[:8]}.sig"


def write(bundle: Path, names: Mapping[str, str]) -> None:
    """Write the papers of a bundle into the folder of its head, replacing older ones.

    Args:
        bundle: the .tar.zst, or one of its volumes, with the head that it has now.
        names: names of signers by key id, as far as they are known; those that an older
            SIGNERS.txt gives are kept.
    """
    files = volume_names.locate(bundle)
    with volumes.opened_files(files.alone) as source:
        envelope = read_head(source)
    folder = files.first.parent
    known = {**_names_in(folder / SIGNERS), **names}
    write_whole(folder / STATEMENT, envelope.statement)
    for signature in envelope.signatures:
        write_whole(folder / signature_file(signature), signature.value)
    text = signers_text(files.name, envelope, known, split=files.is_split)
    write_whole(folder / SIGNERS, text.encode())


def signers_text(
    bundle: str, envelope: Envelope, names: Mapping[str, str], *, split: bool = False
) -> str:
    """SIGNERS.txt: who signed, the approval code, and how to check both without us.

    Args:
        bundle: the bundle's file name, without a volume's number.
        envelope: its head.
        names: of signers, by key id.
        split: whether it lies in volumes, which have to be joined.
    """
    statement = Statement.parse(envelope.statement)
    rows = [
        f"  {names.get(one.key_id, _UNNAMED):<16} {algorithm(one):<12} {one.key_id}"
        for one in envelope.signatures
    ]
    checks = "\n".join(_check(one) for one in envelope.signatures)
    payload = statement.subjects["payload"]
    preamble = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(envelope.statement)} "
    file = shlex.quote(bundle)  # it will be pasted into a shell
    joined = f"cat {file}.??? | " if split else ""
    file = "-" if split else file
    start = limits.HEAD_SLOT + SKIPPABLE_HEADER + statement.table_size + 1
    return f"""\
{statement.title}: who signed it, and how to check that without airgap

The names below are this file's word alone; what proves anything is a public key that you
have from its owner, whose SHA-256 you compared on paper.

Approval code (SHA-256 of {STATEMENT}):
  {approval_code(envelope.statement)}

Signed by (name, algorithm, SHA-256 of the public key in DER):
{chr(10).join(rows) or "  nobody yet: no host accepts it"}

1. What was signed is {STATEMENT}, in the DSSE encoding:

  printf '{preamble}' | cat - {STATEMENT} > statement.pae

2. Each signature, with the public key that you trust in place of KEY.pub
   (`openssl pkey -pubin -in KEY.pub -outform DER | sha256sum` prints the number above):

{checks or "  none"}

3. {STATEMENT} names the {statement.hash.upper()} of the bundle's content. This must print it:

  {joined}tail -c +{start} {file} | {statement.hash}sum
  {payload}

4. The content is an ordinary archive: {joined}tar --zstd -xf {file}
"""


def algorithm(signature: Signature) -> str:
    """The algorithm of a signature of ours, told by its form."""
    match len(signature.value):
        case 64:
            return "ed25519"
        case 4627:
            return "ml-dsa-87"
        case _:
            return "ecdsa-p384"


def _check(signature: Signature) -> str:
    file = signature_file(signature)
    if algorithm(signature) == "ecdsa-p384":
        return f"  openssl dgst -sha384 -verify KEY.pub -signature {file} statement.pae"
    verify = "openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in statement.pae"
    needs = "   # OpenSSL 3.5 or newer" if algorithm(signature) == "ml-dsa-87" else ""
    return f"  {verify} -sigfile {file}{needs}"


def _names_in(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    return {key_id: name for name, _algorithm, key_id in _SIGNED.findall(text) if name != _UNNAMED}

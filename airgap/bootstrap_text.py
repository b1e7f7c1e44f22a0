"""BOOTSTRAP.md: the words by which an operator gets from a bare host to a transcript.

Its commands are ready to copy but for two things, which come from the officer: the file of a public
key, and that key's number on paper. Nobody signed the page: what it says must be on the officer's
paper too, and the officer's own copy of the page is that paper.
"""

from __future__ import annotations

from typing import Final

from airgap import keys, signers_text
from airgap.digest import grouped
from airgap.envelope import Envelope, Signature
from airgap.statement import BOOTSTRAP, Statement, approval_code

PAGE: Final = "BOOTSTRAP.md"
FOLDER: Final = "bootstrap"

KEY: Final = "~/officer.pub"
"""Where the page has the officer's public key."""

NUMBER: Final = "NUMBER"
"""What stands for the key's number, which an operator types from paper."""


def bootstrap_text(envelope: Envelope) -> str:
    """BOOTSTRAP.md, whole, of a bundle that carries a bootstrap."""
    statement = Statement.parse(envelope.statement)
    digest = statement.subjects[BOOTSTRAP]
    return f"""\
# {statement.title}: from a bare host to a transcript

You need a shell, coreutils and openssl (1.1.1 or newer), and a Python that the bundle is for, or
tar and gzip where it carries one. You need no network, no root and no compiler. Should something be
missing, the script below says what, and changes nothing.

You also need two things from your security officer that **did not come on this medium**: a public
key, here `{KEY}`, and a paper with the numbers of this page. Nobody signed the page itself:
whoever could change the bundle could change it. Where paper and page differ, stop. Read the first
commands from the paper, too.

## 1. Is the statement signed by the officer?

Type this in the folder of the bundle. What is checked is copied first: a bad medium may answer
otherwise the second time.

```console
$ bundle=$PWD
$ mkdir ~/papers && cp -R bootstrap bootstrap.sh statement.json* ~/papers && cd ~/papers
$ openssl pkey -pubin -in {KEY} -outform DER | sha256sum
```

It prints the number of the key, which must be the one on the paper. Then, for the key by which the
officer signed:

{_checks(envelope)}

It must print `{_GOOD}` or `{_GOOD_RAW}`.

## 2. Is the script the one that was signed?

```console
$ {statement.hash}sum bootstrap.sh
{digest}  bootstrap.sh
```

This number, too, stands on the paper, and in `statement.json`, which you have just checked.

## 3. Install airgap

Give each key that must have signed, with a `--key` of its own. The script checks every file before
anything of it is run.

```console
$ sh bootstrap.sh --key {KEY} --to ~/airgap
```

## 4. Trust, verify, mount

In place of `{NUMBER}` type the key's number from the paper. `verify` and `mount` print the approval
code, which must be that on the paper as well:

    {approval_code(envelope.statement)}

```console
$ ~/airgap/bin/airgap trust init
$ ~/airgap/bin/airgap trust add {KEY} --signer officer --fingerprint {NUMBER}
$ ~/airgap/bin/airgap verify "$bundle"
$ ~/airgap/bin/airgap mount "$bundle"
```

## 5. Install what the models need, and hear the bundle's own recording

```console
$ ~/airgap/bin/airgap runtime install {statement.name}
$ ~/airgap/bin/airgap runtime try {statement.name}
```

From here on `~/airgap/bin/airgap transcribe FILE` and `~/airgap/bin/airgap serve` run by what the
mounted bundle brought, and `~/airgap/bin/airgap update BUNDLE` brings the next one.
"""


_GOOD: Final = "Verified OK"
_GOOD_RAW: Final = "Signature Verified Successfully"


def _checks(envelope: Envelope) -> str:
    """A block for each signature whose algorithm openssl knows since 1.1.1, or since 3.0."""
    blocks = [
        _check(one, envelope)
        for one in sorted(envelope.signatures, key=_order)
        if signers_text.algorithm(one) != keys.ML_DSA_87
    ]
    return "\n\n".join(blocks) or "(nobody has signed yet: no host accepts it)"


def _order(signature: Signature) -> tuple[bool, str]:
    """P-384 first, which every openssl checks."""
    return signers_text.algorithm(signature) != keys.ECDSA_P384, signature.key_id


def _check(signature: Signature, envelope: Envelope) -> str:
    file = signers_text.signature_file(signature)
    encode = f"printf '{signers_text.preamble(envelope)}' | cat - statement.json"
    number = grouped(signature.key_id[:8])
    if signers_text.algorithm(signature) == keys.ECDSA_P384:
        return f"""\
Key {number} … (P-384):

```console
$ {encode} | openssl dgst -sha384 -verify {KEY} -signature {file}
{_GOOD}
```"""
    return f"""\
Key {number} … (Ed25519, with OpenSSL 3.0 or newer):

```console
$ {encode} > statement.pae
$ openssl pkeyutl -verify -pubin -inkey {KEY} -rawin -in statement.pae -sigfile {file}
{_GOOD_RAW}
```"""

"""SIGNERS.txt: who signed a bundle, the approval code, and how to check it without a line of ours.

Each command is ready to copy, with this bundle's own numbers and names in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from airgap import keys, tar
from airgap.archive import frames_start
from airgap.envelope import PAYLOAD_TYPE, Envelope, Signature
from airgap.minisign import FileSignature
from airgap.signature_files import Found
from airgap.statement import Statement, approval_code
from airgap.volume_names import WHOLE

STATEMENT: Final = "statement.json"
UNNAMED: Final = "-"

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_DER: Final = "openssl pkey -pubin -in KEY.pub -outform DER"

_CYCLONEDX: Final = (
    'python3 -c "from cyclonedx.schema import SchemaVersion; '
    "from cyclonedx.validation.json import JsonStrictValidator; "
    "text = open('sbom.cdx.json', encoding='utf-8').read(); "
    "print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) or 'valid')\""
)


@dataclass(frozen=True)
class Signed:
    """What SIGNERS.txt tells about.

    Attributes:
        bundle: the file's name.
        envelope: its head.
        names: of signers by key id, as far as they are known.
        others: signature files beside it, for other tools.
        is_split: whether it lies in volumes, which are joined first.
    """

    bundle: str
    envelope: Envelope
    names: Mapping[str, str]
    others: Sequence[Found]
    is_split: bool = False

    @property
    def file(self) -> str:
        """The bundle's file, as commands name it: they are copied into a shell by who trusts them.

        A name that a shell would not take as it stands is a stranger's; the bundle's own stands
        there instead.
        """
        if _PLAIN.fullmatch(self.bundle):
            return self.bundle
        return f"{Statement.parse(self.envelope.statement).title}{WHOLE}"


def signers_text(signed: Signed) -> str:
    """SIGNERS.txt, whole."""
    statement = Statement.parse(signed.envelope.statement)
    return f"""\
{statement.title}: who signed it, and how to check that without airgap

The names below are this file's word alone; what proves anything is a public key that you
have from its owner, whose SHA-256 you compared on paper.

Approval code (SHA-256 of {STATEMENT}):
  {approval_code(signed.envelope.statement)}

Signed by (name, algorithm, SHA-256 of the public key in DER):
{_rows(signed)}

The commands below are typed in this folder, in a Linux shell; those for PowerShell are at the end.
Put the public key's file that you trust in place of KEY.pub. This prints its number:

  {_DER} | sha256sum

1. What was signed is {STATEMENT}, in the DSSE encoding:

  printf '{preamble(signed.envelope)}' | cat - {STATEMENT} > statement.pae

2. Each signature:

{_lines(map(check, signed.envelope.signatures)) or "  none"}

3. {STATEMENT} names the {statement.hash.upper()} of the bundle's content and of {tar.MANIFEST}.
   These must print them:

  {_content(signed, frames_start(statement) + 1)} | {statement.hash}sum
  {statement.subjects["payload"]}
  {statement.hash}sum {tar.MANIFEST}
  {statement.subjects[tar.MANIFEST]}

4. The content is an ordinary archive. Its files, and the papers here that are copies of them:

  mkdir tree && {_unpacked(signed)} -C tree
  (cd tree && sha256sum -c --quiet --strict{_of_delta(statement)} SHA256SUMS)
  diff {tar.MANIFEST} tree/{tar.MANIFEST}
  diff REVIEW.html tree/REVIEW.html
  diff sbom.cdx.json tree/sbom.cdx.json

{_other_tools(signed)}
{_powershell(signed, statement)}"""


def check(signature: Signature) -> str:
    """The openssl command that checks a raw signature over statement.pae."""
    file = signature_file(signature)
    if algorithm(signature) == keys.ECDSA_P384:
        return f"openssl dgst -sha384 -verify KEY.pub -signature {file} statement.pae"
    verify = "openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in statement.pae"
    needs = "   # OpenSSL 3.5 or newer" if algorithm(signature) == keys.ML_DSA_87 else ""
    return f"{verify} -sigfile {file}{needs}"


def signature_file(signature: Signature) -> str:
    """`statement.json.KEYID8.sig`: the raw signature over the statement's PAE."""
    return f"{STATEMENT}.{signature.key_id[:8]}.sig"


def algorithm(signature: Signature) -> str:
    """The algorithm of a signature of ours, told by its form."""
    match len(signature.value):
        case 64:
            return keys.ED25519
        case 4627:
            return keys.ML_DSA_87
        case _:
            return keys.ECDSA_P384


def preamble(envelope: Envelope) -> str:
    """What stands before a statement in the encoding that is signed, for `printf`."""
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(envelope.statement)} "


def _joined(signed: Signed) -> str:
    """The shell's words that join the volumes on a pipe."""
    return f"cat {signed.file}.???"


def _content(signed: Signed, start: int) -> str:
    """The shell's words for what the signature covers, from byte `start` on, counted from 1."""
    if signed.is_split:
        return f"{_joined(signed)} | tail -c +{start}"
    return f"tail -c +{start} {signed.file}"


def _unpacked(signed: Signed) -> str:
    """The shell's words that unpack it."""
    if signed.is_split:
        return f"{_joined(signed)} | tar --zstd -xf -"
    return f"tar --zstd -xf {signed.file}"


def _rows(signed: Signed) -> str:
    rows = [
        f"{signed.names.get(one.key_id, UNNAMED):<16} {algorithm(one):<12} {one.key_id}"
        for one in signed.envelope.signatures
    ]
    return _lines(rows) or "  nobody yet: no host accepts it"


def _other_tools(signed: Signed) -> str:
    """Tools that check a part each. What they need is made by keys, so it may not be there."""
    minisigs = [one for one in signed.others if isinstance(one.signature, FileSignature)]
    models = [one for one in signed.others if not isinstance(one.signature, FileSignature)]
    parts = ["Other tools, for those who have them. What was unpacked in step 4 is in tree.\n"]
    if minisigs:
        verify = f"minisign -Vm {tar.MANIFEST} -p KEY.minisign -x"
        parts.append(f"""\
minisign, for an Ed25519 key: {tar.MANIFEST}, which has the SHA-256 of every file. The comment that
it prints was signed too. The first line makes minisign's form of the key, KEY.minisign:

  (echo "untrusted comment: KEY"; (printf Ed; {_DER} | openssl dgst -sha256 -binary | head -c 8; \
{_DER} | tail -c 32) | base64 -w 0; echo) > KEY.minisign
{_lines(f"{verify} {one.file}   # key {one.key_id[:8]}" for one in minisigs)}
""")
    if models:
        verify = "model_signing verify key tree --public_key KEY.pub --signature"
        parts.append(f"""\
OpenSSF Model Signing 1.0, for a P-384 key: every file of the tree, no fewer and no more
(pip install model-signing pyopenssl):

{_lines(f"{verify} {one.file}   # key {one.key_id[:8]}" for one in models)}
""")
    parts.append(f"""\
CycloneDX: whether sbom.cdx.json is in the standard's form (pip install
'cyclonedx-python-lib[json-validation]'):

  {_CYCLONEDX}

SHA256SUMS finds a copy that went wrong. Nobody signed it, so it finds no forgery:

  sha256sum -c --strict SHA256SUMS
""")
    return "\n".join(parts)


def _powershell(signed: Signed, statement: Statement) -> str:
    """The same for PowerShell. Relative paths are ours to complete: .NET has its own folder."""
    bundle = f"'{signed.file}'"
    name = statement.hash.upper()
    return f"""\
In PowerShell, with openssl.exe, and tar.exe where it reads zstd. These lines were written from
Microsoft's documentation, and not run on Windows by those who wrote this tool.

  openssl pkey -pubin -in KEY.pub -outform DER -out KEY.der
  (Get-FileHash -Algorithm SHA256 KEY.der).Hash
  (Get-FileHash -Algorithm SHA256 {STATEMENT}).Hash     # the approval code

1. What was signed:

  $head = [Text.Encoding]::ASCII.GetBytes('{preamble(signed.envelope)}')
  $body = [IO.File]::ReadAllBytes("$PWD\\{STATEMENT}")
  [IO.File]::WriteAllBytes("$PWD\\statement.pae", [byte[]]($head + $body))

2. The openssl lines of step 2 above are the same here.

3. These must print the digests of step 3 above:

{_joining(signed, bundle)}  $file = [IO.File]::OpenRead((Join-Path $PWD {bundle}))
  $null = $file.Seek({frames_start(statement)}, 'Begin')
  (Get-FileHash -Algorithm {name} -InputStream $file).Hash
  $file.Close()
  (Get-FileHash -Algorithm {name} {tar.MANIFEST}).Hash

4. The files. The third line prints those that differ, so nothing is good:

  mkdir tree
  tar -xf {bundle} -C tree
  Get-Content tree\\SHA256SUMS | ForEach-Object {{ $want, $name = $_ -split '  ', 2; \
if ((Get-FileHash -Algorithm SHA256 -LiteralPath "tree\\$name").Hash -ne $want) {{ $name }} }}
"""


def _joining(signed: Signed, bundle: str) -> str:
    """PowerShell's lines that make one file of the volumes, where there are some."""
    if not signed.is_split:
        return ""
    volumes = f"{bundle[:-1]}.???'"
    return f"""\
  $whole = [IO.File]::Create((Join-Path $PWD {bundle}))
  Get-ChildItem {volumes} | Sort-Object Name | ForEach-Object {{ \
$part = [IO.File]::OpenRead($_.FullName); $part.CopyTo($whole); $part.Close() }}
  $whole.Close()
"""


def _of_delta(statement: Statement) -> str:
    """What `sha256sum` is told where files of the whole tree are left to a base."""
    return " --ignore-missing" if statement.base else ""


def _lines(commands: Iterable[str]) -> str:
    return "\n".join(f"  {one}" for one in commands)

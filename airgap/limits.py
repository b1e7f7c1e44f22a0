"""Every bound on what a bundle may make us read, hold or write.

What stands here is part of the format: a reader refuses what exceeds it, and a
builder refuses to make it. Sizes are in bytes unless a name says otherwise.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

HEAD_SLOT = 64 * KIB
"""The first frame with its 8 bytes of header. Room for five signers with ML-DSA-87 each."""

VOLUMES = 999
"""Volumes of a bundle: their numbers have three digits."""

VOLUME_WRITTEN = 1 * MIB
"""The least size of volumes that we make. A reader wants the head alone inside the first one."""

NAMED = 8
"""How many damaged frames, missing volumes or failed recordings an error names: there can be
thousands."""

FRAME_PLAIN = 4 * MIB
"""Payload bytes in a frame. Large enough to hash at full speed, small enough to hold one a core."""

FRAME_STORED = FRAME_PLAIN + 4 * KIB
"""A frame that does not shrink grows by its header and 3 bytes for every 128 KiB."""

MANIFEST_SIZE = 7 * MIB
"""`manifest.json`. Frame 0, with it, stays under the window that a frame may ask for."""

WINDOW = 8 * MIB
"""What decompressing one frame may ask for; the window that RFC 8878 tells decoders to support."""

FRAMES = 1 << 18
"""Payload frames: 1 TiB of payload, a table of at most 14 MiB."""

FILES = 65_536
"""Files in a manifest. A wheelhouse with every engine has some hundreds."""

SCAN_REPORT = 64 * MIB
"""`scan.json`, where it is read on its own: a kilobyte for each file that there may be."""

PATH_BYTES = 512
"""A path inside a bundle, in UTF-8."""

PATH_PART_BYTES = 255
"""One part of a path: NAME_MAX of every file system that we write to."""

SIGNATURES = 32
"""Signatures in an envelope. The slot holds fewer of the largest kind."""

KEY_FILE = 64 * KIB
"""A PEM file of public or private keys."""

SIGNATURE_FILE = 64 * MIB
"""A signature file beside a bundle: `model.sig` names every file of the tree, in base64."""

PAPER = 64 * MIB
"""A paper of the tree that is taken out whole: `REVIEW.html`, which lists every file."""

POLICY_FILE = 1 * MIB
"""The policy of a trust store, or a state file beside it."""

PROFILE_FILE = 1 * MIB
"""A profile, written by a person."""

LOCK_FILE = 64 * MIB
"""A lock, written by us: a wheelhouse of thousands of files still fits."""

INTEGER = 1 << 53
"""Integers in our JSON stay where every JSON reader agrees."""

JSON_DEPTH = 16
"""Nesting of our JSON documents; ours need seven."""

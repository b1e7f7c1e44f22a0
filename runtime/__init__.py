"""The isolated side: what a host without a network does with a bundle.

folders, store         open folders that no link leads out of; blobs by digest
mount, inventory       VerifiedBundle -> generation; what is in it, for people
generation, loading    a mount as it lies on disk; its models, hashed as they are loaded
recordings, engine     audio -> transcript
offline       leaves the network, for good, and proves it
  descriptors   what may stay open
  confinement   namespaces, capabilities, Landlock
  seccomp       the filter of system calls
  escapes       every known way out
  proof         tries them all
  syscalls      numbers by architecture, and how to make one
"""

from __future__ import annotations

__all__: list[str] = []

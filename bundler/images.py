"""Container images that travel along: the profile's key `images`, and what a lock holds of them.

In a lock and in a bundle an image is an artifact like a sample: one file that no engine loads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import yaml

from airgap.limits import MIB
from airgap.strict_json import is_name
from airgap.yaml_document import Form, YamlDocument
from bundler import first_digest
from bundler.catalog import CATALOG
from bundler.locked_model import IMAGE, SHA256, LockedModel
from bundler.sources import Access, Source
from bundler.sources.reading import read_source

KEYS: Final = {"image": True, "file": True, "source": True, "licence": True, "sha256": False}

LARGEST: Final = 64 * 1024 * MIB
"""Bytes of an image; one with CUDA, NeMo and models has a quarter."""

_ARCHIVE: Final = Form(re.compile(r"[A-Za-z0-9][\w.+-]*\.tar", re.ASCII), "the name of a .tar")


@dataclass(frozen=True)
class WantedImage:
    """A container image that a profile asks for.

    Attributes:
        name: the artifact's, which `airgap load` takes.
        file: its archive's name at the source: of `docker save`, or an OCI layout in a tar.
        source: where it lies.
        licence: of what is in it, for the officer.
        sha256: as whoever made it gives it; None trusts what the source has when it is locked.
    """

    name: str
    file: str
    source: Source
    licence: str
    sha256: str | None = None


def read_images(document: YamlDocument, node: yaml.Node) -> tuple[WantedImage, ...]:
    """The profile's key `images`; defects go where `document` collects them."""
    images = tuple(_image(document, one) for one in document.items(node, "'images'"))
    names = [one.name for one in images]
    if len(set(names)) != len(names):
        document.defect(node, "'images': a name stands twice")
    return images


def lock_image(wanted: WantedImage, access: Access) -> LockedModel:
    """Download an image, hash it, and keep it for the build.

    Raises:
        AirgapError: it could not be had, or is not what the profile says.
    """
    file = first_digest.take(wanted.file, wanted.source, wanted.sha256, access, limit=LARGEST)
    return LockedModel(
        id=wanted.name,
        role=IMAGE,
        engine=None,
        repository=None,
        commit=None,
        licence=wanted.licence,
        gated=False,
        sources=(wanted.source,),
        files=(file,),
    )


def _image(document: YamlDocument, node: yaml.Node) -> WantedImage:
    values = document.mapping(node, KEYS, "an image")
    document.finish()  # what follows needs every key
    name, sha256 = document.text(values["image"], "'image'"), values.get("sha256")
    if name in CATALOG or not is_name(name):
        document.defect(values["image"], f"'image': '{name}' is not a name that is free")
    return WantedImage(
        name=name,
        file=document.text(values["file"], "'file'", _ARCHIVE),
        source=read_source(document, values["source"]),
        licence=document.text(values["licence"], "'licence'"),
        sha256=document.text(sha256, "'sha256'", SHA256) if sha256 else None,
    )

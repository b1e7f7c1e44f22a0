"""`airgap push`: a bundle into the site's own object store or registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options
from runtime.verbs import stores

if TYPE_CHECKING:
    from runtime.site.push import Pushed


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("push")(push)


def push(
    bundles: Annotated[
        list[Path],
        typer.Argument(
            metavar="BUNDLE…",
            help="The .tar.zst file, one of its volumes, or the folder that they lie in. Of a "
            "folder NAME-VERSION all papers go along.",
        ),
    ],
    dest: Annotated[
        str,
        typer.Argument(
            metavar="DEST",
            help="s3://BUCKET/PREFIX, below which it lies as NAME-VERSION/; or "
            "oci://REGISTRY/REPOSITORY[:TAG], where the tag is NAME-VERSION if none is given.",
        ),
    ],
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Overwrite what else lies there under its name: after `airgap sign`, or a tag "
            "that moves.",
        ),
    ] = False,
    ca_bundle: stores.CaBundle = None,
    plain_http: stores.PlainHttp = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Put bundles into the site's own object store or registry, for other hosts to pull.

    Each is read to its last byte first. What is there already is not sent again, and a push that
    was cut off goes on where it stopped: in a bucket within a file, in a registry after the last
    whole one. Who may believe a bundle, each host decides that pulls it.

    S3 is reached as S3_ENDPOINT, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say; a registry with
    the credentials of ~/.docker/config.json.

    \b
    Examples:
      airgap push demo-1.0.0 s3://whisper-models/models
      airgap push demo-1.0.0 oci://registry.site:5000/speech/demo
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap.errors import UsageError
    from runtime.site import address as addresses
    from runtime.site import push as pushing

    address = addresses.parse(dest)
    stores.prepare("push", dest, ca_bundle)
    if len(bundles) > 1 and isinstance(address, addresses.OciAddress) and address.reference:
        raise UsageError(
            f"'{dest}' is one tag, and {len(bundles)} bundles are to go there",
            hint="name the repository alone: each bundle gets a tag of its own",
        )
    done = [
        pushing.push(bundle, address, replace=replace, plain_http=plain_http) for bundle in bundles
    ]
    for one in done:
        _report(one)
    console.document("airgap/push/v1", {"pushed": [_document(one) for one in done]})


def _report(one: Pushed) -> None:
    there = one.size - one.sent
    console.data(f"{one.statement.title}: pushed")
    console.data(f"  to             {one.where}")
    if one.digest:
        console.data(f"  digest         {one.digest}")
    console.data(f"  approval code  {one.approval_code}")
    console.data(
        f"  files          {one.files}, {human_size(one.size)}: {human_size(one.sent)} sent, "
        f"{human_size(there)} were there"
    )
    console.say(f"next, on another host: airgap pull {one.where}")


def _document(one: Pushed) -> dict[str, object]:
    return {
        "name": one.statement.name,
        "version": one.statement.version,
        "sequence": one.statement.sequence,
        "approval_code": one.approval_code,
        "where": one.where,
        "digest": one.digest,
        "files": one.files,
        "bytes": one.size,
        "sent": one.sent,
    }

"""A running server over rollback, gc and unmount: it follows, and keeps what it serves."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.heavy


def serving(server: Any) -> list[int]:
    """The generations that it served, in order."""
    return [line["generation"] for line in server.said("ready")]


def test_it_takes_up_what_was_rolled_back_to(
    demo_site: Any, own_site: Any, serve: Callable[..., Any]
) -> None:
    airgap = own_site.place.airgap
    assert airgap("mount", demo_site.bundle).code == 0
    server = serve().wait_until_ready()
    said = airgap("rollback", "--to", "1")
    assert said.code == 0, said.err
    server.wait_for(lambda: serving(server) == [2, 1])


def test_what_it_serves_is_neither_collected_nor_unmounted(
    demo_site: Any, own_site: Any, serve: Callable[..., Any]
) -> None:
    airgap = own_site.place.airgap
    server = serve().wait_until_ready()
    server.process.send_signal(signal.SIGSTOP)  # it shall not take up the next one yet
    try:
        assert airgap("mount", demo_site.bundle).code == 0
        found = airgap("gc", "--keep", "0", "--yes", "--json").document
        assert found["in_use"] == [{"name": "demo", "generation": 1}]
        assert found["generations"] == found["blobs"] == []
        refused = airgap("unmount", "demo", "--yes", "--json")
        assert refused.code == 1
        assert refused.document["message"] == (
            f"generation 1 of 'demo' is in use by a running process (PID {server.process.pid})"
        )
    finally:
        server.process.send_signal(signal.SIGCONT)
    server.wait_for(lambda: serving(server) == [1, 2])

    def first_is_let_go() -> bool:
        return not airgap("gc", "--keep", "0", "--yes", "--json").document["in_use"]

    server.wait_for(first_is_let_go)
    assert airgap("unmount", "demo", "--yes").code == 1
    assert server.stop() == 0
    assert airgap("unmount", "demo", "--yes").code == 0
    assert airgap("gc", "--yes").code == 0
    assert not [path for path in (own_site.place.root / "store").rglob("*") if path.is_file()]

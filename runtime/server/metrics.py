"""What Prometheus is told, in a registry of the server's own."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The server's numbers. Names follow Prometheus' conventions: base units, `_total`."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "airgap_requests",
            "Requests answered, by route and status (499: the client went).",
            ("route", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "airgap_request_seconds",
            "From the headers of a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.refusals = Counter(
            "airgap_refusals", "Requests refused, by reason.", ("reason",), registry=registry
        )
        self.audio = Counter(
            "airgap_audio_seconds", "Seconds of audio transcribed.", ("model",), registry=registry
        )
        self.factor = Histogram(
            "airgap_real_time_factor",
            "Time from the first step to the last, over the length of the audio.",
            ("model",),
            buckets=_FACTORS,
            registry=registry,
        )
        self.diarized = Counter(
            "airgap_diarized_audio_seconds",
            "Seconds of audio in which speakers were told apart.",
            ("back_end",),
            registry=registry,
        )
        self.diarization_factor = Histogram(
            "airgap_diarization_real_time_factor",
            "Time that telling speakers apart took, over the length of the audio.",
            ("back_end",),
            buckets=_FACTORS,
            registry=registry,
        )
        self.damaged = Counter(
            "airgap_damaged_packets", "Packets of audio that did not decode.", registry=registry
        )
        self.waiting = Gauge(
            "airgap_queue_waiting", "Recordings that wait for their first turn.", registry=registry
        )
        self.active = Gauge(
            "airgap_queue_active", "Recordings that are being transcribed.", registry=registry
        )
        self.places = Gauge(
            "airgap_requests_inside", "Requests inside, uploads among them.", registry=registry
        )
        self.days_left = Gauge(
            "airgap_bundle_days_left",
            "Days until the bundle that is served expires; none where it never does.",
            ("bundle",),
            registry=registry,
        )
        self.load = Gauge(
            "airgap_model_load_seconds",
            "What verifying and loading took.",
            ("model",),
            registry=registry,
        )
        self.ready = Gauge("airgap_ready", "1 when requests are taken.", registry=registry)
        self.generation = Gauge(
            "airgap_generation", "The generation that is served.", ("bundle",), registry=registry
        )
        self.reloads = Counter(
            "airgap_reloads",
            "Exchanges of the models, by outcome.",
            ("outcome",),
            registry=registry,
        )

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self._registry)

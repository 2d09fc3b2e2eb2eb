"""What a server counts, for Prometheus."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

# Seconds: from what nobody notices to what nobody waits for.
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """The counters of one server.

    Args:
        engines: the `Engine` of each model, by its name.
    """

    def __init__(self, engines: Mapping[str, Any]) -> None:
        self.registry = CollectorRegistry()
        self._engines = engines
        options: Any = {"registry": self.registry}
        self.requests = Counter("tfcharlm_requests", "Requests by path and status.", ["path", "status"], **options)
        self.seconds = Histogram(
            "tfcharlm_request_seconds", "Seconds until a request has ended.", ["path"], buckets=SECONDS, **options
        )
        self.first_piece = Histogram(
            "tfcharlm_first_piece_seconds", "Seconds until the first piece of text.", buckets=SECONDS, **options
        )
        self.tokens = Counter("tfcharlm_tokens", "Tokens that were written and sent.", **options)
        self.registry.register(self)

    def collect(self) -> list[GaugeMetricFamily]:
        """The present state of the engines."""
        active = GaugeMetricFamily("tfcharlm_active_texts", "Texts that are being written.", labels=["model"])
        waiting = GaugeMetricFamily("tfcharlm_waiting_texts", "Texts in the queue.", labels=["model"])
        for name, engine in self._engines.items():
            active.add_metric([name], engine.num_active)
            waiting.add_metric([name], engine.num_waiting)
        return [active, waiting]

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)

"""What ``GET /metrics`` tells, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_PEOPLE = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Of one service.

    Attributes:
        registry: of all.
        requests: finished ones, by path and status; a path that is none of the service's is ``other``.
        seconds: from a request's headers to the end of its response, by path.
        batch_people: of each batch that was scored.
        queue_length: requests that wait to be scored.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "recbole_cfgdiff_requests", "Finished requests.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "recbole_cfgdiff_request_seconds",
            "Seconds from a request's headers to the end of its response.",
            ["path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_people = Histogram(
            "recbole_cfgdiff_batch_people", "People scored at once.", buckets=_PEOPLE, registry=self.registry
        )
        self.queue_length = Gauge(
            "recbole_cfgdiff_queue_length", "Requests that wait to be scored.", registry=self.registry
        )

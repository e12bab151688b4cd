"""What Prometheus is told. No label or value comes from a request's body, name or address."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from service.workers import WorkerPool

HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0)
DICE_BUCKETS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
SHARE_BUCKETS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)
BRIGHTNESS_BUCKETS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.75, 1.0)
CONFIDENCE_BUCKETS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99, 1.0)


COMPARED = ("model", "production_version", "candidate_version")
"""Labels of what is known of a candidate: figures of two pairs of versions are never summed."""


class Metrics:
    """The metrics of one application, in a registry of their own."""

    def __init__(self, service_version: str) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        ProcessCollector(registry=registry)
        Info("efs_build", "Version of the service.", registry=registry).info({"version": service_version})

        self.http_duration = Histogram(
            "http_server_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ("method", "route", "status"),
            buckets=HTTP_BUCKETS,
            registry=registry,
        )
        self.http_active = Gauge(
            "http_server_active_requests", "Requests that are being answered.", ("method",), registry=registry
        )
        self.stage_duration = Histogram(
            "efs_stage_duration_seconds",
            "Time of each stage of a segmentation; `queue` is the wait for a worker.",
            ("stage", "model", "version"),
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self.requests = Counter(
            "efs_requests",
            "Segmentations asked for, by outcome: ok, invalid, rejected, error, cancelled, timeout.",
            ("model", "version", "outcome", "format"),
            registry=registry,
        )
        self.rejected = Counter(
            "efs_rejected", "Segmentations refused, by the code of the problem.", ("reason",), registry=registry
        )
        self.model_info = Gauge(
            "efs_model_info",
            "1 for each version in memory.",
            ("model", "version", "digest", "alias", "engine", "precision", "signer"),
            registry=registry,
        )
        self.model_promotions = Counter(
            "efs_model_promotions",
            "Changes of the version that answers for an alias, by the newest record: promote, rollback or withdraw.",
            ("alias", "action"),
            registry=registry,
        )
        self.model_stale = Gauge(
            "efs_model_stale",
            "1 while the version that an alias names in the store cannot be served; /readyz says why.",
            ("alias",),
            registry=registry,
        )
        self.model_loads = Counter(
            "efs_model_loads", "Versions loaded (ok) or refused.", ("outcome",), registry=registry
        )
        self.model_load_duration = Histogram(
            "efs_model_load_duration_seconds",
            "Time to verify a version, replay its reference images and make it ready.",
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self.selftest_success = Gauge(
            "efs_selftest_last_success_timestamp_seconds",
            "When a version last gave the label maps of its reference images.",
            ("model", "version"),
            registry=registry,
        )
        self.selftest_differing = Gauge(
            "efs_selftest_differing_pixels",
            "Pixels of its reference images that a version gave another class.",
            ("model", "version"),
            registry=registry,
        )
        self.selftest_failed = Gauge(
            "efs_selftest_failed",
            "1 while a version that should answer does not give the label maps of its reference images any more.",
            ("model", "version"),
            registry=registry,
        )
        self.class_fraction = Histogram(
            "efs_class_fraction",
            "Share of an image that is of a class.",
            ("class", "model", "version"),
            buckets=SHARE_BUCKETS,
            registry=registry,
        )
        self.input_brightness = Histogram(
            "efs_input_brightness",
            "Mean grey value of an image, from 0 (black) to 1.",
            ("model", "version"),
            buckets=BRIGHTNESS_BUCKETS,
            registry=registry,
        )
        self.drift = Gauge(
            "efs_drift_psi",
            "Population stability index of the last 1000 images against the baseline in the version's manifest: below "
            "0.1 alike, above 0.2 other images.",
            ("measure", "class", "model", "version"),
            registry=registry,
        )
        self.remarks = Counter(
            "efs_warnings", "Warnings that went with masks, by their code.", ("code",), registry=registry
        )
        self.mask_confidence = Histogram(
            "efs_mask_confidence",
            "Mean confidence of a class, where an image has it.",
            ("class", "model", "version"),
            buckets=CONFIDENCE_BUCKETS,
            registry=registry,
        )
        self.shadow_images = Counter(
            "efs_shadow_images",
            "Live images for the candidate, by outcome: compared, dropped (live work came first), failed.",
            ("outcome", *COMPARED),
            registry=registry,
        )
        self.shadow_dice = Histogram(
            "efs_shadow_dice",
            "Dice of the candidate's lesions and production's, where either finds one.",
            COMPARED,
            buckets=DICE_BUCKETS,
            registry=registry,
        )
        self.shadow_classes = Counter(
            "efs_shadow_classes",
            "Images by the class that most of the lesion has to production, and to the candidate.",
            ("production", "candidate", *COMPARED),
            registry=registry,
        )
        self.shadow_infer = Histogram(
            "efs_shadow_infer_seconds",
            "Time in the network of the same images: of production, and of the candidate, which has to wait more.",
            ("role", *COMPARED),
            buckets=STAGE_BUCKETS,
            registry=registry,
        )

        self.stream_sessions = Gauge("efs_stream_sessions", "Live streams that are open.", registry=registry)
        self.stream_ends = Counter(
            "efs_stream_ends", "Live streams that ended, by the code that closed them.", ("code",), registry=registry
        )
        self.stream_frames = Counter(
            "efs_stream_frames",
            "Frames of ended and open streams: answered, dropped (a newer came), unsent (the client was slow).",
            ("outcome",),
            registry=registry,
        )
        self.stream_changed = Counter(
            "efs_stream_changed_pixels",
            "Pixels that changed from a frame to the next in ended streams, of the shown mask and of the raw one. The "
            "ratio is what smoothing leaves of the flicker, and of the motion.",
            ("mask",),
            registry=registry,
        )
        self.stream_latency = Histogram(
            "efs_stream_frame_latency_seconds",
            "From a frame's arrival until its answer was ready.",
            buckets=STAGE_BUCKETS,
            registry=registry,
        )

        self.audit_failures = Counter(
            "efs_audit_write_failures", "Acts that could not be recorded in the audit trail.", registry=registry
        )
        self.jobs = Gauge("efs_jobs", "Jobs in each state.", ("state",), registry=registry)
        self.pacs_duration = Histogram(
            "efs_pacs_request_duration_seconds",
            "Time of each request to the PACS: query, retrieve, store, changes.",
            ("operation", "outcome"),
            buckets=STAGE_BUCKETS,
            registry=registry,
        )

    def watch_jobs(self, counts: Callable[[], Mapping[Any, int]]) -> None:
        """Tells the jobs in each state whenever Prometheus asks."""
        for state in ("queued", "running", "done", "failed", "cancelled"):
            self.jobs.labels(state).set_function(partial(_count, counts, state))

    def watch(self, pool: WorkerPool) -> None:
        """Tells the state of the pool of workers whenever Prometheus asks."""
        gauges = {
            "efs_queue_depth": ("Images that wait for a worker.", lambda: pool.waiting),
            "efs_queue_capacity": ("Images that may wait for a worker.", lambda: pool.capacity),
            "efs_inflight_requests": ("Images that a worker is at.", lambda: pool.running),
        }
        for name, (documentation, value) in gauges.items():
            Gauge(name, documentation, registry=self.registry).set_function(value)


def _count(counts: Callable[[], Mapping[Any, int]], state: str) -> float:
    return counts().get(state, 0)

"""What is said on live streams beside frames and masks."""

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from efsnet.smoothing import AS_CHOSEN
from model_store.loading import LoadedVersion
from service.live.stream import Counts

NOTICE = "Research use, beside an expert. Not a medical device."


class IssuedTicket(BaseModel):
    """What opens a stream, once."""

    ticket: str = Field(description="For `WS /v1/stream?ticket=…`")
    expires_in_s: float = Field(description="Time in which the stream must be opened")


class StreamQuery(BaseModel):
    """The query of WS /v1/stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    version: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    format: Literal["png", "rle"] = "png"
    ticket: str | None = None


class LiveClass(BaseModel):
    """A class of the masks."""

    number: int
    label: str
    colour: tuple[int, int, int]


class Ready(BaseModel):
    """The first message of a stream: who answers, and how."""

    type: Literal["ready"] = "ready"
    model: str
    version: int
    digest: str
    engine: str
    provider: str
    precision: str
    rows: int
    columns: int
    classes: list[LiveClass]
    time_constant_s: float
    notice: str = NOTICE

    @classmethod
    def of(cls, loaded: LoadedVersion) -> "Ready":
        """Of a stream that this version answers."""
        specification, engine = loaded.version.manifest.specification, loaded.predictor.engine
        return cls(
            model=loaded.version.name,
            version=loaded.version.number,
            digest=str(loaded.version.digest),
            engine=engine.name,
            provider=engine.provider,
            precision=engine.precision,
            rows=specification.input.rows,
            columns=specification.input.columns,
            classes=[LiveClass(number=c.number, label=c.label, colour=c.colour) for c in specification.classes],
            time_constant_s=AS_CHOSEN.time_constant_s,
        )


class Statistics(BaseModel):
    """What became of a stream's frames, told every second. Counts are since its beginning."""

    type: Literal["stats"] = "stats"
    received: int
    answered: int
    dropped: int
    unsent: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None

    @classmethod
    def of(cls, counts: Counts) -> "Statistics":
        """As things are."""
        latencies_ms = list(counts.latencies_ms)
        p50_ms, p95_ms = np.percentile(latencies_ms, (50, 95)).round(1).tolist() if latencies_ms else (None, None)
        return cls(
            received=counts.received,
            answered=counts.answered,
            dropped=counts.dropped,
            unsent=counts.unsent,
            latency_p50_ms=p50_ms,
            latency_p95_ms=p95_ms,
        )

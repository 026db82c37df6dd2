"""Whether a store is as its keeper expects: for a nightly job and its alarms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from facer.pipeline.features.config import HealthConfig
from facer.storage import FeatureStore
from facer.storage.layout.parts import written_at

_FUTURE_HOURS = 1.0  # that clocks of several hosts may be apart


@dataclass(frozen=True)
class Health:
    """Counts of a store, and what is not as it should be."""

    path: str
    clips: int
    failed: int
    written: datetime | None  # when a clip was last written; None where none was
    age_hours: float | None
    parts: int
    problems: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """As ``facer health --json`` prints it."""
        return {
            "store": self.path, "healthy": self.healthy, "problems": self.problems,
            "clips": self.clips, "failed": self.failed,
            "written": None if self.written is None else self.written.isoformat(),
            "age_hours": self.age_hours, "parts": self.parts,
        }  # fmt: skip


def store_health(store: FeatureStore, config: HealthConfig) -> Health:
    """Compare a store's records with what is asked of it; damaged parts are always a problem."""
    records = store.records
    failed = sum(record.status == "failed" for record in records)
    written = max(filter(None, map(written_at, store.parts)), default=None)
    age = None if written is None else (datetime.now(UTC) - written).total_seconds() / 3600
    problems = [str(error) for error in store.damaged.values()]
    if config.max_age is not None:
        problems += _too_old(age, config.max_age)
    if config.max_failed is not None and _too_many(failed, len(records), config.max_failed):
        problems.append(
            f"{failed} of {len(records)} clips failed, expected at most {config.max_failed}; "
            "facer status says why"
        )
    return Health(store.path, len(records), failed, written, age, len(store.parts), tuple(problems))


def _too_old(age: float | None, most: float) -> list[str]:
    if age is None:
        return ["it has no clip yet"]
    if age < -_FUTURE_HOURS:
        return [f"its last clip was written {-age:.1f} hours from now; set the clock of the host"]
    if age > most:
        return [f"its last clip was written {age:.1f} hours ago, expected at most {most:g}"]
    return []


def _too_many(failed: int, clips: int, most: str) -> bool:
    if most.endswith("%"):
        return failed > float(most[:-1]) / 100 * clips
    return failed > int(most)

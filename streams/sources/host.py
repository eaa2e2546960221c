"""This machine's own live readings: psutil's counters in, sensor events of a `host` stream out."""

import socket
from datetime import datetime
from typing import Final

import psutil

from schemas import codec, topics
from schemas.raw import SensorReading, structured
from schemas.record import Kind, Outgoing

_NS: Final = 1_000_000_000


class Rates:
    """Turns counters that only grow into rates per second; a counter that was reset starts anew."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}

    def update(self, name: str, total: float, at_s: float) -> float | None:
        """Return the rate since the last update; None the first time and after a reset."""
        previous = self._last.get(name)
        self._last[name] = (total, at_s)
        if previous is None or at_s <= previous[1] or total < previous[0]:
            return None
        return (total - previous[0]) / (at_s - previous[1])


class HostSource:
    """Reads the machine. One reading holds every value, so that a model sees them together."""

    def __init__(self, stream: str, host: str = "") -> None:
        self._stream = stream
        self.source = f"host/{host or socket.gethostname()}"
        self._rates = Rates()
        self._last_ns = 0
        psutil.cpu_percent()  # the first call has nothing to compare with and returns 0
        self._read_rates(0.0)

    def read(self, now: datetime, at_s: float) -> Outgoing:
        """Take one reading.

        Args:
            now: the moment, aware UTC: the event's time, and its id.
            at_s: the same moment on a clock that never jumps; rates are taken over it.
        """
        event = structured(
            self._next_id(now),
            self.source,
            Kind.SENSOR,
            SensorReading(values={**_levels(), **self._read_rates(at_s)}),
            time=now.isoformat(),
            stream=self._stream,
        )
        return Outgoing(topics.RAW.name, self.source.encode(), codec.encode(event))

    def _next_id(self, now: datetime) -> str:
        """Nanoseconds since 1970, padded: unique, and in the order of time even if the clock is set back."""
        self._last_ns = max(self._last_ns + 1, int(now.timestamp() * _NS))
        return f"{self._last_ns:020d}"

    def _read_rates(self, at_s: float) -> dict[str, float | int | str | None]:
        totals: dict[str, float] = {}
        disk = psutil.disk_io_counters()
        if disk is not None:
            totals["disk_read_bytes_per_s"] = disk.read_bytes
            totals["disk_write_bytes_per_s"] = disk.write_bytes
        network = psutil.net_io_counters()
        if network is not None:
            totals["net_received_bytes_per_s"] = network.bytes_recv
            totals["net_sent_bytes_per_s"] = network.bytes_sent
        totals["context_switches_per_s"] = psutil.cpu_stats().ctx_switches
        return {name: self._rates.update(name, total, at_s) for name, total in totals.items()}


def _levels() -> dict[str, float | int | str | None]:
    """Return what is read directly: shares in per cent, load as the kernel averages it, degrees Celsius."""
    load_1m, load_5m, _ = psutil.getloadavg()
    values: dict[str, float | int | str | None] = {
        "cpu_percent": psutil.cpu_percent(),
        "load_1m": load_1m,
        "load_5m": load_5m,
        "memory_percent": psutil.virtual_memory().percent,
        "swap_percent": psutil.swap_memory().percent,
        "disk_percent": psutil.disk_usage("/").percent,
    }
    for chip, sensors in psutil.sensors_temperatures().items():
        for number, sensor in enumerate(sensors):
            values[f"temperature_{chip}_{number}_celsius"] = sensor.current
    return values

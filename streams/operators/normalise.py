"""Turns decoded events of one stream into `Clean` ones: what remains once routing and decoding are done.

Consumes `RawEvent` with the coordinates and arrival time of its record, produces `Clean`.
"""

from collections import OrderedDict
from datetime import datetime
from typing import Final

from schemas.clean import Clean, Flags
from schemas.config import Stream
from schemas.raw import ApiRequest, LogLine, RawEvent, SensorReading
from schemas.record import Coordinates, Incoming
from streams.operators.history import History
from streams.operators.mask import PersonalData, masked
from streams.operators.missing import Missing
from streams.operators.outliers import Outliers
from streams.operators.text import normalise, percent_decoded
from streams.operators.timestamps import Timestamps
from streams.operators.values import Values

MAX_ATTRIBUTE: Final = 1024
_TEXTS_REMEMBERED: Final = 16_384
_TEXT_REMEMBERED_LENGTH: Final = 512
_NO_FLAGS: Final = Flags()

Parts = tuple[str, dict[str, float], dict[str, str], tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]
"""Text, values, attributes, and the names of imputed, outlying and repaired fields."""


class Normalise:
    """One stream's cleaning. Its state is the recent readings of each source; text keeps none but a cache."""

    def __init__(self, name: str, stream: Stream) -> None:
        config = stream.clean
        self._name = name
        self._kind = stream.kind
        self._nfc = config.text == "nfc"
        self._times = Timestamps(config)
        self._personal = PersonalData(config.mask)
        self._values = Values(config)
        self._missing = Missing(config)
        self._outliers = Outliers(config)
        self.history = History()
        self._texts: OrderedDict[str, str] = OrderedDict()

    def at(self, now: datetime) -> None:
        """Set the moment by which the next events are judged."""
        self._times.at(now)

    def clean(self, event: RawEvent, record: Incoming) -> Clean:
        """Normalise one event.

        Raises:
            Rejected: its time or a reading cannot be used.
        """
        time, late, time_missing = self._times.resolve(event.time, record.timestamp)
        data = event.data
        names: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = ((), (), ())
        text = ""
        values: dict[str, float] = {}
        attributes: dict[str, str] = {}
        if isinstance(data, ApiRequest):
            text, values, attributes = self._request(data)
        elif isinstance(data, LogLine):
            text, attributes = self._line(data)
        else:
            values, names = self._reading(data, event.source)
        personal = self._personal.mask(attributes) if attributes else ()
        imputed, outlier, repaired = names
        flags = _NO_FLAGS
        if late or time_missing or personal or imputed or outlier or repaired:
            flags = Flags(
                imputed=imputed,
                outlier=outlier,
                masked=personal,
                repaired=repaired,
                late=late,
                time_missing=time_missing,
            )
        return Clean(
            stream=self._name,
            kind=self._kind,
            source=event.source,
            id=event.id,
            time=time,
            raw=Coordinates(record.topic, record.partition, record.offset),
            text=text,
            values=values,
            attributes=attributes,
            flags=flags,
        )

    def _request(self, data: ApiRequest) -> tuple[str, dict[str, float], dict[str, str]]:
        path = data.path
        target = f"{path}?{data.query}" if data.query else path
        whole = f"{data.method} {target} {data.body}" if data.body else f"{data.method} {target}"
        attributes = {"method": data.method[:32], "path": path[:MAX_ATTRIBUTE]}
        if data.status is not None:
            attributes["status"] = str(data.status)
        if data.client_ip:
            attributes["client_ip"] = data.client_ip[:MAX_ATTRIBUTE]
        if data.user_agent:
            attributes["user_agent"] = data.user_agent[:MAX_ATTRIBUTE]
        values = {} if data.duration_ms is None else {"duration_ms": data.duration_ms}
        return self._text(whole, encoded=True), values, attributes

    def _line(self, data: LogLine) -> tuple[str, dict[str, str]]:
        attributes = {}
        if data.level:
            attributes["level"] = data.level[:32].upper()
        if data.logger:
            attributes["logger"] = data.logger[:MAX_ATTRIBUTE]
        if data.host:
            attributes["host"] = data.host[:MAX_ATTRIBUTE]
        return self._text(data.message, encoded=False), attributes

    def _reading(
        self, data: SensorReading, source: str
    ) -> tuple[dict[str, float], tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
        numbers, repaired = self._values.read(data)
        recent = self.history.of(source)
        values, imputed = self._missing.fill(numbers, recent)
        outlier = self._outliers.judge(values, imputed, recent)
        return values, (tuple(imputed), tuple(outlier), tuple(repaired))

    def _text(self, text: str, *, encoded: bool) -> str:
        """Return what the model reads; short texts that came lately are answered from memory."""
        known = self._texts.get(text)
        if known is not None:
            return known
        decoded = percent_decoded(text) if encoded else text
        result = masked(normalise(decoded, nfc=self._nfc))
        if len(text) <= _TEXT_REMEMBERED_LENGTH:
            self._texts[text] = result
            if len(self._texts) > _TEXTS_REMEMBERED:
                self._texts.popitem(last=False)
        return result

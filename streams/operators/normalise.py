"""Turns decoded events of one stream into `Clean` ones: what remains once routing and decoding are done.

Consumes `RawEvent` with the coordinates and arrival time of its record, produces `Clean`.
"""

from collections import OrderedDict
from datetime import datetime
from typing import Final, cast

from schemas.clean import NO_FLAGS, Clean, Flags
from schemas.config import Stream
from schemas.errors import Reason, Rejected
from schemas.raw import ApiRequest, LogLine, RawEvent, SensorReading
from schemas.record import Coordinates, Incoming
from streams.operators.history import History
from streams.operators.html import stripped
from streams.operators.mask import masked
from streams.operators.missing import Missing
from streams.operators.outliers import Outliers
from streams.operators.personal import PersonalData
from streams.operators.text import Form, normalise, percent_decoded
from streams.operators.timestamps import Timestamps
from streams.operators.values import Values

_TEXTS_REMEMBERED: Final = 16_384
_TEXT_REMEMBERED_LENGTH: Final = 512
_FORMS: Final[dict[str, Form | None]] = {"nfc": "NFC", "nfkc": "NFKC", "keep": None}

Names = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""The names of imputed, outlying and repaired readings."""

_NO_NAMES: Final[Names] = ((), (), ())


class Normalise:
    """One stream's cleaning. Its state is the recent readings of each source; text keeps none but a cache."""

    def __init__(self, name: str, stream: Stream) -> None:
        config = stream.clean
        self._name = name
        self._kind = stream.kind
        self._form = _FORMS[config.text]
        self._strip = config.html == "strip"
        self._repair = config.utf8 == "repair"
        self._times = Timestamps(config)
        self._personal = PersonalData(config.mask, config.mask_fields)
        self._values = Values(config)
        self.ranges = [(name, low, high) for name, (low, high) in config.ranges.items()]
        self._missing = Missing(config)
        self.outliers = Outliers(config)
        self.history = History()
        self._texts: OrderedDict[str, tuple[str, bool]] = OrderedDict()

    def at(self, now: datetime) -> None:
        """Set the moment by which the next events are judged."""
        self._times.at(now)

    @property
    def on_time(self) -> tuple[datetime, datetime]:
        """Return the bounds between which a time is accepted without a remark."""
        return self._times.on_time

    def clean(self, event: RawEvent, record: Incoming) -> Clean:
        """Normalise one event.

        Raises:
            Rejected: its time, a reading or its encoding cannot be used.
        """
        if event.repaired and not self._repair:
            raise Rejected(Reason.INVALID_UTF8, "it is not UTF-8, and this stream does not have it repaired")
        time, remark = self._times.resolve(event.time, record.timestamp)
        data = event.data
        names = _NO_NAMES
        text = ""
        personal_text = False
        values: dict[str, float] = {}
        attributes: dict[str, str] = {}
        if isinstance(data, SensorReading):
            values, names = self._reading(data, event.source)
        elif isinstance(data, ApiRequest):
            (text, personal_text), values, attributes = self._request(data)
        else:
            (text, personal_text), attributes = self._line(data)
        personal: tuple[str, ...] = ()
        if attributes:
            path = attributes.get("path", "")
            known = (
                "path"
                if path and not personal_text and not self._strip and self._personal.tells(path)
                else ""
            )
            personal = self._personal.mask(attributes, known)
        imputed, outlier, repaired = names
        if personal_text:
            personal = (*personal, "text")
        if event.repaired:
            repaired = (*repaired, "data")
        if remark == "replaced":
            repaired = (*repaired, "time")
        flags = NO_FLAGS
        if remark or personal or imputed or outlier or repaired:
            flags = Flags(
                imputed=imputed,
                outlier=outlier,
                masked=personal,
                repaired=repaired,
                late=remark == "late",
                time_missing=remark == "missing",
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

    def _request(self, data: ApiRequest) -> tuple[tuple[str, bool], dict[str, float], dict[str, str]]:
        path = data.path
        target = f"{path}?{data.query}" if data.query else path
        whole = f"{data.method} {target} {data.body}" if data.body else f"{data.method} {target}"
        attributes = {"method": self._plain(data.method[:32]), "path": self._plain(path)}
        if data.status is not None:
            attributes["status"] = str(data.status)
        if data.client_ip:
            attributes["client_ip"] = self._plain(data.client_ip)
        if data.user_agent:
            attributes["user_agent"] = self._plain(data.user_agent)
        values = {} if data.duration_ms is None else {"duration_ms": data.duration_ms}
        return self._text(whole, encoded=True), values, attributes

    def _line(self, data: LogLine) -> tuple[tuple[str, bool], dict[str, str]]:
        attributes = {}
        if data.level:
            attributes["level"] = self._plain(data.level[:32].upper())
        if data.logger:
            attributes["logger"] = self._plain(data.logger)
        if data.host:
            attributes["host"] = self._plain(data.host)
        return self._text(data.message, encoded=False), attributes

    def _plain(self, attribute: str) -> str:
        """Return an attribute without control characters; its spaces are its own where there are none."""
        if attribute.isascii() and attribute.isprintable():
            return attribute
        return normalise(attribute, self._form)

    def _reading(self, data: SensorReading, source: str) -> tuple[dict[str, float], Names]:
        recent = self.history.of(source) if self.outliers.remembers else {}
        if not self.ranges and not data.units and self.outliers.unremarkable(data.values, recent):
            return cast("dict[str, float]", data.values), _NO_NAMES
        numbers, repaired = self._values.read(data)
        values, imputed = self._missing.fill(numbers, recent)
        outlier = self.outliers.judge(values, imputed, recent)
        return values, (tuple(imputed), tuple(outlier), tuple(repaired))

    def _text(self, text: str, *, encoded: bool) -> tuple[str, bool]:
        """Return what the model reads, and whether it held personal data.

        Short texts that came lately are answered from memory.
        """
        known = self._texts.get(text)
        if known is not None:
            return known
        read = percent_decoded(text) if encoded else text
        if self._strip:
            read = stripped(read)
        plain = normalise(read, self._form)
        stored = self._personal.mask_text(plain)
        result = masked(stored), stored is not plain and stored != plain
        if len(text) <= _TEXT_REMEMBERED_LENGTH:
            self._texts[text] = result
            if len(self._texts) > _TEXTS_REMEMBERED:
                self._texts.popitem(last=False)
        return result

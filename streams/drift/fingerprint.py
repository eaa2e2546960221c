"""Whether a watch's memory still fits its stream: consumes a configuration, produces its digest."""

import hashlib

from schemas.config import Stream


def fingerprint(stream: Stream) -> str:
    """Return a digest of what a watch's memory depends on."""
    text = f"{stream.kind}|{stream.drift.model_dump_json()}|{stream.model and stream.model.task}"
    return hashlib.sha256(text.encode()).hexdigest()

"""Explanations to show: of a text and of readings, with whatever words and names a test wants."""

import msgspec

from trainers.explain.explanation import Explanation, Reason

TEXT = Explanation(
    model="requests", version=2, answer="xss", score=0.98, probabilities={"normal": 0.02, "xss": 0.98},
    label="xss", unit="log-odds", method="integrated gradients, 32 steps", output=3.9, baseline=1.0,
    error=0.01, bound=0.06, reasons=(), text="", notes=("INT8 made the difference here",),
)  # fmt: skip
READINGS = Explanation(
    model="host", version=1, answer="anomaly", score=4.1, probabilities={}, label="anomaly",
    unit="anomaly score", method="Shapley values", output=4.1, baseline=0.2, error=0.0, bound=0.01,
    reasons=(
        Reason(name="cpu", share=0.5, value=97.0, usual=40.0),
        Reason(name="fan_rpm", share=3.5, value=300.0, usual=2000.0),
        Reason(name="memory_mb", share=-0.1, value=None, usual=5000.0),
    ),
)  # fmt: skip


def of_text(*words: str, unread: str = "") -> Explanation:
    """Return an explanation of words that speak for an answer and against it by turns, the last one most."""
    text, reasons = "", []
    for number, word in enumerate(words):
        begin = len(text)
        text += word
        share = (number + 1) * (-1.0) ** (len(words) - number - 1)
        reasons.append(Reason(name=word, share=share, begin=begin, end=len(text)))
        text += " "
    return msgspec.structs.replace(TEXT, text=text + unread, read=len(text), reasons=tuple(reasons))

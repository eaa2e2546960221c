"""The dedupe benchmark's figures: consumes them as measured, produces a table beside the goals, and JSON."""

from typing import Any, Final

_FULL: Final = 50_000_000
"""The number of keys that the goals are for."""


def right(figures: dict[str, Any]) -> bool:
    """Tell whether every answer was right and every key came back."""
    back = figures["recovered"]
    wrong = figures["false_positives"] + figures["false_negatives"]
    return not wrong and back["snapshot"] == back["log"] == figures["keys"]


def report(figures: dict[str, Any]) -> str:
    """Return the table."""
    pause, lookup, back = figures["longest_pause_ms"], figures["lookup_us"], figures["recovery_s"]
    cpu = figures["longest_pause_cpu_ms"]
    rows = [
        ("keys", f"{figures['keys']:,}", ""),
        ("process, at its highest", f"{figures['rss_bytes'] / 2**20:,.0f} MiB", "2,048 MiB"),
        ("table", f"{figures['table_bytes'] / 2**20:,.0f} MiB", ""),
        ("table, a key", f"{figures['bytes_per_key']:.1f} bytes", ""),
        ("fingerprint", f"{figures['fingerprint_us']:.2f} µs", ""),
        ("insert", f"{figures['insert_us']:.2f} µs", ""),
        ("lookup, new", f"{lookup['miss']:.2f} µs", ""),
        ("lookup, duplicate", f"{lookup['hit']:.2f} µs", ""),
        *(
            (f"longest pause, {kind}", f"{pause[kind]:.1f} ms (processor {cpu[kind]:.1f})", "50 ms")
            for kind in ("insert", "lookup", "expire")
        ),
        ("recovery, snapshot and log", f"{back['snapshot']:.1f} s", "60 s"),
        ("recovery, log alone", f"{back['log']:.1f} s", "60 s"),
        ("false positives", str(figures["false_positives"]), "0"),
        ("false negatives", str(figures["false_negatives"]), "0"),
    ]
    wide = max(len(name) for name, _, _ in rows)
    lines = [f"{name:<{wide}}  {value:>26}  {goal:>10}" for name, value, goal in rows]
    heading = f"{'':<{wide}}  {'measured':>26}  {f'goal, {_FULL // 1_000_000}M':>10}"
    return "\n".join([heading, *lines])

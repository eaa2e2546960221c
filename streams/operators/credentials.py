"""Finds secrets in text: consumes text, produces it with passwords, keys and tokens replaced by `<secret>`.

Found are values that are assigned to a telling name (`password=`, `"api_key": "…"`, a query parameter), what
follows `Authorization:`, passwords inside addresses, private keys, and tokens by the form that their issuer
gave them so that they can be found. A value ends at the first quote, bracket or space: an attack that is
written behind a parameter's name (`password=x' OR 1=1`) stays what it looks like.
"""

import re
from typing import Final

_SECRET: Final = "<secret>"  # noqa: S105  # the mask, which is none

# Names whose values are secret whatever they look like, and names that also stand in honest sentences.
_STRONG: Final = (
    r"(?:pass(?:word|wd|phrase|code)?|passwort|pwd|secret|client[_-]?secret|secret[_-]?(?:access[_-]?)?key"
    r"|(?:api|access|private|auth|encryption|account)[_-]?key|credentials?|phpsessid|jsessionid|session[_-]?id"
    r"|(?:access|refresh|id|auth|bearer|session|csrf|xsrf)[_-]?token|sessid)"
)
_WEAK: Final = r"(?:token|session|sid|signature|sig|auth|cookie|otp)"
_QUOTED: Final = re.compile(
    rf"""("[\w.-]{{0,40}}?{_STRONG}"\s{{0,4}}:\s{{0,4}}")((?:[^"\\<]|\\.)(?:[^"\\]|\\.)*+)""", re.IGNORECASE
)
_VALUE: Final = r"""[^\s&"'<>;,(){}\[\]|`]"""
_BEGIN: Final = r"(?:(?<![A-Za-z0-9])|(?<=(?-i:[a-z0-9]))(?=(?-i:[A-Z])))"  # of a word, also in camelCase
_ASSIGNED: Final = re.compile(
    rf"""({_BEGIN}(?:{_STRONG}["']?(?:\s?=\s?|:\s?)|{_WEAK}["']?=)["']?){_VALUE}+"""
    rf"""|({_BEGIN}{_WEAK}["']?:\s?["']?)(?=[^\s&"'<>;,]*\d|{_VALUE}{{16}}){_VALUE}+"""
    rf"""|((?<!\S)--?(?:[\w-]{{1,40}}-)?(?:{_STRONG}|token)\s)(?!-){_VALUE}+""",
    re.IGNORECASE,
)
_AUTHORIZATION: Final = re.compile(
    r"""(\bauthorization["']?\s?[:=]\s?["']?(?:(?:basic|bearer|digest|negotiate|token|apikey)\s)?+)(?!<)[^\s"'<>,;]+"""
    r"""|(\bbearer\s)(?=[\w.~+/=-]*\d|[\w.~+/=-]{20})[\w.~+/=-]{8,}""",
    re.IGNORECASE,
)
_USERINFO: Final = re.compile(r"(://)[^\s/@:?#<>]*:[^\s/@<>]+(?=@)")
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN (?:[A-Z]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END (?:[A-Z]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_TOKEN: Final = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"eyJ[\w-]{5,}(?:\.[\w-]*){1,4}"  # JSON web tokens, signed and encrypted
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,}|glpat-[\w-]{20,}"  # GitHub, GitLab
    r"|xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}"  # Slack
    r"|(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[\w+/=-]{16,}"  # Stripe
    r"|AIza[\w-]{35}|ya29\.[\w-]{20,}"  # Google
    r"|sk-[\w-]{20,}|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{32,}|SG\.[\w-]{16,}\.[\w-]{16,}"
    r")",
    re.ASCII,
)

_RUN: Final = b"z" * 15  # every token has a part of so many letters, digits, `_` and `-`
_RUNS: Final = bytes(ord("z") if chr(at).isalnum() or chr(at) in "_-" else at for at in range(128)) + bytes(
    128
)


def mask_secrets(text: str) -> str:
    """Replace secrets; returns the text itself where none is found. Idempotent."""
    if "=" in text or ":" in text or "--" in text:
        lower = text.lower()
        if _tells(lower):
            text = _named(text, lower)
        if "://" in text and "@" in text:
            text = _USERINFO.sub(rf"\1{_SECRET}", text)
    if "earer " in text or "EARER " in text:
        text = _AUTHORIZATION.sub(_kept, text)
    if "-----BEGIN" in text:
        text = _PRIVATE_KEY.sub(_SECRET, text)
    if len(text) < len(_RUN) or _RUN not in text.encode("utf-8", "replace").translate(_RUNS):
        return text
    return _TOKEN.sub(_SECRET, text) if _may_hold_token(text) else text


def _tells(lower: str) -> bool:
    """Tell whether a name of a secret may be there: a few searches for bytes instead of a slow expression."""
    return (
        "pass" in lower
        or "token" in lower
        or "key" in lower
        or "secret" in lower
        or "pwd" in lower
        or "sess" in lower
        or "sid" in lower
        or "sig" in lower
        or "auth" in lower
        or "cred" in lower
        or "cookie" in lower
        or "otp" in lower
    )


def _may_hold_token(text: str) -> bool:
    """Tell the same of what the issuers' prefixes begin with."""
    return (
        "eyJ" in text
        or "AKIA" in text
        or "ASIA" in text
        or "gh" in text
        or "glpat-" in text
        or "xox" in text
        or "xapp-" in text
        or "k_live_" in text
        or "k_test_" in text
        or "whsec_" in text
        or "AIza" in text
        or "ya29." in text
        or "sk-" in text
        or "hf_" in text
        or "npm_" in text
        or "pypi-" in text
        or "SG." in text
    )


def _named(text: str, lower: str) -> str:
    if "auth" in lower:
        text = _AUTHORIZATION.sub(_kept, text)
    if '"' in text:
        text = _QUOTED.sub(rf"\g<1>{_SECRET}", text)
    return _ASSIGNED.sub(_kept, text)


def _kept(found: re.Match[str]) -> str:
    """Keep the name, replace the value."""
    return f"{found[found.lastindex or 0]}{_SECRET}"

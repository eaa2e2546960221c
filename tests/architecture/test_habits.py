"""Habits that a reader relies on: nothing unsafe is loaded, nothing is left undone, tests test."""

import ast
import re
from collections.abc import Iterator

from tests.architecture.tree import PACKAGES, ROOT, files, imports, modules

UNSAFE_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
MOCKS = {"unittest.mock", "mock", "pytest_mock", "mongomock", "fakeredis"}
EVASIONS = {"skip", "skipif", "xfail", "importorskip"}
TEXT_SUFFIXES = {".py", ".md", ".toml", ".sql", ".html", ".svg", ".yaml", ".yml", ".json", ".xml", ".sh", ""}
SELF = "tests/architecture/"
WAITING = "tests/waiting.py"  # the one place that polls a condition up to its deadline

UNDONE = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
FOREIGN = re.compile(
    r"(?<![\w.])/(?:home|Users|root|work)/[\w.-]+"  # somebody's own folders
    r"|\b(?:repo1?\.maven\.apache\.org|repo\.maven\.apache\.org|pypi\.org|files\.pythonhosted\.org)\b",
    re.IGNORECASE,
)
"""Paths of one machine, and package hosts: which registry is used is the installation's choice."""


def texts() -> Iterator[tuple[str, str]]:
    """Yield path and contents of the project's text files; the lock file names hosts by its nature."""
    for path in files():
        name = str(path.relative_to(ROOT))
        if path.suffix in TEXT_SUFFIXES and path.name != "uv.lock" and not name.startswith(SELF):
            try:
                yield name, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # a binary sample without a suffix


def matches(pattern: re.Pattern[str]) -> list[str]:
    """Return every place of the project's text where a pattern is found."""
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1} {match[0]}"
        for name, text in texts()
        for match in pattern.finditer(text)
    ]


def calls(tree: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """Yield every call of a module with its dotted name as written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def test_nothing_that_executes_code_is_loaded() -> None:
    """No pickle in any guise: what a release or a topic carries is data, never code."""
    found = [
        f"{path}:{line} imports {name}"
        for path, tree in modules(*PACKAGES).items()
        for line, name in imports(path, tree)
        if name.split(".", maxsplit=1)[0] in UNSAFE_MODULES
    ]
    for path, tree in modules(*PACKAGES).items():
        for call, name in calls(tree):
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name == "torch.load" and keywords.get("weights_only") != "True":
                found.append(f"{path}:{call.lineno} torch.load without weights_only=True")
            if name in {"np.load", "numpy.load"} and keywords.get("allow_pickle", "False") != "False":
                found.append(f"{path}:{call.lineno} numpy.load with allow_pickle")
            if name in {"eval", "exec"}:
                found.append(f"{path}:{call.lineno} {name}")
    assert not found, "\n".join(found)


def test_nothing_is_left_undone() -> None:
    """What is missing is in the issue tracker or not at all."""
    found = matches(UNDONE)
    assert not found, "\n".join(found)


def test_no_text_belongs_to_one_machine() -> None:
    """No absolute path of somebody's home and no package host: the project works anywhere."""
    found = matches(FOREIGN)
    assert not found, "\n".join(found)


def test_tests_use_the_real_thing_and_always_run() -> None:
    """No mock stands in for a component and no test can be left out quietly."""
    found = []
    for path, tree in modules("tests").items():
        found += [
            f"{path}:{line} imports {name}"
            for line, name in imports(path, tree)
            if any(name == mock or name.startswith(f"{mock}.") for mock in MOCKS)
        ]
        found += [
            f"{path}:{node.lineno} {ast.unparse(node)}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr in EVASIONS
            and ast.unparse(node.value) in {"pytest", "pytest.mark"}
        ]
    assert not found, "\n".join(found)


def test_every_test_says_what_it_proves() -> None:
    """A test's first line is the promise that it holds."""
    found = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in modules("tests").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not found, "\n".join(found)


def test_tests_never_sleep_blindly() -> None:
    """A fixed pause is slow on a fast machine and too short on a slow one."""
    found = [
        f"{path}:{call.lineno} {name}"
        for path, tree in modules("tests").items()
        for call, name in calls(tree)
        if name == "time.sleep" and path != WAITING
    ]
    assert not found, "\n".join(found)


def test_errors_are_handled_or_suppressed_with_a_reason() -> None:
    """An `except` whose body is only `pass` hides what went wrong."""
    found = [
        f"{path}:{node.lineno}"
        for path, tree in modules(*PACKAGES).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and all(isinstance(step, ast.Pass) for step in node.body)
    ]
    assert not found, "\n".join(found)

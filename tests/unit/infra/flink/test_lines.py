"""Files as a job's source reads them: bytes in, one record a line out, from any checkpoint on the same."""

import gzip
import os
import random
import subprocess
from base64 import b64decode
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from infra.flink.bridge import ensure_bridge
from infra.flink.jars import KAFKA_CONNECTOR, ensure_jar
from infra.flink.layout import flink_package

KEPT = 40
MODIFIED_MS = 1_790_000_000_000

Read = Callable[[Sequence[Path]], list[list[str]]]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Read files with the source's own class, in one JVM for all of them."""
    classes = tmp_path_factory.mktemp("classes")
    jars = [*(flink_package() / "lib").glob("*.jar"), ensure_jar(KAFKA_CONNECTOR), ensure_bridge()]
    known = ":".join(map(str, [*jars, classes]))
    source = Path(__file__).with_name("ReadLines.java")
    subprocess.run(["javac", "-d", str(classes), "-cp", known, str(source)], check=True)

    def lines(paths: Sequence[Path]) -> list[list[str]]:
        argv = [
            "java",
            "-XX:TieredStopAtLevel=1",
            "-Dlog4j2.level=OFF",
            "-cp",
            known,
            "headrace.flink.ReadLines",
        ]
        told = subprocess.run(
            [*argv, str(KEPT), *map(str, paths)], check=True, capture_output=True, text=True
        )
        return [line.split("\t") for line in told.stdout.splitlines()]

    return lines


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    os.utime(path, ns=(MODIFIED_MS * 10**6, MODIFIED_MS * 10**6))
    return path


def test_lines_are_bytes_with_their_numbers(read: Read, tmp_path: Path) -> None:
    """LF and CRLF, empty lines, none at the end, no UTF-8, one too long: nothing is changed or lost."""
    content = b'{"a": 1}\r\n\n \t\r\n\xff\xfe\x00\r\r\n' + b"x" * 41 + b"\n" + b"y" * 39 + b"\r\nlast"
    plain, packed = _written(tmp_path / 'a "b" ü.jsonl', content), _written(tmp_path / "c.jsonl.gz", content)
    found = read([plain, packed])
    topics = [f"{tmp_path.as_uri()}/a%20%22b%22%20%C3%BC.jsonl", packed.as_uri()]
    assert [row[0] for row in found] == [topics[0]] * 5 + [topics[1]] * 5
    wanted = [
        ("1", "", b'{"a": 1}'),
        ("4", "", b"\xff\xfe\x00\r"),
        ("5", "headrace-cut-from=41", b"x" * 40),
        ("6", "", b"y" * 39),
        ("7", "", b"last"),
    ]
    assert [(row[1], row[3], b64decode(row[4])) for row in found] == wanted * 2
    assert {int(row[2]) for row in found} == {MODIFIED_MS}


def test_a_file_larger_than_the_buffers_is_read_whole(read: Read, tmp_path: Path) -> None:
    """Line ends at every place of the buffers and of the batches, in both forms of a file."""
    rng = random.Random(5)
    lines = [rng.randbytes(rng.randrange(1, 30)).replace(b"\n", b"n") + b"." for _ in range(20_000)]
    lines[10_000] = b"z" * 300_000
    content = b"\n".join(lines) + b"\n"
    found = read([_written(tmp_path / "a", content), _written(tmp_path / "b.gz", content)])
    assert [b64decode(row[4]) for row in found] == [line[:KEPT] for line in lines] * 2
    assert [int(row[1]) for row in found] == [*range(1, 20_001)] * 2
    assert [row[3] for row in found if row[3]] == ["headrace-cut-from=300000"] * 2


def test_what_is_damaged_is_named_with_the_line(read: Read, tmp_path: Path) -> None:
    """An archive that was cut off, one that is none, and an empty file, which is no damage."""
    lines = b"".join(b"%d %s\n" % (number, os.urandom(8).hex().encode()) for number in range(1000))
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(lines)[:-2000])
    none = tmp_path / "none.gz"
    none.write_bytes(b"plain text")
    found = read([_written(tmp_path / "empty.jsonl", b""), cut, none])
    assert len(found) == 2
    assert found[0][0].startswith(f"{cut.as_uri()} is damaged behind line ")
    assert found[1][0].startswith(f"{none.as_uri()} is damaged behind line 0: ")

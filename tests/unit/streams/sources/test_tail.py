"""Following one log file through all that happens to log files."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sources.positions import Positions
from streams.sources.tail import MAX_LINE_BYTES, Mark, Tail


def append(path: Path, text: bytes) -> None:
    """Write as a program does that keeps its log open."""
    with path.open("ab") as file:
        file.write(text)


def read(tail: Tail, polls: int = 4) -> list[bytes]:
    """Look several times."""
    return [line.raw for _ in range(polls) for line in tail.poll(1000)]


def test_partial_line_waits_for_its_newline(tmp_path: Path):
    """A line that is being written is handed on once, whole."""
    log = tmp_path / "a.log"
    append(log, b"one\ntw")
    tail = Tail(log)
    assert read(tail) == [b"one"]
    append(log, b"o\n")
    assert read(tail) == [b"two"]
    tail.close()


def test_file_may_come_later(tmp_path: Path):
    """A file that does not exist yet is no error."""
    tail = Tail(tmp_path / "a.log")
    assert read(tail) == []
    append(tmp_path / "a.log", b"one\n")
    assert read(tail) == [b"one"]
    tail.close()


def test_restart_neither_loses_nor_repeats(tmp_path: Path):
    """From a saved mark reading goes on exactly there."""
    log = tmp_path / "a.log"
    append(log, b"one\ntwo\n")
    first = Tail(log)
    assert read(first) == [b"one", b"two"]
    first.close()
    append(log, b"three\n")
    second = Tail(log, first.mark)
    assert read(second) == [b"three"]
    second.close()


def test_rotation_while_running(tmp_path: Path):
    """The renamed file is read to its end, what the writer still adds included, then the new one."""
    log = tmp_path / "a.log"
    append(log, b"one\n")
    tail = Tail(log)
    assert read(tail) == [b"one"]
    rotated = log.rename(tmp_path / "a.log.1")
    append(rotated, b"two\n")
    append(log, b"three\n")
    assert read(tail, 1) == [b"two"]
    append(rotated, b"late\nend")
    assert read(tail) == [b"late", b"end", b"three"]
    tail.close()


def test_rotation_while_away(tmp_path: Path):
    """Two rotations during a stop: the rest of the old file, the whole middle one, then the present one."""
    log = tmp_path / "a.log"
    append(log, b"one\n")
    first = Tail(log)
    read(first)
    first.close()
    append(log, b"two\n")
    log.rename(tmp_path / "a.log.2")
    append(log, b"three\n")
    log.rename(tmp_path / "a.log.1")
    append(log, b"four\n")
    second = Tail(log, first.mark)
    assert read(second) == [b"two", b"three", b"four"]
    second.close()


def test_truncation_makes_new_lines_even_of_the_same_text(tmp_path: Path):
    """After a truncation the same first line is a new line, with another identity."""
    log = tmp_path / "a.log"
    append(log, b"start\nmore\n")
    tail = Tail(log)
    before = tail.poll(10)
    log.write_bytes(b"")
    assert tail.poll(10) == []
    append(log, b"start\n")
    after = [line for _ in range(3) for line in tail.poll(10)]
    assert [line.raw for line in after] == [b"start"]
    assert after[0].identity != before[0].identity
    tail.close()


def test_truncation_while_away(tmp_path: Path):
    """A file found shorter than its mark is read from its beginning, under a new identity."""
    log = tmp_path / "a.log"
    append(log, b"start\nmore\n")
    first = Tail(log)
    before = first.poll(10)
    first.close()
    log.write_bytes(b"start\n")
    second = Tail(log, first.mark)
    after = second.poll(10)
    assert [line.raw for line in after] == [b"start"]
    assert after[0].identity != before[0].identity
    second.close()


def test_very_long_line_comes_in_pieces(tmp_path: Path):
    """A line without end is handed on in bounded pieces, none lost."""
    log = tmp_path / "a.log"
    text = b"x" * (3 * MAX_LINE_BYTES + 5)
    append(log, text + b"\nnext\n")
    tail = Tail(log)
    lines = read(tail)
    assert b"".join(lines[:-1]) == text
    assert max(map(len, lines)) == MAX_LINE_BYTES
    assert lines[-1] == b"next"
    tail.close()


def test_poll_is_bounded(tmp_path: Path):
    """No more lines than asked for; the rest waits in the file."""
    log = tmp_path / "a.log"
    append(log, b"x\n" * 10)
    tail = Tail(log)
    assert [len(tail.poll(4)) for _ in range(4)] == [4, 4, 2, 0]
    tail.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b"")), min_size=1, max_size=20),
    st.lists(st.integers(1, 60), max_size=12),
    st.data(),
)
def test_any_cut_and_restart_gives_every_line_once(tmp_path_factory, lines, cuts, data):
    """However writes and restarts fall, the lines come once each, in order, under distinct places."""
    log = tmp_path_factory.mktemp("tail") / "a.log"
    content = b"".join(line + b"\n" for line in lines)
    tail, found = Tail(log), []
    start = 0
    try:
        for cut in [*cuts, len(content)]:
            append(log, content[start : start + cut])
            start += cut
            found += tail.poll(data.draw(st.integers(1, 30)))
            if data.draw(st.booleans()):
                tail.close()
                tail = Tail(log, tail.mark)
        found += [line for _ in range(3) for line in tail.poll(1000)]
    finally:
        tail.close()
    assert [line.raw for line in found] == lines
    assert len({(line.identity, line.offset) for line in found}) == len(lines)


def test_positions_survive_and_a_broken_file_is_no_end(tmp_path: Path):
    """Marks come back as saved; an unreadable file means beginning anew."""
    path = tmp_path / "sources" / "logs.json"
    marks = {"/a.log": Mark(inode=1, identity="x", position=5)}
    Positions(path).save(marks)
    assert Positions(path).load() == marks
    path.write_bytes(b"{")
    assert Positions(path).load() == {}

"""A command's own data folder: emptied at each of its starts, and never anybody else's."""

import shutil
from pathlib import Path

from infra.local.home import Home, is_alive, read_record
from schemas.errors import Fatal


def claim(folder: Path, command: str, marker: str) -> None:
    """Make the folder, or empty one that an earlier run of the command made, as the file `marker` in it says.

    Raises:
        Fatal: something else lies there, or a stack runs in it.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / marker).is_file():
            raise Fatal(
                f"{folder} is not empty and was not made by `{command}`; name another folder with --home"
            )
        record = read_record(Home(folder))
        if record is not None and is_alive(record["supervisor_pid"], record["supervisor_started"]):
            raise Fatal(f"a stack runs in {folder}: HEADRACE_HOME={folder} headrace down")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / marker).write_text(f"Made by `{command}`, which empties this folder when it starts.\n")

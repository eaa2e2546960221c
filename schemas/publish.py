"""Writes `schemas/catalog`: a JSON Schema of every contract and the AsyncAPI document of all topics.

`python -m schemas.publish` writes the catalog; with `--check` it changes nothing, names the files that differ
from what the contracts say, and exits 1.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from schemas import asyncapi, jsonschemas

CATALOG: Final = Path(__file__).parent / "catalog"


def render() -> dict[str, bytes]:
    """Return the catalog's files by name, byte for byte the same whenever the contracts are."""
    documents = {**jsonschemas.documents(), "asyncapi.json": asyncapi.document()}
    return {
        name: (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
        for name, document in sorted(documents.items())
    }


def stale(folder: Path = CATALOG) -> list[str]:
    """Return the names of files in `folder` that are missing, different or no longer made."""
    wanted = render()
    present = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    return sorted(name for name in wanted | present if wanted.get(name) != present.get(name))


def write(folder: Path = CATALOG) -> list[str]:
    """Bring `folder` up to date; return the names of the files that were changed."""
    changed = stale(folder)
    wanted = render()
    folder.mkdir(parents=True, exist_ok=True)
    for name in changed:
        if name in wanted:
            (folder / name).write_bytes(wanted[name])
        else:
            (folder / name).unlink()
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m schemas.publish", description="Write the contracts' catalog."
    )
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the catalog is stale")
    options = parser.parse_args(arguments)
    if not options.check:
        print(f"{len(write())} of {len(render())} files written to {CATALOG}")
        return 0
    outdated = stale()
    if outdated:
        print(f"stale: {', '.join(outdated)}; run `python -m schemas.publish`", file=sys.stderr)
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())

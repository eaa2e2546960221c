"""The warehouse as a process: ``python -m infra.local.warehouse --path DIR --port N [--users FILE]``."""

import argparse
import os
from pathlib import Path


def main() -> None:
    """Serve one folder on loopback."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.warehouse", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="the engine's data folder")
    parser.add_argument("--port", type=int, required=True, help="loopback port")
    parser.add_argument("--users", type=Path, help="JSON file of users")
    parser.add_argument("--max-body-mb", type=int, default=1024, help="largest body taken")
    parser.add_argument("--max-running", type=int, default=16, help="queries that run at once")
    args = parser.parse_args()
    os.environ["TZ"] = "UTC"  # read by the engine when it is loaded, which is therefore imported after it
    from infra.local.warehouse.serve import serve

    serve(
        args.path, args.port, args.users, max_body_bytes=args.max_body_mb << 20, max_running=args.max_running
    )


if __name__ == "__main__":
    main()

"""`python -m infra.cli`: the same as `headrace`."""

from infra.cli.main import main

main()

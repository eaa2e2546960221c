"""How Headrace runs: settings and runtime, the command line, the local stack, and what production needs."""

"""The gateway under load and under rubbish, with a memory behind it: `headrace bench gateway`, `fuzz`."""

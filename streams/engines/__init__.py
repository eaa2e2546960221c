"""What runs the operators: memory (the specification), Faust (the default), Flink (many machines)."""

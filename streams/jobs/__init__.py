"""PyFlink jobs: the same operators as the Faust workers run, on a Flink cluster."""

"""Apache Flink: a local cluster of its pip package, the jobs that run on it, and its image for Kubernetes."""

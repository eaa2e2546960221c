"""The Open Inference Protocol v2 over REST and gRPC: tensors in, the released models' answers out."""

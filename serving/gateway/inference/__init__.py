"""The Open Inference Protocol v2 at the gateway, over REST and gRPC: tensors in, the released models' answers out."""

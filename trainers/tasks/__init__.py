"""What can be learnt: one module a task, each a Learner for the one training loop (`trainers.fit`)."""

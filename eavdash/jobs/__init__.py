"""The durable queue, its scheduler, the executors and the worker."""

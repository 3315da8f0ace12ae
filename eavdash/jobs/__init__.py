"""The durable queue, its conductor, the executors and the worker."""

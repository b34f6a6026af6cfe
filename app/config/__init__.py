"""The configuration file: read whole, checked whole, and told with line and column what is wrong.

May import sinks (whose options are part of the file) and the core; knows nothing of HTTP, the journal or Kubernetes.
"""

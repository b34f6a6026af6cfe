"""kubewitness: a Kubernetes change auditor that always says yes and remembers who changed what."""

__version__ = "0.1.0"

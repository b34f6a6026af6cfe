"""HTTP: the admission endpoint, the console's API and probes. The only package that knows FastAPI."""

"""A package, so that what its tests share ends with the last of them: other tests count what the process holds open."""

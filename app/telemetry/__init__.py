"""What the program says about itself: logs and metrics. Each metric is declared once, in `metrics`."""

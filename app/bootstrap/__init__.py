"""The composition root: builds the parts, starts them in order, and stops them in the opposite one."""

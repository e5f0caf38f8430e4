"""A machine without time: real supervisors on it, and agents that do what they are told."""

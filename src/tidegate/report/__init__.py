"""The report of a batch: what happened to it, for people and for programs."""

"""Both stores under one suite."""

"""Accounts with usage limits, agents that use them up, and who launches the agents: a batch of days in seconds."""

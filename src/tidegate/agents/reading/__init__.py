"""What the agents' readers stand on: lines and their tails, the wordings of providers, command lines, frames."""

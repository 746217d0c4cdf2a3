"""What can be found out about a config before it runs: on this computer, at its signers, at its venues."""

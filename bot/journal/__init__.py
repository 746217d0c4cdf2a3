"""What happened, written down once and durably: the daemon writes, everybody else reads."""

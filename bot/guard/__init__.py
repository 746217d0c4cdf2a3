"""Another process than the daemon, with a key of its own that can only cancel and reduce: it acts where the daemon is silent."""

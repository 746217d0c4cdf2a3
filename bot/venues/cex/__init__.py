"""Central exchanges behind the port of venues: what differs between them, and what is read from them."""

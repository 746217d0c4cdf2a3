"""Central exchanges behind the port of venues: one adapter by the client library, and one table of what differs between them."""

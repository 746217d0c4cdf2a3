"""The nouns: instruments, panels, funding, orders, accounts, margin and decisions."""

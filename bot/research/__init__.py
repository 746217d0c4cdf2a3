"""Questions asked of history, and of strategies before they are trusted with anything."""

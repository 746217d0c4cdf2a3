"""What a finished run was worth: figures, tables and a page."""

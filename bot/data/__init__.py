"""Recorded market data: folders of Parquet tables, read point-in-time, with what is missing named."""

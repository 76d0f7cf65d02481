"""Rows in formats that other tools read; one file a format."""

"""Showing what runs came to: side by side (`comparison`), and one run on a page of its own (`report`)."""

"""What runs came to: several side by side (`comparison`), one on a page (`run_page`); and gradient checks."""

"""What only the notebooks and reports of the course need; imported from the checkout, never installed."""

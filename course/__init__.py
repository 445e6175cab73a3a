"""Code for the notebooks and reports of the course only; imported from the checkout, not part of the wheel."""

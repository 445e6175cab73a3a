"""The page of `make app`: ask a trained run about one picture.

`python -m imgcls.app` serves it; `page` is what Streamlit runs, and the other modules know nothing of Streamlit.
"""

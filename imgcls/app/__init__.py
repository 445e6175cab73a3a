"""The page of `make app`: classify one image with a trained run.

`python -m imgcls.app` serves it; Streamlit runs `page`; the other modules do not depend on Streamlit.
"""

MAX_BYTES = 25 * 2**20  # of one file

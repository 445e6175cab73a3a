"""Claims about speed and difficulty, each measured where it is made."""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # every claim here is about the processor, ours and the peers' alike

"""Measurements behind every claim about speed and difficulty; rows are kept in results.json."""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # every claim is about CPUs, for imgcls and its peers

"""Claims about speed and difficulty, each measured where it is made."""

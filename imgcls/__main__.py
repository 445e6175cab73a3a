"""`python -m imgcls`, where the command `imgcls` is not on the path."""

from imgcls.cli import main

main()

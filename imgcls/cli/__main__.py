"""`python -m imgcls.cli`, which is how several processes are started."""

from imgcls.cli import main

main()

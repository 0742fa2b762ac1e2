"""The page: a chat and a look at the machine, in the browser. Only `root` and what it imports need NiceGUI."""

"""Where orders go and what is true comes from: the port, and one module or package for each venue behind it."""

"""What paper mode puts around the live path: an exchange and a signer as child processes, with play money."""

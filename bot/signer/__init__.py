"""The signer: a program that holds the key, signs what its policy allows, and imports nothing else of the bot."""

"""NFTs: unique tokens, who owns them, and what they are worth."""

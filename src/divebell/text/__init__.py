"""Text to token ids and back: tokenizers, chat formats, and what turns a stream of tokens into clean pieces of text."""

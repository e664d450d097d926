"""From a generated text to sentences with verified citations."""

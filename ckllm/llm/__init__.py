"""Language model engines behind one interface."""

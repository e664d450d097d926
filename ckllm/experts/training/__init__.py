"""LoRA training of experts: rows, packing, the loss, the loop, and the card that says how it went."""

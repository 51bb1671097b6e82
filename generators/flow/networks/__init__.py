"""Networks that learn the velocity of a flow."""
